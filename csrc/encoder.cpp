// The forward of one window after the other. Shapes in the comments; README.md says why it is laid out like this.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "layout.h"

namespace mixsynth {
namespace {

// x [rows, inputs] -> out [rows, outputs]
template <typename Simd>
void linear(const Packed& layer, const float* x, float* out, int64_t rows, int64_t inputs, int64_t outputs) {
    multiply<Simd>(x, padded(inputs), layer.weight, out, rows, inputs, outputs, nullptr, layer.bias);
}

// out [outputs] = W x + b, with W as published; no bias where it is null.
void matrix_vector(const float* weight, const float* bias, const float* x, float* out, int64_t outputs,
                   int64_t inputs) {
    for (int64_t i = 0; i < outputs; ++i) {
        const float* row = weight + i * inputs;
        out[i] = (bias ? bias[i] : 0.0f) + sum_of(inputs, [=](int64_t k) { return row[k] * x[k]; });
    }
}

// w.pooled [length] -> w.gate [length], squeeze-excite
void squeeze_excite(const PackedAttention& attention, const Workspace& w, int64_t length) {
    const int64_t squeezed = length / 4;
    matrix_vector(attention.squeeze, nullptr, w.pooled, w.squeezed, squeezed, length);
    for (int64_t i = 0; i < squeezed; ++i) w.squeezed[i] = std::max(w.squeezed[i], 0.0f);
    matrix_vector(attention.excite, nullptr, w.squeezed, w.gate, length, squeezed);
    for (int64_t i = 0; i < length; ++i) w.gate[i] = sigmoid(w.gate[i]);
}

// w.x [T, C] -> w.token_out [T, C]
template <typename Simd>
void token_attention(const Dimensions& d, const PackedAttention& attention, const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, keys = d.token_keys(), stride = padded(keys);
    linear<Simd>(attention.dense, w.x, w.token_energies, T, C, keys);
    for (int64_t i = 0; i < T; ++i) {
        const float* energies = w.token_energies + i * stride;
        w.pooled[i] = sum_of(keys, [=](int64_t k) { return energies[k]; }) / static_cast<float>(keys);
    }
    squeeze_excite(attention, w, T);
    for (int64_t i = 0; i < T; ++i) {
        float* energies = w.token_energies + i * stride;
        const float gate = w.gate[i];  // positive, so the largest energy stays the largest
        const float largest = *std::max_element(energies, energies + keys);
        for (int64_t k = 0; k < stride; ++k) energies[k] = exponential(gate * (energies[k] - largest));
        const float scale = 1.0f / sum_of(keys, [=](int64_t k) { return energies[k]; });
        for (int64_t k = 0; k < keys; ++k) energies[k] *= scale;
    }
    const float* values = w.x;
    if (d.reduce_token > 1) {
        multiply<Simd>(attention.value_reduce.weight, T, w.x, w.token_values, keys, T, C, attention.value_reduce.bias,
                 nullptr);
        values = w.token_values;
    }
    multiply<Simd>(w.token_energies, stride, values, w.token_out, T, keys, C, nullptr, nullptr);
}

// w.channel_energies [keys, C], one column a channel: gated, then softmax down the columns.
void gate_and_softmax_columns(const Workspace& w, int64_t keys, int64_t stride) {
    float *largest = w.pooled, *total = w.squeezed;
    std::copy(w.channel_energies, w.channel_energies + stride, largest);
    for (int64_t k = 1; k < keys; ++k) {
        const float* energies = w.channel_energies + k * stride;
        for (int64_t j = 0; j < stride; ++j) largest[j] = energies[j] > largest[j] ? energies[j] : largest[j];
    }
    std::fill(total, total + stride, 0.0f);
    for (int64_t k = 0; k < keys; ++k) {
        float* energies = w.channel_energies + k * stride;
        for (int64_t j = 0; j < stride; ++j) {
            energies[j] = exponential(w.gate[j] * (energies[j] - largest[j]));
            total[j] += energies[j];
        }
    }
    for (int64_t j = 0; j < stride; ++j) total[j] = 1.0f / total[j];
    for (int64_t k = 0; k < keys; ++k)
        for (int64_t j = 0; j < stride; ++j) w.channel_energies[k * stride + j] *= total[j];
}

// w.x [T, C] -> w.channel_out [T, C], without transposing x: the energies are kept transposed instead.
template <typename Simd>
void channel_attention(const Dimensions& d, const PackedAttention& attention, const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, keys = d.channel_keys(), stride = padded(C);
    multiply<Simd>(attention.dense.weight, T, w.x, w.channel_energies, keys, T, C, attention.dense.bias, nullptr);
    std::fill(w.pooled, w.pooled + stride, 0.0f);
    for (int64_t k = 0; k < keys; ++k)
        for (int64_t j = 0; j < stride; ++j) w.pooled[j] += w.channel_energies[k * stride + j];
    for (int64_t j = 0; j < stride; ++j) w.pooled[j] /= static_cast<float>(keys);
    squeeze_excite(attention, w, C);
    std::fill(w.gate + C, w.gate + stride, 0.0f);
    gate_and_softmax_columns(w, keys, stride);
    const float* values = w.x;
    if (d.reduce_channel > 1) {
        linear<Simd>(attention.value_reduce, w.x, w.channel_values, T, C, keys);
        values = w.channel_values;
    }
    multiply<Simd>(values, padded(keys), w.channel_energies, w.channel_out, T, keys, C, nullptr, nullptr);
}

// w.token_out, w.channel_out [T, C] -> w.token_out [T, C], mixed token by token
void mix_branches(const Dimensions& d, const PackedLayer& layer, const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, stride = padded(C);
    for (int64_t i = 0; i < T; ++i) {
        const float *t = w.token_out + i * stride, *c = w.channel_out + i * stride;
        w.pooled[i] = sum_of(C, [=](int64_t k) { return t[k] + c[k]; }) / static_cast<float>(C);
    }
    matrix_vector(layer.reweight1.weight, layer.reweight1.bias, w.pooled, w.squeezed, T / 4, T);
    for (int64_t i = 0; i < T / 4; ++i) w.squeezed[i] = gelu(w.squeezed[i]);
    matrix_vector(layer.reweight2.weight, layer.reweight2.bias, w.squeezed, w.gate, 2 * T, T / 4);
    for (int64_t i = 0; i < T; ++i) {
        // A softmax over two is the sigmoid of their difference.
        const float a_t = sigmoid(w.gate[2 * i] - w.gate[2 * i + 1]), a_c = 1.0f - a_t;
        float* t = w.token_out + i * stride;
        const float* c = w.channel_out + i * stride;
        for (int64_t k = 0; k < stride; ++k) t[k] = a_t * t[k] + a_c * c[k];
    }
}

// x = LayerNorm(x + update) [T, C]; update may be null.
void add_and_norm(const Packed& norm, float* x, const float* update, int64_t rows, int64_t columns) {
    const int64_t stride = padded(columns);
    const float n = static_cast<float>(columns);
    for (int64_t i = 0; i < rows; ++i) {
        float* row = x + i * stride;
        if (update)
            for (int64_t k = 0; k < stride; ++k) row[k] += update[i * stride + k];
        const float mean = sum_of(columns, [=](int64_t k) { return row[k]; }) / n;
        const float variance = sum_of(columns, [=](int64_t k) { return (row[k] - mean) * (row[k] - mean); }) / n;
        const float scale = 1.0f / std::sqrt(variance + 1e-5f);
        for (int64_t k = 0; k < stride; ++k) row[k] = (row[k] - mean) * scale * norm.weight[k] + norm.bias[k];
    }
}

template <typename Simd>
void encoder_layer(const Dimensions& d, const PackedLayer& layer, const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, hidden = d.hidden();
    token_attention<Simd>(d, layer.token, w);
    channel_attention<Simd>(d, layer.channel, w);
    mix_branches(d, layer, w);
    linear<Simd>(layer.proj, w.token_out, w.update, T, C, C);
    add_and_norm(layer.norm1, w.x, w.update, T, C);
    linear<Simd>(layer.ff1, w.x, w.hidden, T, C, hidden);
    for (int64_t i = 0; i < T * padded(hidden); ++i) w.hidden[i] = gelu(w.hidden[i]);
    linear<Simd>(layer.ff2, w.hidden, w.update, T, hidden, C);
    add_and_norm(layer.norm2, w.x, w.update, T, C);
}

// keyframes [Q+1, D] -> motion [T, D]
template <typename Simd>
void forward_window(const Dimensions& d, const float* packed, const float* keyframes, float* motion,
                    const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, D = d.joint_dim, Q1 = d.keyframes(), stride = padded(D);
    // Only read from: a Cursor serves pack() as well, which writes.
    Cursor at(const_cast<float*>(packed));
    const PackedEnds ends = take_ends(at, d);
    std::fill(w.keyframes, w.keyframes + Q1 * stride, 0.0f);
    for (int64_t q = 0; q < Q1; ++q) std::copy(keyframes + q * D, keyframes + (q + 1) * D, w.keyframes + q * stride);
    multiply<Simd>(ends.l_interp.weight, Q1, w.keyframes, w.interpolated, T, Q1, D, ends.l_interp.bias, nullptr);
    linear<Simd>(ends.encoder_emb, w.interpolated, w.x, T, D, C);
    for (int64_t i = 0; i < d.num_encoder_layers; ++i) encoder_layer<Simd>(d, take_layer(at, d), w);
    add_and_norm(ends.norm, w.x, nullptr, T, C);
    linear<Simd>(ends.fc, w.x, w.out, T, C, D);
    for (int64_t t = 0; t < T; ++t)
        for (int64_t j = 0; j < D; ++j) motion[t * D + j] = w.out[t * stride + j] + w.interpolated[t * stride + j];
}

template <typename Simd>
void forward_windows(const Dimensions& d, const float* packed, const float* keyframes, int64_t batch, float* motion,
                     float* workspace) {
    Cursor at(workspace);
    const Workspace w = take_workspace(at, d);
    for (int64_t b = 0; b < batch; ++b)
        forward_window<Simd>(d, packed, keyframes + b * d.keyframes() * d.joint_dim,
                             motion + b * d.tokens() * d.joint_dim, w);
}

// The whole forward compiled once for each kind of processor: `flatten` draws everything into one function, so that
// all of it gets the instructions of the function's target.
using Forward = void(const Dimensions&, const float*, const float*, int64_t, float*, float*);
void forward_128(const Dimensions& d, const float* packed, const float* keyframes, int64_t batch, float* motion,
                 float* workspace) {
    forward_windows<Simd128>(d, packed, keyframes, batch, motion, workspace);
}
#if defined(__x86_64__)
__attribute__((flatten, target("avx2,fma"))) void forward_256(const Dimensions& d, const float* packed,
                                                              const float* keyframes, int64_t batch, float* motion,
                                                              float* workspace) {
    forward_windows<Simd256>(d, packed, keyframes, batch, motion, workspace);
}
__attribute__((flatten, target("avx512f,avx512vl,avx512dq,avx512bw,fma"))) void forward_512(
    const Dimensions& d, const float* packed, const float* keyframes, int64_t batch, float* motion, float* workspace) {
    forward_windows<Simd512>(d, packed, keyframes, batch, motion, workspace);
}
#endif

// Bits of the widest registers to use, by MIXSYNTH_SIMD; 0 where it says something else.
int asked_bits() {
    const char* asked = std::getenv("MIXSYNTH_SIMD");
    if (!asked) return 512;
    for (const int bits : {128, 256, 512})
        if (std::to_string(bits) == asked) return bits;
    return 0;
}

// What this processor has; MIXSYNTH_SIMD=128 or 256 asks for less.
Forward* best_forward() {
#if defined(__x86_64__)
    const int widest = asked_bits();
    if (widest >= 512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return forward_512;
    if (widest >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return forward_256;
#endif
    return forward_128;
}

}  // namespace

bool environment_fits() { return asked_bits() != 0; }

size_t workspace_size(const Dimensions& dims) {
    Cursor at(nullptr);
    take_workspace(at, dims);
    return at.used();
}

void forward(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
             float* workspace) {
    static Forward* const chosen = best_forward();
    chosen(dims, packed, keyframes, batch, motion, workspace);
}

}  // namespace mixsynth
