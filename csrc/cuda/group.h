// Group: the windows that a block works on, and its buffers. Row g T + t of a tile is token t of window g.
#pragma once

#include "cuda/network.h"
#include "cuda/precision.h"

namespace mixsynth::card {

// One number a token or channel of each window.
using Vector = Tile<float>;

template <class Sizes, class Precision>
struct Group {
    using Operand = typename Precision::Operand;

    const Forward& call;
    Sizes s;
    int windows;  // of this group; the last one may have fewer
    Tile<float> x{}, keyframes{}, embedded{};
    Tile<Operand> operands{}, token_out{}, channel_out{}, hidden{}, token_values{}, channel_values{};
    Tile<Operand> keyframe_operands{};
    Vector token_pooled{}, token_squeezed{}, token_gate{}, channel_pooled{}, channel_squeezed{}, channel_gate{};

    MIXSYNTH_CARD int rows() const { return windows * s.tokens; }
    MIXSYNTH_CARD bool reduces_tokens() const { return s.token_keys != s.tokens; }
    MIXSYNTH_CARD bool reduces_channels() const { return s.channel_keys != s.channels; }
    // Rows of a window in token_values.
    MIXSYNTH_CARD int value_slot() const { return reduces_tokens() ? whole_tiles(s.token_keys) : s.tokens; }
};

template <typename Number>
MIXSYNTH_CARD Tile<Number> tile_of(const Buffer& buffer, int within, int columns, char* shared, char* workspace) {
    char* start = (buffer.is_shared ? shared : workspace) + buffer.offset + within;
    return {reinterpret_cast<Number*>(start), row_stride(columns)};
}

// `s` holds the sizes of call.sizes, perhaps as constants.
template <class Sizes, class Precision>
MIXSYNTH_CARD Group<Sizes, Precision> group_of(const Forward& call, const Sizes& s, char* shared) {
    using Operand = typename Precision::Operand;
    const Buffers& b = call.buffers;
    char* workspace = call.workspace + static_cast<int64_t>(block()) * b.workspace_bytes;
    Group<Sizes, Precision> group{call, s, b.windows};
    group.x = tile_of<float>(b.x, 0, s.channels, shared, workspace);
    group.operands = tile_of<Operand>(b.operands, 0, s.channels, shared, workspace);
    group.keyframes = tile_of<float>(b.keyframes, 0, s.joint_dim, shared, workspace);
    group.token_out = tile_of<Operand>(b.mixed, 0, s.channels, shared, workspace);
    group.channel_out = tile_of<Operand>(b.mixed, b.channel_out, s.channels, shared, workspace);
    group.hidden = tile_of<Operand>(b.mixed, 0, s.hidden, shared, workspace);
    group.keyframe_operands = tile_of<Operand>(b.mixed, 0, s.joint_dim, shared, workspace);
    group.embedded = tile_of<float>(b.mixed, b.embedded, s.channels, shared, workspace);
    group.token_values = group.reduces_tokens() ? tile_of<Operand>(b.token_values, 0, s.channels, shared, workspace)
                                                : group.operands;
    group.channel_values = group.reduces_channels()
                               ? tile_of<Operand>(b.channel_values, 0, s.channel_keys, shared, workspace)
                               : group.operands;
    float* next = reinterpret_cast<float*>((b.vectors.is_shared ? shared : workspace) + b.vectors.offset);
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
