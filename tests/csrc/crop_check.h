// Check of a crop: a picture and a square of exactly their sizes, against the definition in crop.h, wherever the square
// lies. Included by forward_check.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>

#include "crop.h"

// One channel of the picture at (x, y), bilinear, with its border repeated.
inline double sampled(const uint8_t* rgb, int64_t row_bytes, int64_t width, int64_t height, double x, double y, int c) {
    const double left = std::floor(x), top = std::floor(y);
    double sum = 0.0;
    for (int down = 0; down < 2; ++down)
        for (int right = 0; right < 2; ++right) {
            const auto column = static_cast<int64_t>(std::clamp(left + right, 0.0, static_cast<double>(width - 1)));
            const auto row = static_cast<int64_t>(std::clamp(top + down, 0.0, static_cast<double>(height - 1)));
            sum += (right ? x - left : 1 - x + left) * (down ? y - top : 1 - y + top) *
                   rgb[row * row_bytes + column * 3 + c];
        }
    return sum;
}

// The largest difference from the definition, in levels of 255, over squares inside, across and far beyond the picture.
inline double check_crop(int64_t width, int64_t height, int64_t size) {
    std::mt19937 random(static_cast<unsigned>(width * 31 + height * 7 + size));
    std::uniform_real_distribution<double> place(-2.5, 3.5), step(-4.0, 4.0);
    const int64_t row_bytes = width * 3 + 2, bytes = row_bytes * (height - 1) + width * 3;
    const auto rgb = std::make_unique<uint8_t[]>(static_cast<size_t>(bytes));
    for (int64_t i = 0; i < bytes; ++i) rgb[static_cast<size_t>(i)] = static_cast<uint8_t>(random());
    double worst = 0.0;
    for (int trial = 0; trial < 20; ++trial) {
        const double scale = trial ? 1.0 : 1e6;  // the first one lies nowhere near
        const mixsynth::Square square{scale * place(random) * static_cast<double>(width),
                                      scale * place(random) * static_cast<double>(height), step(random), step(random)};
        const auto out = std::make_unique<uint8_t[]>(static_cast<size_t>(size * size * 3));
        mixsynth::crop(rgb.get(), row_bytes, width, height, square, size, out.get());
        for (int64_t k = 0; k < size * size * 3; ++k) {
            const auto i = static_cast<double>(k / 3 % size), j = static_cast<double>(k / 3 / size);
            const double x = square.x + i * square.right_x - j * square.right_y;
            const double y = square.y + i * square.right_y + j * square.right_x;
            const double level = sampled(rgb.get(), row_bytes, width, height, x, y, static_cast<int>(k % 3));
            worst = std::fmax(worst, std::fabs(level - out[static_cast<size_t>(k)]));
        }
    }
    return worst;
}
