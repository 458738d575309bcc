// Attention: the two branches of mixed synthetic attention. Attention is synthesised from the rows alone, and never leaves
// the registers of the warp that owns the rows.
#pragma once

#include "cuda/product.h"

namespace mixsynth::card {

// Energies [16, 8 kHalves] of keys from `first_key` on, still without bias -> exp(factor * (energy - the largest so far)).
// `shrink` is what earlier weights are to be multiplied with, because the largest has grown.
template <int kHalves>
MIXSYNTH_CARD void weigh_keys(float (&weights)[kHalves][4], int first_key, int keys, const float* bias,
                              const float (&factor)[2], float (&largest)[2], float (&total)[2], float (&shrink)[2]) {
    float top[2] = {largest[0], largest[1]};
    MIXSYNTH_UNROLL
    for (int i = 0; i < 4 * kHalves; ++i) {
        const int key = first_key + i / 4 * 8 + first_column() + i % 2;
        float& energy = weights[i / 4][i % 4];
        energy = key < keys ? energy + load_constant(bias + key) : -INFINITY;
        top[i % 4 / 2] = fmaxf(top[i % 4 / 2], energy);
    }
    MIXSYNTH_UNROLL
    for (int half = 0; half < 2; ++half) {
        top[half] = largest_of_four(top[half]);
        shrink[half] = first_key ? power_of_two(factor[half] * (largest[half] - top[half])) : 0.0f;
        largest[half] = top[half];
        total[half] *= shrink[half];
    }
    MIXSYNTH_UNROLL
    for (int i = 0; i < 4 * kHalves; ++i) {
        const int key = first_key + i / 4 * 8 + first_column() + i % 2, half = i % 4 / 2;
        float& weight = weights[i / 4][i % 4];
        weight = key < keys ? power_of_two(factor[half] * (weight - top[half])) : 0.0f;
        total[half] += weight;
    }
}

// Sixteen rows of a branch, and their outputs from operand `first` on, at most kOutputs operands of 16 columns:
// finish(sums [16, 16 kOutputs]) of softmax(gate * (rows dense + bias)) values. left(k) is an operand of the rows,
// values(key, output) one of the values. Keys come 32 at a time, with the largest energy so far, so that registers do not
// grow with the network. The largest energy is subtracted before its gate multiplies.
template <class Precision, int kOutputs, class Left, class Values, class Finish>
MIXSYNTH_CARD void attend(int keys, int depth, int first, int output_pairs, const float* dense, const float* bias,
                          const float (&gate)[2], Left left, Values values, Finish finish) {
    constexpr int kKeys = 2;
    const int key_pairs = tiles_of(keys);
    const float factor[2] = {gate[0] * kLog2e, gate[1] * kLog2e};
    float sums[2 * kOutputs][4] = {}, total[2] = {}, largest[2] = {-INFINITY, -INFINITY};
    for (int pair = 0; pair < key_pairs; pair += kKeys) {
        float weights[2 * kKeys][4] = {}, shrink[2];
        multiply_packed<Precision, kKeys>(weights, depth, dense, pair, key_pairs, left);
        weigh_keys<2 * kKeys>(weights, pair * kSide, keys, bias, factor, largest, total, shrink);
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8 * kOutputs; ++i) sums[i / 4][i % 4] *= shrink[i % 4 / 2];
        MIXSYNTH_UNROLL
        for (int p = 0; p < kKeys; ++p)
            if (p == 0 || pair + p < key_pairs) {
                const auto attention = Precision::left_of_sums(weights[2 * p], weights[2 * p + 1]);
                MIXSYNTH_UNROLL
                for (int o = 0; o < kOutputs; ++o)
                    if (o == 0 || first + o < output_pairs)
                        Precision::multiply(sums[2 * o], sums[2 * o + 1], attention,
                                            values((pair + p) * kSide, (first + o) * kSide));
            }
    }
    const float scale[2] = {1.0f / sum_of_four(total[0]), 1.0f / sum_of_four(total[1])};
    MIXSYNTH_UNROLL
    for (int i = 0; i < 8 * kOutputs; ++i) sums[i / 4][i % 4] *= scale[i % 4 / 2];
    finish(sums);
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

// Operand k of the tokens of a window, for sixteen channels from `row` on. What follows the window is another one's, and
// would pass its infinities on: zero weights are no help there.
template <class Precision, class G>
MIXSYNTH_CARD typename Precision::Fragment tokens_of(const G& group, int window, int row, int k) {
    const int tokens = group.s.tokens;
    auto operand = Precision::left_of_transposed(group.operands, row, window * tokens + k * kSide);
    if ((k + 1) * kSide > tokens) Precision::cut_left(operand, tokens - k * kSide);
    return operand;
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
                return tokens_of<Precision>(group, window, row, k);
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
        linear<Precision, G::kFixed>(
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

// Gates of the rows that a lane holds, from row `row` of a window on; padded rows have none.
MIXSYNTH_CARD void read_gates(const Vector& gates, int window, int row, int rows, float (&gate)[2]) {
    MIXSYNTH_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int i = row + first_row() + 8 * half;
        gate[half] = i < rows ? gates.get(window, i) : 0.0f;
    }
}

// Operands of 16 outputs that a unit of each branch makes.
constexpr int kTokenOutputs = 4, kChannelOutputs = 8;

// Sixteen channels of a window, from `row` on, and 128 tokens: channel_out [T, C], written column by column.
template <class Precision, class G>
MIXSYNTH_CARD void channel_rows(const G& group, const float* weights, const BranchOffsets& at, int window, int row,
                                int first) {
    const auto& s = group.s;
    const int start = window * s.tokens, depth = tiles_of(s.tokens);
    float gate[2];
    read_gates(group.channel_gate, window, row, s.channels, gate);
    attend<Precision, kChannelOutputs>(
        s.channel_keys, depth, first, depth, weights + at.dense.weight, weights + at.dense.bias, gate,
        [&](int k) { return tokens_of<Precision>(group, window, row, k); },
        [&](int key, int token) { return Precision::right_of_transposed(group.channel_values, key, start + token); },
        [&](const float(&sums)[2 * kChannelOutputs][4]) {
            for_pairs<kChannelOutputs>(sums, row, first * kSide, [&](int channel, int token, float low, float high) {
                if (token < s.tokens) group.channel_out.set(start + token, channel, low);
                if (token + 1 < s.tokens) group.channel_out.set(start + token + 1, channel, high);
            });
        });
}

// Sixteen tokens of a window, from `row` on, and 64 channels: token_out [T, C].
template <class Precision, class G>
MIXSYNTH_CARD void token_rows(const G& group, const float* weights, const BranchOffsets& at, int window, int row,
                              int first) {
    const auto& s = group.s;
    const int start = window * s.tokens, first_value = window * group.value_slot(), depth = tiles_of(s.channels);
    float gate[2];
    read_gates(group.token_gate, window, row, s.tokens, gate);
    attend<Precision, kTokenOutputs>(
        s.token_keys, depth, first, depth, weights + at.dense.weight, weights + at.dense.bias, gate,
        [&](int k) { return Precision::left(group.operands, start + row, k * kSide); },
        [&](int key, int channel) {
            auto values = Precision::right(group.token_values, first_value + key, channel);
            if (!group.reduces_tokens() && key + kSide > s.tokens) Precision::cut_right(values, s.tokens - key);
            return values;
        },
        [&](const float(&sums)[2 * kTokenOutputs][4]) {
            for_pairs<kTokenOutputs>(sums, row, first * kSide, [&](int token, int channel, float low, float high) {
                if (token < s.tokens && channel < depth * kSide)
                    group.token_out.set_pair(start + token, channel, low, high);
            });
        });
}

// Both branches of all windows, shared out in units of sixteen rows; the channel branch has the longer ones and comes first.
template <class Precision, class G>
MIXSYNTH_CARD void attend_both(const G& group, const float* weights, const LayerOffsets& at) {
    const int channel_tiles = tiles_of(group.s.channels), token_tiles = tiles_of(group.s.tokens);
    const int channel_parts = (token_tiles + kChannelOutputs - 1) / kChannelOutputs;
    const int token_parts = (channel_tiles + kTokenOutputs - 1) / kTokenOutputs;
    const int channel_units = channel_tiles * channel_parts, token_units = token_tiles * token_parts;
    const int all_of_channels = group.windows * channel_units, units = all_of_channels + group.windows * token_units;
    for (int unit = warp(); unit < units; unit += warps()) {
        if (unit < all_of_channels) {
            const int window = unit / channel_units, i = unit % channel_units;
            channel_rows<Precision>(group, weights, at.channel, window, i % channel_tiles * kSide,
                                    i / channel_tiles * kChannelOutputs);
        } else {
            const int window = (unit - all_of_channels) / token_units, i = (unit - all_of_channels) % token_units;
            token_rows<Precision>(group, weights, at.token, window, i % token_tiles * kSide,
                                  i / token_tiles * kTokenOutputs);
        }
    }
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
    attend_both<Precision>(group, weights, at);
    block_barrier();
}

}  // namespace mixsynth::card
