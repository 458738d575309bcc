// The layer and the whole network, for registers of one kind. Included by each forward_*.cpp.
#pragma once

#include "attention.h"

namespace mixsynth {
namespace {

// numbers += more; `floats` is a multiple of kLanes.
template <typename Simd>
inline void add(float* numbers, const float* more, int64_t floats) {
    using Vector = typename Simd::Vector;
    for (int64_t i = 0; i < floats; i += kWidth<Vector>)
        store(numbers + i, load<Vector>(numbers + i) + load<Vector>(more + i));
}

// x = LayerNorm(x + update) [rows, columns]; update may be null.
template <typename Simd>
void add_and_norm(const PackedNorm& norm, float* x, const float* update, int64_t rows, int64_t columns) {
    using Vector = typename Simd::Vector;
    const int64_t stride = padded(columns);
    const float share = 1.0f / static_cast<float>(columns);
    for (int64_t i = 0; i < rows; ++i) {
        float* row = x + i * stride;
        Vector sum{};
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
            Vector v = load<Vector>(row + j);
            if (update) store(row + j, v += load<Vector>(update + i * stride + j));
            sum += v;
        }
        const float mean = sum_of_lanes(sum) * share;
        Vector squares{};
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
            const Vector centred = load<Vector>(row + j) - mean * load<Vector>(norm.real + j);
            squares += centred * centred;
        }
        const float scale = 1.0f / __builtin_sqrtf(sum_of_lanes(squares) * share + 1e-5f);
        for (int64_t j = 0; j < stride; j += kWidth<Vector>)
            store(row + j, (load<Vector>(row + j) - mean) * scale * load<Vector>(norm.weight + j) +
                               load<Vector>(norm.bias + j));
    }
}

// w.x [windows, T, C] -> w.x
template <typename Simd>
void encoder_layer(const Dimensions& d, const PackedLayer& layer, const Workspace& w, int64_t windows) {
    using Vector = typename Simd::Vector;
    const int64_t rows = windows * d.tokens(), C = d.emb_dim, hidden = d.hidden();
    token_attention<Simd>(d, layer.token, w, windows);
    channel_attention<Simd>(d, layer.channel, w, windows);
    mix_branches<Simd>(d, layer, w, windows);
    linear<Simd>(layer.proj, w.token_out, w.update, rows, C, C);
    add_and_norm<Simd>(layer.norm1, w.x, w.update, rows, C);
    linear<Simd>(layer.ff1, w.x, w.hidden, rows, C, hidden);
    for_each<Simd>(w.hidden, rows * padded(hidden), gelu<Vector>);
    linear<Simd>(layer.ff2, w.hidden, w.update, rows, hidden, C);
    add_and_norm<Simd>(layer.norm2, w.x, w.update, rows, C);
}

// keyframes [Q+1, D] of one window -> interpolated [T, D], x [T, C]. The keyframes are embedded before they are
// interpolated, which is the same and less work; a row of ones carries the bias of the interpolation.
template <typename Simd>
void interpolate_and_embed(const Dimensions& d, const PackedEnds& ends, const float* keyframes, float* interpolated,
                           float* x, const Workspace& w) {
    const int64_t T = d.tokens(), C = d.emb_dim, D = d.joint_dim, Q1 = d.keyframes(), stride = padded(D);
    for (int64_t q = 0; q <= Q1; ++q) {
        float* row = w.keyframes + q * stride;
        for (int64_t j = 0; j < D; ++j) row[j] = q < Q1 ? keyframes[q * D + j] : 1.0f;
        for (int64_t j = D; j < stride; ++j) row[j] = 0.0f;
    }
    linear<Simd>({ends.encoder_emb.weight, nullptr}, w.keyframes, w.embedded, Q1 + 1, D, C);
    multiply<Simd>({ends.l_interp, Q1 + 1, as_rows(w.keyframes, stride), interpolated, stride, T, Q1 + 1, D});
    multiply<Simd>({ends.l_interp, Q1 + 1, as_rows(w.embedded, padded(C)), x, padded(C), T, Q1 + 1, C, nullptr,
                    ends.encoder_emb.bias});
}

// keyframes [windows, Q+1, D] -> motion [windows, T, D]
template <typename Simd>
void forward_group(const Dimensions& d, const float* packed, const float* keyframes, float* motion, const Workspace& w,
                   int64_t windows) {
    const int64_t T = d.tokens(), C = d.emb_dim, D = d.joint_dim, stride = padded(D);
    // Only read from: a Cursor serves pack() as well, which writes.
    Cursor at(const_cast<float*>(packed));
    const PackedEnds ends = take_ends(at, d);
    for (int64_t b = 0; b < windows; ++b)
        interpolate_and_embed<Simd>(d, ends, keyframes + b * d.keyframes() * D, w.interpolated + b * T * stride,
                                    w.x + b * T * padded(C), w);
    for (int64_t i = 0; i < d.num_encoder_layers; ++i) encoder_layer<Simd>(d, take_layer(at, d), w, windows);
    add_and_norm<Simd>(ends.norm, w.x, nullptr, windows * T, C);
    linear<Simd>(ends.fc, w.x, w.out, windows * T, C, D);
    for (int64_t t = 0; t < windows * T; ++t) {
        float* pose = w.out + t * stride;
        add<Simd>(pose, w.interpolated + t * stride, stride);
        std::memcpy(motion + t * D, pose, static_cast<size_t>(D) * sizeof(float));
    }
}

template <typename Simd>
void forward_windows(const Dimensions& d, const float* packed, const float* keyframes, int64_t batch, float* motion,
                     float* workspace) {
    Cursor at(workspace);
    const Workspace w = take_workspace(at, d);
    const int64_t group = group_size(d);
    for (int64_t b = 0; b < batch; b += group)
        forward_group<Simd>(d, packed, keyframes + b * d.keyframes() * d.joint_dim,
                            motion + b * d.tokens() * d.joint_dim, w, batch - b < group ? batch - b : group);
}

}  // namespace
}  // namespace mixsynth
