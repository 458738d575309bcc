// Encoder: an encoder layer and the whole network, for a block of warps. csrc/cuda/README.md has a block's life.
#pragma once

#include "cuda/attention.h"

namespace mixsynth::card {

// LayerNorm adds it to the variance, as torch does.
constexpr float kNormEpsilon = 1e-5f;

// write(row, column, number) of the LayerNorm of all rows of group.x; eight lanes take a row. No barrier at its end.
template <class G, class Write>
MIXSYNTH_CARD void layer_norm(const G& group, const float* weights, const LinearOffsets& at, Write write) {
    const int rows = group.rows(), channels = group.s.channels;
    const float share = 1.0f / static_cast<float>(channels);
    for (int base = 4 * warp(); base < rows; base += 4 * warps()) {
        const int row = base + lane() / 8, last = row < rows ? channels : 0;
        float sum = 0.0f, squares = 0.0f;
        for (int c = lane() % 8; c < last; c += 8) sum += group.x.get(row, c);
        const float mean = sum_of_eight(sum) * share;
        for (int c = lane() % 8; c < last; c += 8) {
            const float centred = group.x.get(row, c) - mean;
            squares += centred * centred;
        }
        // A row whose squares overflow must not become a row of zeros, which 1 / sqrt would make.
        const float variance = sum_of_eight(squares) * share + kNormEpsilon, scale = sqrtf(variance) / variance;
        for (int c = lane() % 8; c < last; c += 8)
            write(row, c, (group.x.get(row, c) - mean) * scale * load_constant(weights + at.weight + c) +
                              load_constant(weights + at.bias + c));
    }
}

// The LayerNorm of group.x in its place, and as operands. Ends with a barrier.
template <class G>
MIXSYNTH_CARD void normalise(const G& group, const float* weights, const LinearOffsets& at) {
    layer_norm(group, weights, at, [&](int row, int column, float number) {
        group.x.set(row, column, number);
        if (sizeof(typename G::Operand) < sizeof(float)) group.operands.set(row, column, number);
    });
    block_barrier();
}

// The weight of the token branch, for each token of each window, in token_gate. Ends with a barrier.
template <class G>
MIXSYNTH_CARD void reweight(const G& group, const float* weights, const LayerOffsets& at) {
    const auto& s = group.s;
    for (int base = 4 * warp(); base < group.rows(); base += 4 * warps()) {
        const int row = base + lane() / 8;
        float sum = 0.0f;
        if (row < group.rows())
            for (int c = lane() % 8; c < s.channels; c += 8)
                sum += group.token_out.get(row, c) + group.channel_out.get(row, c);
        sum = sum_of_eight(sum) / static_cast<float>(s.channels);
        if (row < group.rows() && lane() % 8 == 0) group.token_pooled.set(row / s.tokens, row % s.tokens, sum);
    }
    block_barrier();
    Share first, second;
    multiply_vectors(
        group.windows, s.tokens, s.tokens / 4, weights + at.reweight1.weight, group.token_pooled,
        [&](int window, int i, float sum) {
            group.token_squeezed.set(window, i, gelu(sum + load_constant(weights + at.reweight1.bias + i)));
        },
        first);
    block_barrier();
    // The softmax of two scores is the sigmoid of their difference.
    multiply_vectors(
        group.windows, s.tokens / 4, s.tokens, weights + at.reweight2.weight, group.token_squeezed,
        [&](int window, int i, float sum) {
            group.token_gate.set(window, i, sigmoid(sum + load_constant(weights + at.reweight2.bias + i)));
        },
        second);
    block_barrier();
}

// group.x += left W^T + bias. Ends with a barrier.
template <class Precision, class G, class Left>
MIXSYNTH_CARD void add_linear(const G& group, const float* weights, const LinearOffsets& at, int inputs, Left left) {
    const float* bias = weights + at.bias;
    linear<Precision, G::kFixed>(group.rows(), inputs, group.s.channels, weights + at.weight, left,
                      [&](int row, int column, float low, float high) {
                          if (row >= group.rows() || column >= group.s.channels) return;
                          const Floats x = group.x.pair(row, column);
                          // The padding behind an odd number of channels stays zero.
                          const bool is_last = column + 1 == group.s.channels;
                          group.x.set_pair(row, column, x.low + (low + load_constant(bias + column)),
                                           is_last ? 0.0f : x.high + (high + load_constant(bias + column + 1)));
                      });
    block_barrier();
}

template <class Precision, class G>
MIXSYNTH_CARD void encoder_layer(const G& group, const float* weights, const LayerOffsets& at) {
    const auto& s = group.s;
    synthesise_attention<Precision>(group, weights, at);
    reweight(group, weights, at);
    add_linear<Precision>(group, weights, at.proj, s.channels, [&](int row, int k) {
        float share[2];
        MIXSYNTH_UNROLL
        for (int half = 0; half < 2; ++half) {
            const int i = row + first_row() + 8 * half;
            share[half] = i < group.rows() ? group.token_gate.get(i / s.tokens, i % s.tokens) : 0.0f;
        }
        return Precision::mixed(Precision::left(group.token_out, row, k), Precision::left(group.channel_out, row, k),
                                share);
    });
    normalise(group, weights, at.norm1);
    const float* bias = weights + at.ff1.bias;
    linear<Precision, G::kFixed>(
        group.rows(), s.channels, s.hidden, weights + at.ff1.weight,
        [&](int row, int k) { return Precision::left(group.operands, row, k); },
        [&](int row, int column, float low, float high) {
            group.hidden.set_pair(row, column, gelu(low + load_constant(bias + column)),
                                  gelu(high + load_constant(bias + column + 1)));
        });
    block_barrier();
    add_linear<Precision>(group, weights, at.ff2, s.hidden,
                          [&](int row, int k) { return Precision::left(group.hidden, row, k); });
    normalise(group, weights, at.norm2);
}

// The interpolation of embedded keyframes [Q + 1] in a column, for token `row` of the group; of_bias multiplies its bias.
template <class G>
MIXSYNTH_CARD float interpolated(const G& group, const float* weights, int row, int column, float of_bias) {
    const int window = row / group.s.tokens, token = row - window * group.s.tokens, count = group.s.keyframes;
    const LinearOffsets& at = group.call.offsets.l_interp;
    float sum = load_constant(weights + at.bias + token) * of_bias;
    for (int q = 0; q < count; ++q)
        sum += load_constant(weights + at.weight + token * count + q) * group.embedded.get(window * count + q, column);
    return sum;
}

// sums [16, 8 kHalves] += the interpolated keyframes [T, D] from `row` and `column` on, for all of a lane's numbers at
// once. Columns beyond the last are never written: they may repeat it.
template <int kHalves, class G>
MIXSYNTH_CARD void add_interpolated(const G& group, const float* weights, float (&sums)[kHalves][4], int row,
                                    int column) {
    const int count = group.s.keyframes;
    const LinearOffsets& at = group.call.offsets.l_interp;
    MIXSYNTH_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int i = row + first_row() + 8 * half;
        if (i >= group.rows()) continue;
        const int window = i / group.s.tokens, token = i - window * group.s.tokens;
        const float* keyframes = group.keyframes + window * count * group.s.joint_dim;
        for (int q = -1; q < count; ++q) {
            const float weight = load_constant(weights + (q < 0 ? at.bias + token : at.weight + token * count + q));
            MIXSYNTH_UNROLL
            for (int p = 0; p < kHalves; ++p) {
                const int d = column + 8 * p + first_column();
                const int last = group.s.joint_dim - 1;
                const float* pose = keyframes + q * group.s.joint_dim;
                sums[p][2 * half] += weight * (q < 0 ? 1.0f : load_constant(pose + (d < last ? d : last)));
                sums[p][2 * half + 1] += weight * (q < 0 ? 1.0f : load_constant(pose + (d < last ? d + 1 : last)));
            }
        }
    }
}

