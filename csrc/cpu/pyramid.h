// Pyramid: a part of a picture in four sizes, as floats, with a border that repeats its edge.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "glance_layout.h"

namespace mixsynth {
namespace {

constexpr int64_t kBlock = 1024;  // samples of a row that are added up at a time
constexpr int64_t kSquareOf16Bits = 16;  // bytes of larger squares may add up to more than 16 bits hold

// The weights of red, green and blue in luma (ITU-R BT.601), in 256ths.
constexpr uint32_t kLuma[3] = {77, 150, 29};

// Sums of the luma of `shrink` neighbours.
template <typename Sum>
void add_colours(const Sum* sums, int64_t count, int64_t shrink, float unit, float* out) {
    for (int64_t x = 0; x < count; ++x) {
        float sum = 0.0f;
        for (int64_t k = 0; k < 3 * shrink; k += 3)
            for (int c = 0; c < 3; ++c)
                sum += static_cast<float>(kLuma[c]) * static_cast<float>(sums[3 * x * shrink + k + c]);
        out[x] = sum * unit / 256.0f;
    }
}

// Sums of `shrink` neighbours one by one; compilers know how to do a few that are a constant in registers.
template <int kShrink, typename Sum>
void add_each(const Sum* sums, int64_t count, int64_t shrink, float unit, float* out) {
    const int64_t size = kShrink ? kShrink : shrink;
    for (int64_t x = 0; x < count; ++x) {
        uint32_t sum = 0;
        for (int64_t k = 0; k < size; ++k) sum += sums[x * size + k];
        out[x] = static_cast<float>(sum) * unit;
    }
}

// The same: sums that begin at every number are computed in registers, and one in `shrink` of them is taken. `sums` has
// `shrink` numbers more than count.
template <typename Sum>
void add_runs(const Sum* sums, int64_t count, int64_t shrink, float unit, float* out) {
    const int64_t width = count * shrink;
    Sum runs[kBlock];
    for (int64_t k = 0; k < width; ++k) runs[k] = sums[k];
    for (int64_t i = 1; i < shrink; ++i)
        for (int64_t k = 0; k < width; ++k) runs[k] = static_cast<Sum>(runs[k] + sums[k + i]);
    for (int64_t x = 0; x < count; ++x) out[x] = static_cast<float>(runs[x * shrink]) * unit;
}

template <typename Sum>
void add_neighbours(const Sum* sums, int64_t count, int64_t shrink, float unit, float* out) {
    if (shrink == 1) return add_each<1>(sums, count, shrink, unit, out);
    if (shrink == 2) return add_each<2>(sums, count, shrink, unit, out);
    if (shrink > kSquareOf16Bits) return add_each<0>(sums, count, shrink, unit, out);
    add_runs(sums, count, shrink, unit, out);
}

// Means of squares of `shrink` pixels. Rows are added first, because that is fast in registers.
template <typename Sample>
void shrink_rows(const Plane& plane, const PyramidShape& shape, const LevelShape& level, float* numbers) {
    const auto* samples = static_cast<const char*>(plane.samples);
    const int64_t shrink = shape.shrink, square = shrink * plane.channels, squares = kBlock / square;
    const auto area = static_cast<float>(shrink * shrink);
    const float unit = 255.0f / (static_cast<float>((1 << plane.bits) - 1) * area);
    // 64 rows of bytes add up to less than 2^16, and so do squares of 16.
    using Sum = std::conditional_t<sizeof(Sample) == 1, uint16_t, uint32_t>;
    Sum sums[kBlock + kSquareOf16Bits] = {};
    for (int64_t y = 0; y < level.height; ++y)
        for (int64_t x = 0; x < level.width; x += squares) {
            const int64_t count = std::min(squares, level.width - x), width = count * square;
            for (int64_t i = 0; i < shrink; ++i) {
                const int64_t line = shape.top + y * shrink + i;
                const auto* row = reinterpret_cast<const Sample*>(samples + line * plane.row_bytes);
                row += shape.left * plane.channels + x * square;
                if (i)
                    for (int64_t k = 0; k < width; ++k) sums[k] = static_cast<Sum>(sums[k] + row[k]);
                else
                    for (int64_t k = 0; k < width; ++k) sums[k] = row[k];
            }
            float* out = numbers + y * level.stride + x;
            if (plane.channels == 1)
                add_neighbours(sums, count, shrink, unit, out);
            else
                add_colours(sums, count, shrink, unit, out);
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
