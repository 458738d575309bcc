// The shape of a pyramid: which squares of a picture it covers, and how much memory it takes.
#include <algorithm>

#include "glance_layout.h"

namespace mixsynth {

PyramidShape pyramid_shape(int64_t picture_width, int64_t picture_height, int64_t left, int64_t top, int64_t right,
                           int64_t bottom, int64_t shrink) {
    const int64_t coarsest = shrink << (kPyramidLevels - 1);
    PyramidShape out{};
    out.shrink = shrink;
    out.left = std::clamp<int64_t>(left, 0, picture_width) / coarsest * coarsest;
    out.top = std::clamp<int64_t>(top, 0, picture_height) / coarsest * coarsest;
    // Squares that the picture does not fill are left out.
    const auto squares = [&](int64_t from, int64_t to, int64_t size) {
        const int64_t needed = (std::clamp(to, from, size) - from + coarsest - 1) / coarsest * coarsest;
        return std::min(needed, size - from) / shrink;
    };
    out.width = squares(out.left, right, picture_width);
    out.height = squares(out.top, bottom, picture_height);
    if (!out.width || !out.height) out.width = out.height = 0;
    return out;
}

size_t pyramid_size(const PyramidShape& shape) {
    const LevelShape last = level_shape(shape, kPyramidLevels - 1);
    return static_cast<size_t>(last.offset + last.stride * (last.height + kBorder) - kBorder);
}

}  // namespace mixsynth
