// Layout of training: where a layer's weights, gradients and intermediate results lie. Intermediate results are those
// of one window, because they then fit the second cache.
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

// The token branch has n = T and width = C, the channel branch n = C and width = T; m = n / reduce is its keys.
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
TrainedLinear<Number> take_trained_linear(Cursor<Number>& cursor, int64_t inputs, int64_t outputs) {
    const Packed<Number> columns = take_columns(cursor, inputs, outputs);
    return {columns, cursor.take(outputs * padded(inputs)), inputs, outputs};
}

template <typename Number>
TrainedAttention<Number> take_trained_attention(Cursor<Number>& cursor, int64_t n, int64_t width, int64_t m) {
    TrainedAttention<Number> attention{};
    attention.dense = take_trained_linear(cursor, width, m);
    attention.squeeze = take_trained_linear(cursor, n, n / 4);
    attention.excite = take_trained_linear(cursor, n / 4, n);
    if (m < n) attention.value_reduce = take_trained_linear(cursor, n, m);
    attention.n = n;
    attention.width = width;
    attention.m = m;
    return attention;
}

template <typename Number>
TrainedLayer<Number> take_trained_layer(Cursor<Number>& cursor, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    TrainedLayer<Number> layer{};
    layer.token = take_trained_attention(cursor, T, C, d.token_keys());
    layer.channel = take_trained_attention(cursor, C, T, d.channel_keys());
    layer.reweight1 = take_trained_linear(cursor, T, T / 4);
    layer.difference = take_trained_linear(cursor, T / 4, T);
    layer.proj = take_trained_linear(cursor, C, C);
    layer.ff1 = take_trained_linear(cursor, C, d.hidden());
    layer.ff2 = take_trained_linear(cursor, d.hidden(), C);
    layer.norm1 = take_norm(cursor, C);
    layer.norm2 = take_norm(cursor, C);
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

inline Packed<float> take_gradient(Cursor<float>& cursor, int64_t inputs, int64_t outputs) {
    return {cursor.take(outputs * padded(inputs)), cursor.take(outputs)};
}

inline AttentionGradients take_attention_gradients(Cursor<float>& cursor, int64_t n, int64_t width, int64_t m) {
    const Packed<float> dense = take_gradient(cursor, width, m);
    float *squeeze = cursor.take(n / 4 * padded(n)), *excite = cursor.take(n * padded(n / 4));
    return {dense, squeeze, excite, take_gradient(cursor, n, m)};
}

inline LayerGradients take_gradients(Cursor<float>& cursor, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    LayerGradients gradients{};
    gradients.token = take_attention_gradients(cursor, T, C, d.token_keys());
    gradients.channel = take_attention_gradients(cursor, C, T, d.channel_keys());
    gradients.reweight1 = take_gradient(cursor, T, T / 4);
    gradients.reweight2 = take_gradient(cursor, T / 4, 2 * T);
    gradients.proj = take_gradient(cursor, C, C);
    gradients.ff1 = take_gradient(cursor, C, d.hidden());
    gradients.ff2 = take_gradient(cursor, d.hidden(), C);
    gradients.norm1 = {cursor.take(C), cursor.take(C)};
    gradients.norm2 = {cursor.take(C), cursor.take(C)};
    return gradients;
}

// Intermediate results of a branch, which its backward pass needs, and their gradients (d_).
struct BranchState {
    float *energies, *attention;               // [n, m]
    float *values, *values_transposed;         // [m, width], [width, m]
    float *pooled, *squeezed, *gate;           // [n]
    float* out;                                // [n, width]
    float *d_energies, *d_values;              // [n, m], [m, width]
    float *d_excited, *d_squeezed, *d_pooled;  // [n]
    float *d_out, *d_x;                        // [n, width]
};

// The same of a layer, for one window. E is the width of the feed-forward layer.
struct LayerState {
    float *x, *x_transposed;  // [T, C], [C, T]
    BranchState token, channel;
    float* c;                                                          // [T, C]: channel.out transposed
    float *mean, *mix_before_gelu, *mix_hidden, *a_t;                  // [T]
    float *mixed, *summed1, *y;                                        // [T, C]
    float *before_gelu, *hidden;                                       // [T, E]
    float *summed2, *out;                                              // [T, C]
    float *d_out, *d_summed2, *d_y, *d_summed1, *d_mixed, *d_c, *d_x;  // [T, C]
    float* d_hidden;                                                   // [T, E]
    float *keep_proj, *keep_hidden, *keep_out;                         // [T, C], [T, E], [T, C]: factors of dropout
    float* d_kept;                                                     // [T, C]: the gradient before a dropout
    float *d_scores, *d_mix_hidden, *d_mean;                           // [2T], [T], [T]
};

inline BranchState take_branch(Cursor<float>& cursor, int64_t n, int64_t width, int64_t m) {
    const int64_t keys = n * padded(m), numbers = n * padded(width);
    BranchState s{};
    s.energies = cursor.take(keys);
    s.attention = cursor.take(keys);
    s.values = cursor.take(m * padded(width));
    s.values_transposed = cursor.take(width * padded(m));
    s.pooled = cursor.take(n);
    s.squeezed = cursor.take(n);
    s.gate = cursor.take(n);
    s.out = cursor.take(numbers);
    s.d_energies = cursor.take(keys);
    s.d_values = cursor.take(m * padded(width));
    s.d_excited = cursor.take(n);
    s.d_squeezed = cursor.take(n);
    s.d_pooled = cursor.take(n);
    s.d_out = cursor.take(numbers);
    s.d_x = cursor.take(numbers);
    return s;
}

inline LayerState take_layer_state(Cursor<float>& cursor, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim, numbers = T * padded(C), hidden = T * padded(d.hidden());
    LayerState s{};
    s.x_transposed = cursor.take(C * padded(T));
    s.token = take_branch(cursor, T, C, d.token_keys());
    s.channel = take_branch(cursor, C, T, d.channel_keys());
    for (float** piece : {&s.x, &s.c, &s.mixed, &s.summed1, &s.y, &s.summed2, &s.out, &s.d_out, &s.d_summed2, &s.d_y,
                          &s.d_summed1, &s.d_mixed, &s.d_c, &s.d_x, &s.keep_proj, &s.keep_out, &s.d_kept})
        *piece = cursor.take(numbers);
    for (float** piece : {&s.before_gelu, &s.hidden, &s.d_hidden, &s.keep_hidden}) *piece = cursor.take(hidden);
    for (float** piece : {&s.mean, &s.mix_before_gelu, &s.mix_hidden, &s.a_t, &s.d_mix_hidden, &s.d_mean})
        *piece = cursor.take(T);
    s.d_scores = cursor.take(2 * T);
    return s;
}

}  // namespace mixsynth
