// Where a layer's weights, gradients and intermediate results lie in training. One window at a time: all that its
// backward pass needs of its forward pass fits the second cache, and making it again costs no more than fetching it.
#pragma once

#include "layout.h"

namespace mixsynth {

// y = x W^T + b
template <typename Number>
struct TrainedLinear {
    Packed<Number> columns;  // for x W^T
    Number* rows;            // [outputs, padded inputs], for d_y W
    int64_t inputs, outputs;
};

// n = T, width = C for the token branch; n = C, width = T for the channel branch; m = n / reduce keys.
template <typename Number>
struct TrainedAttention {
    TrainedLinear<Number> dense, squeeze, excite;
    TrainedLinear<Number> value_reduce;  // used where m < n
    int64_t n, width, m;
    bool reduced() const { return m < n; }
};

template <typename Number>
struct TrainedLayer {
    TrainedAttention<Number> token, channel;
    TrainedLinear<Number> reweight1, difference, proj, ff1, ff2;
    PackedNorm<Number> norm1, norm2;
};

template <typename Number>
TrainedLinear<Number> take_trained(Cursor<Number>& at, int64_t inputs, int64_t outputs) {
    const Packed<Number> columns = take_columns(at, inputs, outputs);
    return {columns, at.take(outputs * padded(inputs)), inputs, outputs};
}

template <typename Number>
TrainedAttention<Number> take_trained_attention(Cursor<Number>& at, int64_t n, int64_t width, int64_t m) {
    TrainedAttention<Number> attention{};
    attention.dense = take_trained(at, width, m);
    attention.squeeze = take_trained(at, n, n / 4);
    attention.excite = take_trained(at, n / 4, n);
    if (m < n) attention.value_reduce = take_trained(at, n, m);
    attention.n = n;
    attention.width = width;
    attention.m = m;
    return attention;
}

template <typename Number>
TrainedLayer<Number> take_trained_layer(Cursor<Number>& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    TrainedLayer<Number> layer{};
    layer.token = take_trained_attention(at, T, C, d.token_keys());
    layer.channel = take_trained_attention(at, C, T, d.channel_keys());
    layer.reweight1 = take_trained(at, T, T / 4);
    layer.difference = take_trained(at, T / 4, T);
    layer.proj = take_trained(at, C, C);
    layer.ff1 = take_trained(at, C, d.hidden());
    layer.ff2 = take_trained(at, d.hidden(), C);
    layer.norm1 = take_norm(at, C);
    layer.norm2 = take_norm(at, C);
    return layer;
}

// Gradients lie as the published weights do, [outputs, inputs], with padded rows. A vector has one row.
struct AttentionGradients {
    Packed<float> dense;
    float *squeeze, *excite;
    Packed<float> value_reduce;
};

struct LayerGradients {
    AttentionGradients token, channel;
    Packed<float> reweight1, reweight2, proj, ff1, ff2, norm1, norm2;
};

inline Packed<float> take_gradient(Cursor<float>& at, int64_t inputs, int64_t outputs) {
    return {at.take(outputs * padded(inputs)), at.take(outputs)};
}

inline AttentionGradients take_attention_gradients(Cursor<float>& at, int64_t n, int64_t width, int64_t m) {
    const Packed<float> dense = take_gradient(at, width, m);
    float *squeeze = at.take(n / 4 * padded(n)), *excite = at.take(n * padded(n / 4));
    return {dense, squeeze, excite, take_gradient(at, n, m)};
}

inline LayerGradients take_gradients(Cursor<float>& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    LayerGradients to{};
    to.token = take_attention_gradients(at, T, C, d.token_keys());
    to.channel = take_attention_gradients(at, C, T, d.channel_keys());
    to.reweight1 = take_gradient(at, T, T / 4);
    to.reweight2 = take_gradient(at, T / 4, 2 * T);
    to.proj = take_gradient(at, C, C);
    to.ff1 = take_gradient(at, C, d.hidden());
    to.ff2 = take_gradient(at, d.hidden(), C);
    to.norm1 = {at.take(C), at.take(C)};
    to.norm2 = {at.take(C), at.take(C)};
    return to;
}

// What a branch's forward pass leaves for its backward pass, and scratch memory of the latter.
struct BranchState {
    float *energies, *attention;        // [n, m]
    float *values, *values_turned;      // [m, width], [width, m]
    float *pooled, *squeezed, *gate;    // [n]
    float* out;                         // [n, width]
    float *d_energies, *d_values;       // [n, m], [m, width]
    float *d_excited, *d_squeezed, *d_pooled;  // [n]
    float *d_out, *d_x;                 // [n, width]
};

// One window. E: hidden numbers of the feed-forward layer.
struct LayerState {
    float *x, *x_turned;  // [T, C], [C, T]
    BranchState token, channel;
    float* c;                           // [T, C]: channel.out turned
    float *mean, *before_mix, *hidden_mix, *a_t;  // [T]
    float *mixed, *summed1, *y;         // [T, C]
    float *before, *hidden;             // [T, E]
    float *summed2, *out;               // [T, C]
    float *d_out, *d_summed2, *d_y, *d_summed1, *d_mixed, *d_c, *d_x;  // [T, C]
    float* d_hidden;                    // [T, E]
    float *d_scores, *d_hidden_mix, *d_mean;  // [2T], [T], [T]
};

inline BranchState take_branch(Cursor<float>& at, int64_t n, int64_t width, int64_t m) {
    const int64_t keys = n * padded(m), numbers = n * padded(width);
    BranchState s{};
    s.energies = at.take(keys);
    s.attention = at.take(keys);
    s.values = at.take(m * padded(width));
    s.values_turned = at.take(width * padded(m));
    s.pooled = at.take(n);
    s.squeezed = at.take(n);
    s.gate = at.take(n);
    s.out = at.take(numbers);
    s.d_energies = at.take(keys);
    s.d_values = at.take(m * padded(width));
    s.d_excited = at.take(n);
    s.d_squeezed = at.take(n);
    s.d_pooled = at.take(n);
    s.d_out = at.take(numbers);
    s.d_x = at.take(numbers);
    return s;
}

inline LayerState take_layer_state(Cursor<float>& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim, numbers = T * padded(C), hidden = T * padded(d.hidden());
    LayerState s{};
    s.x_turned = at.take(C * padded(T));
    s.token = take_branch(at, T, C, d.token_keys());
    s.channel = take_branch(at, C, T, d.channel_keys());
    for (float** piece : {&s.x, &s.c, &s.mixed, &s.summed1, &s.y, &s.summed2, &s.out, &s.d_out, &s.d_summed2, &s.d_y,
                          &s.d_summed1, &s.d_mixed, &s.d_c, &s.d_x})
        *piece = at.take(numbers);
    for (float** piece : {&s.before, &s.hidden, &s.d_hidden}) *piece = at.take(hidden);
    for (float** piece : {&s.mean, &s.before_mix, &s.hidden_mix, &s.a_t, &s.d_hidden_mix, &s.d_mean})
        *piece = at.take(T);
    s.d_scores = at.take(2 * T);
    return s;
}

}  // namespace mixsynth
