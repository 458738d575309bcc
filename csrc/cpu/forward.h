// Forward: an encoder layer and the whole network, for registers of one kind.
#pragma once

#include "cpu/attention.h"

namespace mixsynth {
namespace {

// LayerNorm adds it to the variance, as torch does.
inline constexpr float kNormEpsilon = 1e-5f;

// 1 / sqrt(x), and NaN for infinity: a row whose squares overflow must not become a row of zeros.
inline float inverse_root(float x) { return __builtin_sqrtf(x) / x; }

// x [rows, columns] -> normed [rows, columns]
template <typename Simd>
__attribute__((flatten)) void layer_norm(const PackedNorm<const float>& norm, const float* x, float* normed,
                                         int64_t rows, int64_t columns) {
    using Vector = typename Simd::Vector;
    const int64_t stride = padded(columns);
    const float share = 1.0f / static_cast<float>(columns), *weight = norm.weight, *bias = norm.bias, *real = norm.real;
    in_fours(rows, [&](int64_t i, auto count) {
        constexpr int kRows = count;
        const auto at = [&](int r, int64_t j) { return load<Vector>(x + (i + r) * stride + j); };
        Vector sum[kRows], squares[kRows];
        float mean[kRows], scale[kRows];
        unroll<kRows>([&](int r) { sum[r] = squares[r] = Vector{}; });
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) unroll<kRows>([&](int r) { sum[r] += at(r, j); });
        unroll<kRows>([&](int r) { mean[r] = sum_of_lanes(sum[r]) * share; });
        for (int64_t j = 0; j < stride; j += kWidth<Vector>)
            unroll<kRows>([&](int r) {
                const Vector centred = at(r, j) - mean[r] * load<Vector>(real + j);
                squares[r] += centred * centred;
            });
        unroll<kRows>([&](int r) { scale[r] = inverse_root(sum_of_lanes(squares[r]) * share + kNormEpsilon); });
        for (int64_t j = 0; j < stride; j += kWidth<Vector>)
            unroll<kRows>([&](int r) {
                const Vector unit = (at(r, j) - mean[r]) * scale[r];
                store(normed + (i + r) * stride + j, unit * load<Vector>(weight + j) + load<Vector>(bias + j));
            });
    });
}

// w.x [windows, T, C] -> w.x
template <typename Simd>
void encoder_layer(const Dimensions& d, const PackedLayer<const float>& layer, const Workspace& w, int64_t windows) {
    using Vector = typename Simd::Vector;
    const int64_t rows = windows * d.tokens(), C = d.emb_dim, hidden = d.hidden();
    token_attention<Simd>(d, layer.token, w, windows);
    channel_attention<Simd>(d, layer.channel, w, windows);
    mix_branches<Simd>(d, layer, w, windows);
    linear<Simd>(layer.proj, w.token_out, w.updated, rows, C, C, w.x);
    layer_norm<Simd>(layer.norm1, w.updated, w.x, rows, C);
    linear<Simd>(layer.ff1, w.x, w.hidden, rows, C, hidden);
    for_each<Simd>(w.hidden, rows * padded(hidden), gelu<Vector>);
    linear<Simd>(layer.ff2, w.hidden, w.updated, rows, hidden, C, w.x);
    layer_norm<Simd>(layer.norm2, w.updated, w.x, rows, C);
}

// keyframes [Q+1, D] of one window -> interpolated [T, D], x [T, C]. Embedding comes first, which gives the same with
// less work; a row of ones carries the bias of the interpolation.
template <typename Simd>
void interpolate_and_embed(const Dimensions& d, const PackedEnds<const float>& ends, const float* keyframes,
                           float* interpolated, float* x, const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, D = d.joint_dim, Q1 = d.keyframes(), stride = padded(D);
    for (int64_t q = 0; q <= Q1; ++q) {
        float* row = w.keyframes + q * stride;
        for (int64_t j = 0; j < D; ++j) row[j] = q < Q1 ? keyframes[q * D + j] : 1.0f;
        for (int64_t j = D; j < stride; ++j) row[j] = 0.0f;
    }
    linear<Simd>({ends.encoder_emb.weight, nullptr}, w.keyframes, w.embedded, Q1 + 1, D, C);
    multiply<Simd>(Product(T, Q1 + 1, D)
                       .left(ends.l_interp, Q1 + 1)
                       .right(as_rows(w.keyframes, stride))
                       .to(interpolated, stride));
    multiply<Simd>(Product(T, Q1 + 1, C)
                       .left(ends.l_interp, Q1 + 1)
                       .right(as_rows(w.embedded, padded(C)))
                       .to(x, padded(C))
                       .plus_column_bias(ends.encoder_emb.bias));
}

// keyframes [windows, Q+1, D] -> motion [windows, T, D]
template <typename Simd>
void forward_group(const Dimensions& d, const float* packed, const float* keyframes, float* motion, const Workspace& w,
                   int64_t windows) {
    const int64_t T = d.tokens(), C = d.emb_dim, D = d.joint_dim, stride = padded(D);
    Cursor cursor(packed);
    const PackedEnds<const float> ends = take_ends(cursor, d);
    for (int64_t b = 0; b < windows; ++b)
        interpolate_and_embed<Simd>(d, ends, keyframes + b * d.keyframes() * D, w.interpolated + b * T * stride,
                                    w.x + b * T * padded(C), w);
    for (int64_t i = 0; i < d.num_encoder_layers; ++i) encoder_layer<Simd>(d, take_layer(cursor, d), w, windows);
    layer_norm<Simd>(ends.norm, w.x, w.updated, windows * T, C);
    linear<Simd>(ends.fc, w.updated, w.out, windows * T, C, D, w.interpolated);
    for (int64_t t = 0; t < windows * T; ++t)
        std::memcpy(motion + t * D, w.out + t * stride, static_cast<size_t>(D) * sizeof(float));
}

template <typename Simd>
void forward_windows(const Dimensions& d, const float* packed, const float* keyframes, int64_t batch, float* motion,
                     float* workspace) {
    Cursor cursor(workspace);
    const Workspace w = take_workspace(cursor, d);
    const int64_t group = group_size(d);
    for (int64_t b = 0; b < batch; b += group)
        forward_group<Simd>(d, packed, keyframes + b * d.keyframes() * d.joint_dim,
                            motion + b * d.tokens() * d.joint_dim, w, batch - b < group ? batch - b : group);
}

}  // namespace
}  // namespace mixsynth
