// Sizes: what a kernel knows of a network's shape, while it runs or already when it is compiled.
#pragma once

#include "layout.h"

namespace mixsynth::card {

// T, C, T / reduce_token, C / reduce_channel, the width of the feed-forward layer, D, Q + 1, L
struct Sizes {
    static constexpr bool kFixed = false;
    int tokens, channels, token_keys, channel_keys, hidden, joint_dim, keyframes, layers;
};

inline Sizes sizes_of(const Dimensions& d) {
    const auto size = [](int64_t n) { return static_cast<int>(n); };
    return {size(d.tokens()),       size(d.emb_dim), size(d.token_keys()), size(d.channel_keys()),
            size(d.hidden()),       size(d.joint_dim), size(d.keyframes()),  size(d.num_encoder_layers)};
}

// The same names; those that every layer's loops need are known to the compiler.
template <int kTokens, int kChannels, int kTokenKeys, int kChannelKeys, int kHidden>
struct FixedSizes {
    static constexpr bool kFixed = true;
    static constexpr int tokens = kTokens, channels = kChannels, token_keys = kTokenKeys, channel_keys = kChannelKeys,
                         hidden = kHidden;
    int joint_dim, keyframes, layers;

    static constexpr bool fit(const Sizes& s) {
        return s.tokens == tokens && s.channels == channels && s.token_keys == token_keys &&
               s.channel_keys == channel_keys && s.hidden == hidden;
    }
};

}  // namespace mixsynth::card
