// Packing of a network: the check of its dimensions, and its published weights in the layout of layout.h.
#include "pack.h"

#include <algorithm>
#include <numeric>

namespace mixsynth {
namespace {

void pack_columns(const Linear& from, const Packed<float>& to, int64_t inputs, int64_t outputs, float padding = 0.0f) {
    pack_panels(from.weight, to.weight, inputs, outputs);
    pack_row(from.bias, to.bias, outputs, padding);
}

void pack_rows(const Linear& from, const Packed<float>& to, int64_t inputs, int64_t outputs) {
    std::copy(from.weight, from.weight + inputs * outputs, to.weight);
    std::copy(from.bias, from.bias + outputs, to.bias);
}

// The mean over the outputs is a Linear with one output.
void pack_mean(const Linear& from, const Packed<float>& to, int64_t inputs, int64_t outputs) {
    for (int64_t k = 0; k < padded(inputs); ++k) {
        double sum = 0.0;
        for (int64_t i = 0; k < inputs && i < outputs; ++i) sum += from.weight[i * inputs + k];
        to.weight[k] = static_cast<float>(sum / static_cast<double>(outputs));
    }
    const double sum = std::accumulate(from.bias, from.bias + outputs, 0.0);
    to.bias[0] = static_cast<float>(sum / static_cast<double>(outputs));
}

void pack_attention(const SyntheticAttention& from, const PackedAttention<float>& to, int64_t inputs, int64_t length,
                    int64_t keys) {
    pack_mean(from.dense, to.mean, inputs, keys);
    pack_panels(from.squeeze, to.squeeze, length, length / 4);
    pack_panels(from.excite, to.excite, length / 4, length);
}

void pack_layer(const Dimensions& d, const Layer& from, const PackedLayer<float>& to) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    pack_columns(from.synth_token.dense, to.token.dense, C, d.token_keys(), kNoKey);
    if (d.reduce_token > 1) pack_rows(from.synth_token.value_reduce, to.token.value_reduce, T, d.token_keys());
    pack_attention(from.synth_token, to.token, C, T, d.token_keys());
    pack_rows(from.synth_channel.dense, to.channel.dense, T, d.channel_keys());
    if (d.reduce_channel > 1)
        pack_columns(from.synth_channel.value_reduce, to.channel.value_reduce, C, d.channel_keys());
    pack_attention(from.synth_channel, to.channel, T, C, d.channel_keys());
    pack_columns(from.reweight1, to.reweight1, T, T / 4);
    pack_difference(from.reweight2, to.reweight2, T / 4, T);
    pack_columns(from.proj, to.proj, C, C);
    pack_columns(from.ff1, to.ff1, C, d.hidden());
    pack_columns(from.ff2, to.ff2, d.hidden(), C);
    pack_norm(from.norm1, to.norm1, C);
    pack_norm(from.norm2, to.norm2, C);
}

// [T, Q + 1] and [T] -> [T, Q + 2]
void pack_interpolation(const Linear& from, float* to, int64_t keyframes, int64_t tokens) {
    for (int64_t t = 0; t < tokens; ++t) {
        to = std::copy(from.weight + t * keyframes, from.weight + (t + 1) * keyframes, to);
        *to++ = from.bias[t];
    }
}

}  // namespace

const char* check(const Dimensions& d) {
    constexpr int64_t kLargest = 1 << 16;
    for (int64_t n : {d.sample_interval, d.step, d.joint_dim, d.emb_dim, d.num_encoder_layers, d.expansion_factor,
                      d.reduce_token, d.reduce_channel})
        if (n < 1 || n > kLargest) return "every dimension must be from 1 to 65536";
    if (d.horizon < 0 || d.horizon > kLargest) return "horizon must be from 0 to 65536";
    if (d.tokens() > kLargest) return "N*Q + 1 + H must be at most 65536 steps";
    if (d.hidden() > kLargest) return "emb_dim * expansion_factor must be at most 65536";
    if (d.reduce_token > d.tokens() || d.reduce_channel > d.emb_dim)
        return "a reduce factor must not exceed the number of tokens or channels that it divides";
    if (packed_size(d) + workspace_size(d) > kMostFloats) return "the network would need more than 1 GiB of memory";
    return nullptr;
}

size_t packed_size(const Dimensions& d) {
    const auto layers = static_cast<size_t>(d.num_encoder_layers);
    return size_of(take_ends<float>, d) + layers * size_of(take_layer<float>, d);
}

size_t workspace_size(const Dimensions& d) { return size_of(take_workspace, d); }

void pack(const Dimensions& d, const Weights& weights, float* packed) {
    Cursor cursor(packed);
    const PackedEnds<float> ends = take_ends(cursor, d);
    pack_interpolation(weights.l_interp, ends.l_interp, d.keyframes(), d.tokens());
    pack_columns(weights.encoder_emb, ends.encoder_emb, d.joint_dim, d.emb_dim);
    pack_norm(weights.norm, ends.norm, d.emb_dim);
    pack_columns(weights.fc, ends.fc, d.emb_dim, d.joint_dim);
    for (int64_t i = 0; i < d.num_encoder_layers; ++i) pack_layer(d, weights.layers[i], take_layer(cursor, d));
}

}  // namespace mixsynth
