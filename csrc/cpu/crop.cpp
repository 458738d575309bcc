#include "crop.h"

#include <algorithm>
#include <cmath>

#if !defined(__GNUC__)
inline void __builtin_prefetch(const void*) {}  // it concerns speed only
#endif

namespace mixsynth {
namespace {

constexpr int kFraction = 16;  // bits of a coordinate behind the point
constexpr int kWeight = 8;     // bits of a bilinear weight: a channel times the weights' sum fits 16 bits
// A turned row of samples crosses a row of the picture at nearly each of them. They are fetched so many samples ahead.
constexpr int64_t kAhead = 16;
constexpr int64_t kPixel = int64_t{1} << kFraction;

int64_t fixed(double pixels) { return std::llround(std::ldexp(pixels, kFraction)); }

struct Picture {
    const uint8_t* rgb;
    int64_t row_bytes, width, height;
};

// A pixel's three channels in lanes of 16 bits, so that one multiplication serves all three.
uint64_t lanes(uint32_t r, uint32_t g, uint32_t b) {
    return r | static_cast<uint64_t>(g) << 16 | static_cast<uint64_t>(b) << 32;
}

uint64_t lanes_at(const uint8_t* pixel) { return lanes(pixel[0], pixel[1], pixel[2]); }

uint64_t mixture(uint64_t above_left, uint64_t above_right, uint64_t below_left, uint64_t below_right, uint32_t x,
                 uint32_t y) {
    const uint32_t both = x * y >> kWeight, right = x - both, below = y - both, none = (1u << kWeight) - x - y + both;
    const uint64_t sum = above_left * none + above_right * right + below_left * below + below_right * both;
    return (sum + lanes(128, 128, 128)) >> kWeight & lanes(255, 255, 255);
}

// The picture at (x, y) in fixed point, between four pixels. Outside it, its border.
uint64_t sample(const Picture& picture, int64_t x, int64_t y) {
    const int64_t column = x >> kFraction, row = y >> kFraction;
    const auto weight_x = static_cast<uint32_t>(x >> (kFraction - kWeight) & 255);
    const auto weight_y = static_cast<uint32_t>(y >> (kFraction - kWeight) & 255);
    if (column >= 0 && row >= 0 && column + 1 < picture.width && row + 1 < picture.height) {
        const uint8_t* above = picture.rgb + row * picture.row_bytes + column * 3;
        const uint8_t* below = above + picture.row_bytes;
        return mixture(lanes_at(above), lanes_at(above + 3), lanes_at(below), lanes_at(below + 3), weight_x, weight_y);
    }
    const int64_t left = std::clamp<int64_t>(column, 0, picture.width - 1) * 3;
    const int64_t right = std::clamp<int64_t>(column + 1, 0, picture.width - 1) * 3;
    const uint8_t* above = picture.rgb + std::clamp<int64_t>(row, 0, picture.height - 1) * picture.row_bytes;
    const uint8_t* below = picture.rgb + std::clamp<int64_t>(row + 1, 0, picture.height - 1) * picture.row_bytes;
    return mixture(lanes_at(above + left), lanes_at(above + right), lanes_at(below + left), lanes_at(below + right),
                   weight_x, weight_y);
}

// The pixel above and left of (x, y), or the nearest to it.
const uint8_t* nearest(const Picture& picture, int64_t x, int64_t y) {
    const int64_t column = std::clamp<int64_t>(x >> kFraction, 0, picture.width - 1);
    const int64_t row = std::clamp<int64_t>(y >> kFraction, 0, picture.height - 1);
    return picture.rgb + row * picture.row_bytes + column * 3;
}

}  // namespace

void crop(const uint8_t* rgb, int64_t row_bytes, int64_t width, int64_t height, const Square& square, int64_t size,
          uint8_t* out) {
    const Picture picture{rgb, row_bytes, width, height};
    const int64_t right_x = fixed(square.right_x), right_y = fixed(square.right_y);
    for (int64_t j = 0; j < size; ++j) {
        // Each row begins anew, so that rounding adds up along one row only.
        int64_t x = fixed(square.x - static_cast<double>(j) * square.right_y);
        int64_t y = fixed(square.y + static_cast<double>(j) * square.right_x);
        for (int64_t i = 0; i < size; ++i, x += right_x, y += right_y, out += 3) {
            const int64_t x_ahead = x + kAhead * right_x, y_ahead = y + kAhead * right_y;
            __builtin_prefetch(nearest(picture, x_ahead, y_ahead));
            __builtin_prefetch(nearest(picture, x_ahead, y_ahead + kPixel));
            const uint64_t pixel = sample(picture, x, y);
            for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(pixel >> (16 * c));
        }
    }
}

}  // namespace mixsynth
