// Where each packed weight and each workspace buffer lies. The same functions count the floats (from address 0), tell
// pack() where to write, and tell forward() where to read.
#pragma once

#include "mixsynth.h"

namespace mixsynth {

// Rows of every matrix are padded to a multiple of kLanes floats, so that no loop has a tail.
constexpr int64_t kLanes = 16;

inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// A network that needs more is not built: 1 GiB.
constexpr size_t kMostFloats = size_t{1} << 28;

// The right matrix of a product is read in panels of kPanel columns.
constexpr int64_t kPanel = 64;

// Padded columns of the panel that starts at column `first`.
inline int64_t panel_width(int64_t columns, int64_t first) {
    const int64_t left = padded(columns) - first;
    return left < kPanel ? left : kPanel;
}

struct Right {
    const float* data;
    int64_t stride;  // from one row to the next; 0 where each panel is stored by itself, row after row
    int64_t panel;   // from one panel to the next
};

// Hands out consecutive pieces of a buffer, each on a 64-byte boundary of it. Number is float for who writes and const
// float for who only reads, here and in all that is taken from a cursor.
template <typename Number>
class Cursor {
  public:
    explicit Cursor(Number* start) : start_(start) {}
    Number* take(int64_t floats) {
        Number* piece = start_ ? start_ + used_ : nullptr;
        used_ += static_cast<size_t>(padded(floats));
        return piece;
    }
    size_t used() const { return used_; }

