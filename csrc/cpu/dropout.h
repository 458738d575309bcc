// Dropout in training: which numbers of a layer it keeps, and by what it multiplies them.
#pragma once

#include "cpu/processor.h"

namespace mixsynth {
namespace {

// The dropouts of a layer, in their order.
enum class DropoutPlace : uint64_t { kProj, kHidden, kOut };
constexpr uint64_t kPlaces = 3;

// 64 random bits for one dropout in one window: a step of SplitMix64 (Steele et al., 2014).
inline uint64_t dropout_key(const Dropout& dropout, int64_t window, DropoutPlace place) {
    const uint64_t counter = static_cast<uint64_t>(window) * kPlaces + static_cast<uint64_t>(place) + 1;
    uint64_t bits = dropout.seed + counter * 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

// factors [floats]: 0 for a number that is left out, and 1 / (1 - share) for one that is kept. Each is a hash of its
// place (the constants are those of Wellons, 2018), with half of the key before each round. Compilers make registers of it.
inline void dropout_factors(const Dropout& dropout, int64_t window, DropoutPlace place, int64_t floats, float* factors) {
    const uint64_t key = dropout_key(dropout, window, place);
    const auto first = static_cast<uint32_t>(key), second = static_cast<uint32_t>(key >> 32);
    const auto threshold = static_cast<uint32_t>(static_cast<double>(dropout.share) * 4294967296.0);
    const float kept = 1.0f / (1.0f - dropout.share);
    const auto count = static_cast<uint32_t>(floats);
    for (uint32_t i = 0; i < count; ++i) {
        uint32_t bits = i ^ first;
        bits = (bits ^ (bits >> 16)) * 0x7feb352du;
        bits = ((bits ^ (bits >> 15)) + second) * 0x846ca68bu;
        bits ^= bits >> 16;
        factors[i] = bits >= threshold ? kept : 0.0f;
    }
}

}  // namespace
}  // namespace mixsynth
