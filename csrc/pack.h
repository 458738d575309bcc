// Packing: how published weights are copied into the layouts of layout.h and train_layout.h.
#pragma once

#include <algorithm>
#include <limits>

#include "layout.h"

namespace mixsynth {

// The bias of a padded key: its energy is minus infinity, and so it gets no attention.
constexpr float kNoKey = -std::numeric_limits<float>::infinity();

// weight(output, input) -> panels of [inputs, up to kPanel outputs], with zeros as padding
template <typename Read>
void pack_panels(Read weight, float* to, int64_t inputs, int64_t outputs) {
    for (int64_t first = 0; first < outputs; first += kPanel) {
        const int64_t width = panel_width(outputs, first);
        for (int64_t k = 0; k < inputs; ++k)
            for (int64_t j = 0; j < width; ++j) *to++ = first + j < outputs ? weight(first + j, k) : 0.0f;
    }
}

// [outputs, inputs] -> panels
inline void pack_panels(const float* from, float* to, int64_t inputs, int64_t outputs) {
    pack_panels([=](int64_t i, int64_t k) { return from[i * inputs + k]; }, to, inputs, outputs);
}

inline void pack_row(const float* from, float* to, int64_t width, float padding = 0.0f) {
    std::fill(std::copy(from, from + width, to), to + padded(width), padding);
}

inline void pack_norm(const Linear& from, const PackedNorm<float>& to, int64_t width) {
    pack_row(from.weight, to.weight, width);
    pack_row(from.bias, to.bias, width);
    std::fill(std::fill_n(to.real, width, 1.0f), to.real + padded(width), 0.0f);
}

// reweight2 gives a token two scores, that of the token branch first. Only their difference is needed.
inline void pack_difference(const Linear& from, const Packed<float>& to, int64_t inputs, int64_t tokens) {
    const auto weight = [&](int64_t i, int64_t k) {
        return from.weight[2 * i * inputs + k] - from.weight[(2 * i + 1) * inputs + k];
    };
    pack_panels(weight, to.weight, inputs, tokens);
    std::fill(to.bias, to.bias + padded(tokens), 0.0f);
    for (int64_t i = 0; i < tokens; ++i) to.bias[i] = from.bias[2 * i] - from.bias[2 * i + 1];
}

}  // namespace mixsynth