// group.keyframes [G, Q + 1, D] -> group.x. They are embedded and then interpolated, which gives the same as the published
// order with less work. Ends with a barrier.
template <class Precision, class G>
MIXSYNTH_CARD void interpolate_and_embed(const G& group, const float* weights) {
    const auto& s = group.s;
    const NetworkOffsets& at = group.call.offsets;
    const int poses = group.windows * s.keyframes;
    for (int pose = warp(); pose < poses; pose += warps())
        for (int d = lane(); d < whole_tiles(s.joint_dim); d += 32) {
            const float* number = group.keyframes + pose * s.joint_dim + d;
            group.keyframe_operands.set(pose, d, d < s.joint_dim ? load_constant(number) : 0.0f);
        }
    block_barrier();
    linear<Precision, G::kFixed>(
        poses, s.joint_dim, s.channels, weights + at.encoder_emb.weight,
        [&](int row, int k) { return Precision::left(group.keyframe_operands, row, k); },
        [&](int row, int column, float low, float high) {
            if (row < poses) group.embedded.set_pair(row, column, low, high);
        });
    block_barrier();
    for (int row = warp(); row < group.rows(); row += warps())
        for (int c = lane(); c < s.channels; c += 32) {
            const float bias = load_constant(weights + at.encoder_emb.bias + c);
            const float number = bias + interpolated(group, weights, row, c, load_constant(weights + at.emb_sum + c));
            group.x.set(row, c, number);
            if (sizeof(typename G::Operand) < sizeof(float)) group.operands.set(row, c, number);
        }
    block_barrier();
}

