// Pyramid: a part of a picture in four sizes, as floats, with a border that repeats its edge.
#pragma once

#include <algorithm>
#include <cstring>

#include "glance_layout.h"

namespace mixsynth {
namespace {

// Sums of squares of `shrink` pixels, a row of squares at a time.
template <typename Sample>
void shrink_rows(const Plane& plane, const PyramidShape& shape, const LevelShape& level, float* numbers) {
    const auto* samples = static_cast<const char*>(plane.samples);
    const auto shrink = shape.shrink;
    const float unit =
        255.0f / (static_cast<float>((1 << plane.bits) - 1) * static_cast<float>(shrink) * static_cast<float>(shrink));
    for (int64_t y = 0; y < level.height; ++y) {
        float* out = numbers + y * level.stride;
        std::fill(out, out + level.width, 0.0f);
        for (int64_t i = 0; i < shrink; ++i) {
            const auto* row = reinterpret_cast<const Sample*>(samples + (shape.top + y * shrink + i) * plane.row_bytes);
            row += shape.left;
            for (int64_t x = 0; x < level.width; ++x) {
                uint32_t sum = 0;
                for (int64_t k = 0; k < shrink; ++k) sum += row[x * shrink + k];
                out[x] += static_cast<float>(sum);
            }
        }
        for (int64_t x = 0; x < level.width; ++x) out[x] *= unit;
    }
}

inline void halve(const LevelShape& finer, const float* from, const LevelShape& level, float* numbers) {
    for (int64_t y = 0; y < level.height; ++y) {
        const float* upper = from + 2 * y * finer.stride;
        const float* lower = upper + finer.stride;
        float* out = numbers + y * level.stride;
        for (int64_t x = 0; x < level.width; ++x)
            out[x] = 0.25f * (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]);
    }
}

inline void repeat_edge(const LevelShape& level, float* numbers) {
    for (int64_t y = 0; y < level.height; ++y) {
        float* row = numbers + y * level.stride;
        std::fill(row - kBorder, row, row[0]);
        std::fill(row + level.width, row + level.stride - kBorder, row[level.width - 1]);
    }
    float* first = numbers - kBorder;
    float* last = first + (level.height - 1) * level.stride;
    const size_t bytes = static_cast<size_t>(level.stride) * sizeof(float);
    for (int64_t i = 1; i <= kBorder; ++i) {
        std::memcpy(first - i * level.stride, first, bytes);
        std::memcpy(last + i * level.stride, last, bytes);
    }
}

inline void fill_pyramid(const Plane& plane, const PyramidShape& shape, float* numbers) {
    for (int l = 0; l < kPyramidLevels; ++l) {
        const LevelShape level = level_shape(shape, l);
        if (!level.width || !level.height) return;
        float* origin = numbers + level.offset;
        if (l) {
            const LevelShape finer = level_shape(shape, l - 1);
            halve(finer, numbers + finer.offset, level, origin);
        } else if (plane.bits <= 8) {
            shrink_rows<uint8_t>(plane, shape, level, origin);
        } else {
            shrink_rows<uint16_t>(plane, shape, level, origin);
        }
        repeat_edge(level, origin);
    }
}

}  // namespace
}  // namespace mixsynth
