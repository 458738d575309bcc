// Layout: where each packed weight and each buffer of a workspace lies. The same functions count the floats (with no
// memory, at nullptr), tell pack() where to write and tell forward() where to read.
#pragma once

#include "mixsynth.h"

namespace mixsynth {

// Rows of every matrix are padded to a multiple of kLanes floats, so that no loop has a tail.
constexpr int64_t kLanes = 16;

inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// The most memory of one network: 1 GiB.
constexpr size_t kMostFloats = size_t{1} << 28;

// The right matrix of a product is read in panels of kPanel columns.
constexpr int64_t kPanel = 64;

// Padded columns of the panel that starts at column `first`.
inline int64_t panel_width(int64_t columns, int64_t first) {
    const int64_t left = padded(columns) - first;
    return left < kPanel ? left : kPanel;
}

// The right matrix of a product.
struct Right {
    const float* data;
    int64_t stride;  // from one row to the next; 0 where each panel is stored by itself, row after row
    int64_t panel;   // from one panel to the next
};

// Cuts a buffer into consecutive pieces, each on a 64-byte boundary of it. Number is float in memory that is written
// and const float in memory that is read, here and in all structs below.
template <typename Number>
class Cursor {
  public:
    explicit Cursor(Number* start) : start_(start) {}
    Number* take(int64_t floats) {
        Number* piece = start_ ? start_ + size_ : nullptr;
        size_ += static_cast<size_t>(padded(floats));
        return piece;
    }
    size_t size() const { return size_; }