// group.x and group.keyframes -> motion [G, T, D] from `first` on. Ends with a barrier.
template <class Precision, class G>
MIXSYNTH_CARD void write_motion(const G& group, const float* weights, float* first) {
    const auto& s = group.s;
    const NetworkOffsets& at = group.call.offsets;
    layer_norm(group, weights, at.norm,
               [&](int row, int column, float number) { group.operands.set(row, column, number); });
    block_barrier();
    const float* bias = weights + at.fc.bias;
    const auto write = [&](int row, int column, float number) {
        if (row < group.rows() && column < s.joint_dim)
            store_result(first + row * s.joint_dim + column, number + load_constant(bias + column));
    };
    linear<Precision, G::kFixed>(
        group.rows(), s.channels, s.joint_dim, weights + at.fc.weight,
        [&](int row, int k) { return Precision::left(group.operands, row, k); },
        [&](int row, int column, float low, float high) {
            write(row, column, low);
            write(row, column + 1, high);
        },
        Share{}, [&](auto& sums, int row, int column) { add_interpolated(group, weights, sums, row, column); });
    block_barrier();
}

// Padding of x takes part in products and must be zero.
template <class Precision, class G>
MIXSYNTH_CARD void clear_padding(const G& group) {
    const int rows = group.windows * group.s.tokens, past = (group.windows - 1) * group.s.tokens;
    const int all = rows > past + whole_tiles(group.s.tokens) ? rows : past + whole_tiles(group.s.tokens);
    for (int row = warp(); row < (all > whole_tiles(rows) ? all : whole_tiles(rows)); row += warps())
        for (int c = lane(); c < whole_tiles(group.s.channels); c += 32) {
            group.x.set(row, c, 0.0f);
            if (sizeof(typename G::Operand) < sizeof(float)) group.operands.set(row, c, 0.0f);
        }
}

// The whole network: this block takes every blocks()-th group of windows. `shared` holds call.buffers.shared_bytes.
template <class Precision, class AnySizes>
MIXSYNTH_CARD void forward(const Forward& call, const AnySizes& s, char* shared) {
    auto group = group_of<AnySizes, Precision>(call, s, shared);
    clear_padding<Precision>(group);
    const int64_t full = call.buffers.windows;
    for (int64_t window = block() * full; window < call.batch; window += blocks() * full) {
        group.windows = static_cast<int>(call.batch - window < full ? call.batch - window : full);
        group.keyframes = call.keyframes + window * s.keyframes * s.joint_dim;
        interpolate_and_embed<Precision>(group, call.packed);
        const float* weights = call.packed;
        for (int layer = 0; layer < s.layers; ++layer, weights += call.offsets.layer_stride)
            encoder_layer<Precision>(group, weights, call.offsets.layer);
        write_motion<Precision>(group, call.packed, call.motion + window * s.tokens * s.joint_dim);
    }
}

}  // namespace mixsynth::card
