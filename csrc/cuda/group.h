// Group: the windows that a block works on, and its buffers. Row g T + t of a tile is token t of window g.
#pragma once

#include "cuda/network.h"
#include "cuda/precision.h"

namespace mixsynth::card {

// One number a token or channel of each window.
using Vector = Tile<float>;

template <class AnySizes, class Precision>
struct Group {
    using Operand = typename Precision::Operand;
    static constexpr bool kFixed = AnySizes::kFixed;

    const Forward& call;
    AnySizes s;
    int windows;  // of this group; the last one may have fewer
    const float* keyframes;  // of the first window, in device memory
    Tile<float> x{}, embedded{};
    Tile<Operand> operands{}, token_out{}, channel_out{}, hidden{}, token_values{}, channel_values{};
    Tile<Operand> keyframe_operands{};
    Vector token_pooled{}, token_squeezed{}, token_gate{}, channel_pooled{}, channel_squeezed{}, channel_gate{};

    MIXSYNTH_CARD int rows() const { return windows * s.tokens; }
    MIXSYNTH_CARD bool reduces_tokens() const { return s.token_keys != s.tokens; }
    MIXSYNTH_CARD bool reduces_channels() const { return s.channel_keys != s.channels; }
    // Rows of a window in token_values.
    MIXSYNTH_CARD int value_slot() const { return reduces_tokens() ? whole_tiles(s.token_keys) : s.tokens; }
};

// Where a block's buffers lie.
template <bool kAllShared>
struct Storage {
    char *shared, *workspace;

    MIXSYNTH_CARD char* at(const Buffer& buffer) const {
        return (kAllShared || buffer.is_shared ? shared : workspace) + buffer.offset;
    }
    template <typename Number>
    MIXSYNTH_CARD Tile<Number> tile(const Buffer& buffer, int columns, int within = 0) const {
        return {reinterpret_cast<Number*>(at(buffer) + within), row_stride(columns)};
    }
};

// `s` holds the sizes of call.sizes, perhaps as constants.
template <class AnySizes, class Precision>
MIXSYNTH_CARD Group<AnySizes, Precision> group_of(const Forward& call, const AnySizes& s, char* shared) {
    using Operand = typename Precision::Operand;
    const Buffers& b = call.buffers;
    const Storage<Precision::kAllShared> in{
        shared, call.workspace + static_cast<int64_t>(block()) * b.workspace_bytes};
    Group<AnySizes, Precision> group{call, s, b.windows, call.keyframes};
    group.x = in.template tile<float>(b.x, s.channels);
    group.operands = in.template tile<Operand>(b.operands, s.channels);
    group.token_out = in.template tile<Operand>(b.mixed, s.channels);
    group.channel_out = in.template tile<Operand>(b.mixed, s.channels, b.channel_out);
    group.hidden = in.template tile<Operand>(b.mixed, s.hidden);
    group.keyframe_operands = in.template tile<Operand>(b.mixed, s.joint_dim);
    group.embedded = in.template tile<float>(b.mixed, s.channels, b.embedded);
    group.token_values = group.reduces_tokens() ? in.template tile<Operand>(b.token_values, s.channels) : group.operands;
    group.channel_values =
        group.reduces_channels() ? in.template tile<Operand>(b.channel_values, s.channel_keys) : group.operands;
    float* next = reinterpret_cast<float*>(in.at(b.vectors));
    const auto take = [&](int length) {
        const Vector vector{next, length};
        next += b.windows * length;
        return vector;
    };
    group.token_pooled = take(s.tokens);
    group.token_squeezed = take(s.tokens);
    group.token_gate = take(s.tokens);
    group.channel_pooled = take(s.channels);
    group.channel_squeezed = take(s.channels);
    group.channel_gate = take(s.channels);
    return group;
}

}  // namespace mixsynth::card
