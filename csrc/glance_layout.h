// Where the levels of a pyramid lie in its memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "glance.h"

namespace mixsynth {

// Pixels around each level that repeat its edge: a window around a point of the picture never needs more.
constexpr int64_t kBorder = 8;

struct LevelShape {
    int64_t width, height;  // 0 where the pyramid has no such level
    int64_t stride;         // floats from row to row
    int64_t offset;         // of the pixel (0, 0)
    double pixel;           // its size, in pixels of the picture
    double left, top;       // of its pixel (0, 0) in such pixels
};

inline LevelShape level_shape(const PyramidShape& shape, int level) {
    LevelShape out{};
    int64_t next = 0;
    for (int l = 0; l <= level; ++l) {
        out.width = shape.width >> l;
        out.height = shape.height >> l;
        out.stride = (out.width + 2 * kBorder + 7) / 8 * 8;
        out.offset = next + kBorder * out.stride + kBorder;
        next += out.stride * (out.height + 2 * kBorder);
    }
    out.pixel = static_cast<double>(shape.shrink << level);
    out.left = static_cast<double>(shape.left) / out.pixel;
    out.top = static_cast<double>(shape.top) / out.pixel;
    return out;
}

}  // namespace mixsynth
