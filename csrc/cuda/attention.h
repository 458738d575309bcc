// Attention: the two branches of mixed synthetic attention. Attention is synthesised from the rows alone, and never leaves
// the registers of the warp that owns the rows.
#pragma once

#include "cuda/product.h"

namespace mixsynth::card {

// Sixteen rows of a branch: finish(first output, sums [16, 128]) of softmax(gate * (rows dense + bias)) values.
// left(k) is an operand of the rows, values(key, output) one of the values. Keys come 32 at a time, with the largest energy
// so far: registers do not grow with the network. The largest energy is subtracted before its gate multiplies.
template <class Precision, class Left, class Values, class Finish>
MIXSYNTH_CARD void attend(int keys, int depth, int output_pairs, const float* dense, const float* bias,
                          const float (&gate)[2], Left left, Values values, Finish finish) {
    constexpr int kOutputs = 8, kKeys = 2;
    const int key_pairs = tiles_of(keys);
    const float factor[2] = {gate[0] * kLog2e, gate[1] * kLog2e};
    for (int first = 0; first < output_pairs; first += kOutputs) {
        float sums[2 * kOutputs][4] = {}, total[2] = {}, largest[2] = {-INFINITY, -INFINITY};
        for (int pair = 0; pair < key_pairs; pair += kKeys) {
            float weights[2 * kKeys][4] = {};
            multiply_packed<Precision, kKeys>(weights, depth, dense, pair, key_pairs, left);
            float top[2] = {largest[0], largest[1]};
            MIXSYNTH_UNROLL
            for (int i = 0; i < 8 * kKeys; ++i) {
                const int key = pair * kSide + i / 4 * 8 + first_column() + i % 2;
                float& energy = weights[i / 4][i % 4];
                energy = key < keys ? energy + load_constant(bias + key) : -INFINITY;
                top[i % 4 / 2] = fmaxf(top[i % 4 / 2], energy);
            }
            float shrink[2];
            MIXSYNTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                top[half] = largest_of_four(top[half]);
                shrink[half] = pair ? power_of_two(factor[half] * (largest[half] - top[half])) : 0.0f;
                largest[half] = top[half];
                total[half] *= shrink[half];
            }
            MIXSYNTH_UNROLL
            for (int i = 0; i < 8 * kKeys; ++i) {
                const int key = pair * kSide + i / 4 * 8 + first_column() + i % 2, half = i % 4 / 2;
                float& weight = weights[i / 4][i % 4];
                weight = key < keys ? power_of_two(factor[half] * (weight - top[half])) : 0.0f;
                total[half] += weight;
            }
            MIXSYNTH_UNROLL
            for (int i = 0; i < 8 * kOutputs; ++i) sums[i / 4][i % 4] *= shrink[i % 4 / 2];
            MIXSYNTH_UNROLL
            for (int p = 0; p < kKeys; ++p)
                if (pair + p < key_pairs) {
                    const auto attention = Precision::left_of_sums(weights[2 * p], weights[2 * p + 1]);
                    MIXSYNTH_UNROLL
                    for (int o = 0; o < kOutputs; ++o)
                        if (first + o < output_pairs)
                            Precision::multiply(sums[2 * o], sums[2 * o + 1], attention,
                                                values((pair + p) * kSide, (first + o) * kSide));
                }
        }
        const float scale[2] = {1.0f / sum_of_four(total[0]), 1.0f / sum_of_four(total[1])};
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8 * kOutputs; ++i) sums[i / 4][i % 4] *= scale[i % 4 / 2];
        finish(first * kSide, sums);
    }
}

// Mean energies of all rows of both branches: from x, without the energies. Sums along channels and along time.
template <class G>
MIXSYNTH_CARD void pool_energies(const G& group, const float* weights, const LayerOffsets& at, Share& share) {
    const auto& s = group.s;
    const int units = (group.rows() + 3) / 4;
    const float* mean = weights + at.token.mean.weight;
    for (int unit = share.first(units); unit < units; unit += warps()) {
        const int row = unit * 4 + lane() / 8;
        float sum = 0.0f;
        if (row < group.rows())
            for (int c = lane() % 8; c < s.channels; c += 8) sum += load_constant(mean + c) * group.x.get(row, c);
        sum = sum_of_eight(sum) + load_constant(weights + at.token.mean.bias);
        if (row < group.rows() && lane() % 8 == 0) group.token_pooled.set(row / s.tokens, row % s.tokens, sum);
    }
    // Eight neighbouring channels, and a quarter of the tokens for each of them.
    const int eights = (s.channels + 7) / 8, channel_units = group.windows * eights;
    const float* token_mean = weights + at.channel.mean.weight;
    for (int unit = share.first(channel_units); unit < channel_units; unit += warps()) {
        const int window = unit / eights, channel = unit % eights * 8 + lane() % 8;
        float sum = 0.0f;
        if (channel < s.channels)
            for (int t = lane() / 8; t < s.tokens; t += 4)
                sum += load_constant(token_mean + t) * group.x.get(window * s.tokens + t, channel);
        sum += shuffle_xor(sum, 8);
        sum += shuffle_xor(sum, 16) + load_constant(weights + at.channel.mean.bias);
        if (channel < s.channels && lane() / 8 == 0) group.channel_pooled.set(window, channel, sum);
    }
}

