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

// Warps of a block in their kernels: each of h36m's eleven units of attention, which take longest, has one. That leaves a
// thread 168 registers.
constexpr int kFixedWarps = 11;

// Sizes that have a kernel of their own.
template <class... Fixed>
struct SizesList {
    // Calls use(fixed sizes) where some of the list are those of `sizes`; returns whether there are.
    template <class Use>
    static bool use_fitting(const Sizes& sizes, Use use) {
        return ((Fixed::fit(sizes) && (use(Fixed{sizes.joint_dim, sizes.keyframes, sizes.layers}), true)) || ...);
    }
};

using KnownSizes = SizesList<FixedSizes<11, 128, 2, 128, 256>,    // jhmdb
                             FixedSizes<101, 64, 25, 64, 128>,    // h36m
                             FixedSizes<51, 32, 12, 32, 64>,      // 3dpw, 3dpw-pare
                             FixedSizes<51, 64, 12, 64, 128>,     // 3dpw-smpl
                             FixedSizes<101, 128, 25, 128, 256>,  // aist, aist-smpl
                             FixedSizes<44, 64, 11, 64, 128>,     // image-n5, world-n5
                             FixedSizes<69, 64, 17, 64, 128>,     // image-n10, world-n10
                             FixedSizes<94, 64, 23, 64, 128>      // image-n15, world-n15
                             >;

}  // namespace mixsynth::card
