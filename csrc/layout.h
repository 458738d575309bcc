// Where each packed weight and each workspace buffer lies. The same functions count the floats (from address 0), tell
// pack() where to write, and tell forward() where to read.
#pragma once

#include "kernels.h"
#include "mixsynth.h"

namespace mixsynth {

// Hands out consecutive pieces of a buffer, each on a 64-byte boundary of it.
class Cursor {
  public:
    explicit Cursor(float* start) : start_(start) {}
    float* take(int64_t floats) {
        float* piece = start_ ? start_ + used_ : nullptr;
        used_ += static_cast<size_t>(padded(floats));
        return piece;
    }
    size_t used() const { return used_; }

  private:
    float* start_;
    size_t used_ = 0;
};

struct Packed {
    float* weight;
    float* bias;
};

// For x W^T: the weight transposed to [inputs, padded outputs], so that outputs are unit-stride.
inline Packed take_columns(Cursor& at, int64_t inputs, int64_t outputs) {
    return {at.take(inputs * padded(outputs)), at.take(outputs)};
}

// For W x: the weight as published, [outputs, inputs].
inline Packed take_rows(Cursor& at, int64_t inputs, int64_t outputs) {
    return {at.take(inputs * outputs), at.take(outputs)};
}

struct PackedAttention {
    Packed dense, value_reduce;
    float *squeeze, *excite;
};

struct PackedLayer {
    PackedAttention token, channel;
    Packed reweight1, reweight2, proj, ff1, ff2, norm1, norm2;
};

struct PackedEnds {
    Packed l_interp, encoder_emb, norm, fc;
};

inline PackedEnds take_ends(Cursor& at, const Dimensions& d) {
    return {take_rows(at, d.keyframes(), d.tokens()), take_columns(at, d.joint_dim, d.emb_dim),
            {at.take(d.emb_dim), at.take(d.emb_dim)}, take_columns(at, d.emb_dim, d.joint_dim)};
}

inline PackedLayer take_layer(Cursor& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = d.emb_dim;
    PackedLayer layer{};
    layer.token.dense = take_columns(at, C, d.token_keys());
    layer.token.value_reduce = d.reduce_token > 1 ? take_rows(at, T, d.token_keys()) : Packed{};
    layer.token.squeeze = at.take(T / 4 * T);
    layer.token.excite = at.take(T * (T / 4));
    layer.channel.dense = take_rows(at, T, d.channel_keys());
    layer.channel.value_reduce = d.reduce_channel > 1 ? take_columns(at, C, d.channel_keys()) : Packed{};
    layer.channel.squeeze = at.take(C / 4 * C);
    layer.channel.excite = at.take(C * (C / 4));
    layer.reweight1 = take_rows(at, T, T / 4);
    layer.reweight2 = take_rows(at, T / 4, 2 * T);
    layer.proj = take_columns(at, C, C);
    layer.ff1 = take_columns(at, C, d.hidden());
    layer.ff2 = take_columns(at, d.hidden(), C);
    layer.norm1 = {at.take(C), at.take(C)};
    layer.norm2 = {at.take(C), at.take(C)};
    return layer;
}

struct Workspace {
    float* keyframes;        // [Q+1, D]
    float* interpolated;     // [T, D]
    float* x;                // [T, C]
    float* token_energies;   // [T, T / reduce_token]
    float* token_values;     // [T / reduce_token, C]
    float* token_out;        // [T, C]
    float* channel_energies;  // [C / reduce_channel, C]: transposed, one column a channel
    float* channel_values;   // [T, C / reduce_channel]
    float* channel_out;      // [T, C]
    float* update;           // [T, C]
    float* hidden;           // [T, 2C]
    float* out;              // [T, D]
    float *pooled, *squeezed, *gate;
};

inline Workspace take_workspace(Cursor& at, const Dimensions& d) {
    const int64_t T = d.tokens(), C = padded(d.emb_dim), D = padded(d.joint_dim), widest = T > C ? T : C;
    Workspace w{};
    w.keyframes = at.take(d.keyframes() * D);
    w.interpolated = at.take(T * D);
    w.x = at.take(T * C);
    w.token_energies = at.take(T * padded(d.token_keys()));
    w.token_values = at.take(d.token_keys() * C);
    w.token_out = at.take(T * C);
    w.channel_energies = at.take(d.channel_keys() * C);
    w.channel_values = at.take(T * padded(d.channel_keys()));
    w.channel_out = at.take(T * C);
    w.update = at.take(T * C);
    w.hidden = at.take(T * padded(d.hidden()));
    w.out = at.take(T * D);
    w.pooled = at.take(widest);
    w.squeezed = at.take(widest);
    w.gate = at.take(2 * widest);
    return w;
}

}  // namespace mixsynth
