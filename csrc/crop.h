// A turned square of a picture, sampled anew: what a pose network looks at.
#pragma once

#include <cstdint>

namespace mixsynth {

// Pixel (i, j) of the square, column and row, is sampled at (x + i * right_x - j * right_y, y + i * right_y + j * right_x).
struct Square {
    double x, y;              // pixels: the sample of the first pixel
    double right_x, right_y;  // pixels of the picture from one column to the next; a quarter turn of it leads down
};

// size x size x 3 uint8, bilinear. Beyond the picture its border is repeated. Rows of the picture may be padded.
void crop(const uint8_t* rgb, int64_t row_bytes, int64_t width, int64_t height, const Square& square, int64_t size,
          uint8_t* out);

}  // namespace mixsynth