  private:
    Number* start_;
    size_t size_ = 0;
};

// The number of floats that the function `take` takes from a cursor.
template <typename Take>
size_t size_of(Take take, const Dimensions& dims) {
    Cursor<float> cursor(nullptr);
    take(cursor, dims);
    return cursor.size();
}

template <typename Number>
struct Packed {
    Number *weight, *bias;
};

// For x W^T: the weight transposed to [inputs, padded outputs], in panels, so that outputs are unit-stride.
template <typename Number>
Packed<Number> take_columns(Cursor<Number>& cursor, int64_t inputs, int64_t outputs) {
    return {cursor.take(inputs * padded(outputs)), cursor.take(outputs)};
}

// A weight of take_columns().
inline Right as_panels(const float* weight, int64_t inputs) { return {weight, 0, kPanel * inputs}; }

// For a matrix that forward() computes: [depth, padded columns], row after row.
inline Right as_rows(const float* data, int64_t stride) { return {data, stride, kPanel}; }

// For W x: the weight as published, [outputs, inputs].
template <typename Number>
Packed<Number> take_rows(Cursor<Number>& cursor, int64_t inputs, int64_t outputs) {
    return {cursor.take(inputs * outputs), cursor.take(outputs)};
}

template <typename Number>
struct PackedAttention {
    Packed<Number> dense, value_reduce;
    Packed<Number> mean;  // of dense over its outputs: it gives the mean energies without the energies
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
PackedNorm<Number> take_norm(Cursor<Number>& cursor, int64_t width) {
    return {cursor.take(width), cursor.take(width), cursor.take(width)};
}

template <typename Number>
PackedEnds<Number> take_ends(Cursor<Number>& cursor, const Dimensions& d) {
    const int64_t C = d.emb_dim, D = d.joint_dim;
    return {cursor.take(d.tokens() * (d.keyframes() + 1)), take_columns(cursor, D, C), take_columns(cursor, C, D),
            take_norm(cursor, C)};
}

template <typename Number>
PackedLayer<Number> take_layer(Cursor<Number>& cursor, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    PackedLayer<Number> layer{};
    layer.token.dense = take_columns(cursor, C, d.token_keys());
    layer.token.value_reduce = d.reduce_token > 1 ? take_rows(cursor, T, d.token_keys()) : Packed<Number>{};
    layer.token.mean = take_rows(cursor, C, 1);
    layer.token.squeeze = cursor.take(T * padded(T / 4));
    layer.token.excite = cursor.take(T / 4 * padded(T));
    layer.channel.dense = take_rows(cursor, T, d.channel_keys());
    layer.channel.value_reduce = d.reduce_channel > 1 ? take_columns(cursor, C, d.channel_keys()) : Packed<Number>{};
    layer.channel.mean = take_rows(cursor, T, 1);
    layer.channel.squeeze = cursor.take(C * padded(C / 4));
    layer.channel.excite = cursor.take(C / 4 * padded(C));
    layer.reweight1 = take_columns(cursor, T, T / 4);
    layer.reweight2 = take_columns(cursor, T / 4, T);
    layer.proj = take_columns(cursor, C, C);
    layer.ff1 = take_columns(cursor, C, d.hidden());
    layer.ff2 = take_columns(cursor, d.hidden(), C);
    layer.norm1 = take_norm(cursor, C);
    layer.norm2 = take_norm(cursor, C);
    return layer;
}

// The number of windows that are computed together. Windows of fewer than 64 rows form groups of at least 128 rows, and
// a group reads the weights once.
inline int64_t group_size(const Dimensions& d) { return d.tokens() < 64 ? (128 + d.tokens() - 1) / d.tokens() : 1; }

// The number of channels whose energies are computed and used while they lie in the first cache (16 KB).
inline int64_t channel_block(const Dimensions& d) {
    const int64_t fitting = 4096 / d.channel_keys() / kLanes * kLanes;
    return fitting < kLanes ? kLanes : fitting > kPanel ? kPanel : fitting;
}

// Buffers for G = group_size() windows. A buffer without G serves one window after the other.
struct Workspace {
    float* keyframes;         // [Q+2, D]: the last row is ones
    float* embedded;          // [Q+2, C]
    float* interpolated;      // [G, T, D]
    float* x;                 // [G, T, C]
    float* token_energies;    // [G, T, T / reduce_token]
    float* token_values;      // [T / reduce_token, C]
    float* token_out;         // [G, T, C]
    float* channel_energies;  // [C / reduce_channel, block]: one column a channel
    float* channel_values;    // [G, T, C / reduce_channel]
    float* channel_out;       // [G, T, C]
    float* channel_scale;     // [G, C]: what channel_out is still to be multiplied with
    float* updated;           // [G, T, C]: x plus the output of synth_att or of the feed-forward layer
    float* hidden;            // [G, T, C * expansion_factor]
    float* out;               // [G, T, D]
    float* pooled;            // [G, T or C]
    float* squeezed;          // [G, T or C]
    float* gate;              // [G, T or C]
};

inline Workspace take_workspace(Cursor<float>& cursor, const Dimensions& d) {
    const int64_t T = d.tokens(), C = padded(d.emb_dim), D = padded(d.joint_dim), widest = padded(T > C ? T : C);
    const int64_t G = group_size(d), GT = G * T;
    Workspace w{};
    w.keyframes = cursor.take((d.keyframes() + 1) * D);
    w.embedded = cursor.take((d.keyframes() + 1) * C);
    w.interpolated = cursor.take(GT * D);
    w.x = cursor.take(GT * C);
    w.token_energies = cursor.take(GT * padded(d.token_keys()));
    w.token_values = cursor.take(d.token_keys() * C);
    w.token_out = cursor.take(GT * C);
    w.channel_energies = cursor.take(d.channel_keys() * channel_block(d));
    w.channel_values = d.reduce_channel > 1 ? cursor.take(GT * padded(d.channel_keys())) : nullptr;
    w.channel_out = cursor.take(GT * C);
    w.channel_scale = cursor.take(G * C);
    w.updated = cursor.take(GT * C);
    w.hidden = cursor.take(GT * padded(d.hidden()));
    w.out = cursor.take(GT * D);
    w.pooled = cursor.take(G * widest);
    w.squeezed = cursor.take(G * widest);
    w.gate = cursor.take(G * widest);
    return w;
}

}  // namespace mixsynth