  private:
    Number* start_;
    size_t used_ = 0;
};

// How many floats `take` takes.
template <typename Take>
size_t floats_taken(Take take, const Dimensions& dims) {
    Cursor<float> at(nullptr);
    take(at, dims);
    return at.used();
}

template <typename Number>
struct Packed {
    Number *weight, *bias;
};

// For x W^T: the weight transposed to [inputs, padded outputs], in panels, so that outputs are unit-stride.
template <typename Number>
Packed<Number> take_columns(Cursor<Number>& at, int64_t inputs, int64_t outputs) {
    return {at.take(inputs * padded(outputs)), at.take(outputs)};
}

inline Right as_panels(const float* weight, int64_t inputs) { return {weight, 0, kPanel * inputs}; }

// A matrix that forward() made itself: [depth, padded columns], row after row.
inline Right as_rows(const float* data, int64_t stride) { return {data, stride, kPanel}; }

// For W x: the weight as published, [outputs, inputs].
template <typename Number>
Packed<Number> take_rows(Cursor<Number>& at, int64_t inputs, int64_t outputs) {
    return {at.take(inputs * outputs), at.take(outputs)};
}

template <typename Number>
struct PackedAttention {
    Packed<Number> dense, value_reduce;
    Packed<Number> mean;  // the mean of dense over its outputs, which gives the mean energies without the energies
    Number *squeeze, *excite;
};

// `real` is 1 in the real columns and 0 in the padding.
template <typename Number>
struct PackedNorm {
    Number *weight, *bias, *real;
};

template <typename Number>
struct PackedLayer {
    PackedAttention<Number> token, channel;
    Packed<Number> reweight1, reweight2, proj, ff1, ff2;
    PackedNorm<Number> norm1, norm2;
};

template <typename Number>
struct PackedEnds {
    Number* l_interp;  // [T, Q + 2]: the bias is the weight of one more keyframe, which is all ones
    Packed<Number> encoder_emb, fc;
    PackedNorm<Number> norm;
};

template <typename Number>
PackedNorm<Number> take_norm(Cursor<Number>& at, int64_t width) {
    return {at.take(width), at.take(width), at.take(width)};
}

template <typename Number>
PackedEnds<Number> take_ends(Cursor<Number>& at, const Dimensions& d) {
    const int64_t C = d.emb_dim, D = d.joint_dim;
    return {at.take(d.tokens() * (d.keyframes() + 1)), take_columns(at, D, C), take_columns(at, C, D),
            take_norm(at, C)};
}

template <typename Number>
PackedLayer<Number> take_layer(Cursor<Number>& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    PackedLayer<Number> layer{};
    layer.token.dense = take_columns(at, C, d.token_keys());
    layer.token.value_reduce = d.reduce_token > 1 ? take_rows(at, T, d.token_keys()) : Packed<Number>{};
    layer.token.mean = take_rows(at, C, 1);
    layer.token.squeeze = at.take(T * padded(T / 4));
    layer.token.excite = at.take(T / 4 * padded(T));
    layer.channel.dense = take_rows(at, T, d.channel_keys());
    layer.channel.value_reduce = d.reduce_channel > 1 ? take_columns(at, C, d.channel_keys()) : Packed<Number>{};
    layer.channel.mean = take_rows(at, T, 1);
    layer.channel.squeeze = at.take(C * padded(C / 4));
    layer.channel.excite = at.take(C / 4 * padded(C));
    layer.reweight1 = take_columns(at, T, T / 4);
    layer.reweight2 = take_columns(at, T / 4, T);
    layer.proj = take_columns(at, C, C);
    layer.ff1 = take_columns(at, C, d.hidden());
    layer.ff2 = take_columns(at, d.hidden(), C);
    layer.norm1 = take_norm(at, C);
    layer.norm2 = take_norm(at, C);
    return layer;
}

// Windows of a batch that are computed together, where one has fewer than 64 rows: at least 128 rows, for which the
// weights are read once. 64 rows cost 7 % more with T = 11; several windows of 64 rows or more gain nothing.
inline int64_t group_size(const Dimensions& d) { return d.tokens() < 64 ? (128 + d.tokens() - 1) / d.tokens() : 1; }

// Columns of channel energies that are made, exponentiated and used while they lie in the first cache (16 KB).
inline int64_t channel_block(const Dimensions& d) {
    const int64_t fitting = 4096 / d.channel_keys() / kLanes * kLanes;
    return fitting < kLanes ? kLanes : fitting > kPanel ? kPanel : fitting;
}

// G windows. What belongs to one window only has one window's size.
struct Workspace {
    float* keyframes;         // [Q+2, D]: the last row is ones
    float* embedded;          // [Q+2, C]
    float* interpolated;      // [G, T, D]
    float* x;                 // [G, T, C]
    float* token_energies;    // [G, T, T / reduce_token]
    float* token_values;      // [T / reduce_token, C]
    float* token_out;         // [G, T, C]
    float* channel_energies;  // [C / reduce_channel, block]: transposed, one column a channel
    float* channel_values;    // [G, T, C / reduce_channel]
    float* channel_out;       // [G, T, C]
    float* channel_scale;     // [G, C]
    float* updated;           // [G, T, C]: x, and what synth_att or the feed-forward layer adds to it
    float* hidden;            // [G, T, C * expansion_factor]
    float* out;               // [G, T, D]
    float *pooled, *squeezed, *gate;  // [G, T or C]
};

inline Workspace take_workspace(Cursor<float>& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = padded(d.emb_dim), D = padded(d.joint_dim), widest = padded(T > C ? T : C);
    const int64_t G = group_size(d), GT = G * T;
    Workspace w{};
    w.keyframes = at.take((d.keyframes() + 1) * D);
    w.embedded = at.take((d.keyframes() + 1) * C);
    w.interpolated = at.take(GT * D);
    w.x = at.take(GT * C);
    w.token_energies = at.take(GT * padded(d.token_keys()));
    w.token_values = at.take(d.token_keys() * C);
    w.token_out = at.take(GT * C);
    w.channel_energies = at.take(d.channel_keys() * channel_block(d));
    w.channel_values = d.reduce_channel > 1 ? at.take(GT * padded(d.channel_keys())) : nullptr;
    w.channel_out = at.take(GT * C);
    w.channel_scale = at.take(G * C);
    w.updated = at.take(GT * C);
    w.hidden = at.take(GT * padded(d.hidden()));
    w.out = at.take(GT * D);
    w.pooled = at.take(G * widest);
    w.squeezed = at.take(G * widest);
    w.gate = at.take(G * widest);
    return w;
}

}  // namespace mixsynth