// The values of a branch whose keys are reduced: along time, [m, C] a window, and along channels, [T, n] a window.
template <class Precision, class G>
MIXSYNTH_CARD void reduce_values(const G& group, const float* weights, const LayerOffsets& at, Share& share) {
    const auto& s = group.s;
    if (group.reduces_tokens()) {
        const int heights = tiles_of(s.channels), depth = tiles_of(s.tokens), pairs = tiles_of(s.token_keys);
        const int units = group.windows * heights * pairs;
        const float* bias = weights + at.token.value_reduce.bias;
        for (int unit = share.first(units); unit < units; unit += warps()) {
            const int window = unit / (heights * pairs), pair = unit / heights % pairs, row = unit % heights * kSide;
            float sums[2][4] = {};
            multiply_packed<Precision, 1>(sums, depth, weights + at.token.value_reduce.weight, pair, pairs, [&](int k) {
                return Precision::left_of_transposed(group.operands, row, window * s.tokens + k * kSide);
            });
            const int first = window * group.value_slot();
            for_pairs<1>(sums, row, pair * kSide, [&](int channel, int key, float low, float high) {
                group.token_values.set(first + key, channel, low + load_constant(bias + key));
                group.token_values.set(first + key + 1, channel, high + load_constant(bias + key + 1));
            });
        }
    }
    if (group.reduces_channels()) {
        const float* bias = weights + at.channel.value_reduce.bias;
        linear<Precision>(
            group.rows(), s.channels, s.channel_keys, weights + at.channel.value_reduce.weight,
            [&](int row, int k) { return Precision::left(group.operands, row, k); },
            [&](int row, int column, float low, float high) {
                if (row < group.rows())
                    group.channel_values.set_pair(row, column, low + load_constant(bias + column),
                                                  high + load_constant(bias + column + 1));
            },
            share);
    }
}

// Sixteen channels of a window: channel_out [T, C], written column by column.
template <class Precision, class G>
MIXSYNTH_CARD void channel_rows(const G& group, const float* weights, const BranchOffsets& at, int window, int row) {
    const auto& s = group.s;
    const int start = window * s.tokens;
    float gate[2];
    MIXSYNTH_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int channel = row + first_row() + 8 * half;
        gate[half] = channel < s.channels ? group.channel_gate.get(window, channel) : 0.0f;
    }
    attend<Precision>(
        s.channel_keys, tiles_of(s.tokens), tiles_of(s.tokens), weights + at.dense.weight, weights + at.dense.bias, gate,
        [&](int k) { return Precision::left_of_transposed(group.operands, row, start + k * kSide); },
        [&](int key, int token) { return Precision::right_of_transposed(group.channel_values, key, start + token); },
        [&](int first, const float(&sums)[16][4]) {
            for_pairs<8>(sums, row, first, [&](int channel, int token, float low, float high) {
                if (token < s.tokens) group.channel_out.set(start + token, channel, low);
                if (token + 1 < s.tokens) group.channel_out.set(start + token + 1, channel, high);
            });
        });
}

// Sixteen tokens of a window: token_out [T, C].
template <class Precision, class G>
MIXSYNTH_CARD void token_rows(const G& group, const float* weights, const BranchOffsets& at, int window, int row) {
    const auto& s = group.s;
    const int start = window * s.tokens, first_value = window * group.value_slot();
    float gate[2];
    MIXSYNTH_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int token = row + first_row() + 8 * half;
        gate[half] = token < s.tokens ? group.token_gate.get(window, token) : 0.0f;
    }
    attend<Precision>(
        s.token_keys, tiles_of(s.channels), tiles_of(s.channels), weights + at.dense.weight, weights + at.dense.bias,
        gate, [&](int k) { return Precision::left(group.operands, start + row, k * kSide); },
        [&](int key, int channel) { return Precision::right(group.token_values, first_value + key, channel); },
        [&](int first, const float(&sums)[16][4]) {
            for_pairs<8>(sums, row, first, [&](int token, int channel, float low, float high) {
                if (token < s.tokens && channel < whole_tiles(s.channels))
                    group.token_out.set_pair(start + token, channel, low, high);
            });
        });
}

// group.x -> token_out and channel_out [G T, C]. Ends with a barrier.
template <class Precision, class G>
MIXSYNTH_CARD void synthesise_attention(const G& group, const float* weights, const LayerOffsets& at) {
    const auto& s = group.s;
    {
        Share share;
        pool_energies(group, weights, at, share);
        reduce_values<Precision>(group, weights, at, share);
    }
    block_barrier();
    {
        Share share;
        multiply_vectors(
            group.windows, s.tokens, s.tokens / 4, weights + at.token.squeeze, group.token_pooled,
            [&](int window, int i, float sum) { group.token_squeezed.set(window, i, relu(sum)); }, share);
        multiply_vectors(
            group.windows, s.channels, s.channels / 4, weights + at.channel.squeeze, group.channel_pooled,
            [&](int window, int i, float sum) { group.channel_squeezed.set(window, i, relu(sum)); }, share);
    }
    block_barrier();
    {
        Share share;
        multiply_vectors(
            group.windows, s.tokens / 4, s.tokens, weights + at.token.excite, group.token_squeezed,
            [&](int window, int i, float sum) { group.token_gate.set(window, i, sigmoid(sum)); }, share);
        multiply_vectors(
            group.windows, s.channels / 4, s.channels, weights + at.channel.excite, group.channel_squeezed,
            [&](int window, int i, float sum) { group.channel_gate.set(window, i, sigmoid(sum)); }, share);
    }
    block_barrier();
    // The channel branch is the longer one and comes first.
    const int channel_tiles = tiles_of(s.channels), token_tiles = tiles_of(s.tokens);
    const int channel_units = group.windows * channel_tiles, units = channel_units + group.windows * token_tiles;
    for (int unit = warp(); unit < units; unit += warps()) {
        const int i = unit - channel_units;
        if (unit < channel_units)
            channel_rows<Precision>(group, weights, at.channel, unit / channel_tiles, unit % channel_tiles * kSide);
        else
            token_rows<Precision>(group, weights, at.token, i / token_tiles, i % token_tiles * kSide);
    }
    block_barrier();
}

}  // namespace mixsynth::card
