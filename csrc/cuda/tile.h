// Tile: a matrix in shared memory, or in device memory where shared memory runs out.
#pragma once

#include "cuda/primitives.h"

namespace mixsynth::card {

// Rows begin at different banks, so that eight rows of a matrix product's operand are read at once.
constexpr int kApart = 8;
// Rows and columns of one operand of a matrix product.
constexpr int kSide = 16;

MIXSYNTH_BOTH constexpr int tiles_of(int n) { return (n + kSide - 1) / kSide; }
MIXSYNTH_BOTH constexpr int whole_tiles(int n) { return tiles_of(n) * kSide; }
// Numbers from one row of a tile to the next.
MIXSYNTH_BOTH constexpr int row_stride(int columns) { return whole_tiles(columns) + kApart; }

MIXSYNTH_CARD float low_of(uint32_t pair) { return float_of(pair << 16); }
MIXSYNTH_CARD float high_of(uint32_t pair) { return float_of(pair & 0xffff0000u); }

// Number is float, or uint16_t for bf16.
template <typename Number>
struct Tile;

template <>
struct Tile<float> {
    float* data;
    int stride;

    MIXSYNTH_CARD float* at(int row, int column) const { return data + row * stride + column; }
    MIXSYNTH_CARD float get(int row, int column, MIXSYNTH_HERE) const { return load(at(row, column), place); }
    MIXSYNTH_CARD void set(int row, int column, float number, MIXSYNTH_HERE) const {
        store(at(row, column), number, place);
    }
    // Two neighbours, the first in an even column.
    MIXSYNTH_CARD Floats pair(int row, int column, MIXSYNTH_HERE) const {
        return load(reinterpret_cast<const Floats*>(at(row, column)), place);
    }
    MIXSYNTH_CARD void set_pair(int row, int column, float low, float high, MIXSYNTH_HERE) const {
        store(reinterpret_cast<Floats*>(at(row, column)), Floats{low, high}, place);
    }
};

template <>
struct Tile<uint16_t> {
    uint16_t* data;
    int stride;

    MIXSYNTH_CARD uint16_t* at(int row, int column) const { return data + row * stride + column; }
    MIXSYNTH_CARD float get(int row, int column, MIXSYNTH_HERE) const {
        return float_of(static_cast<uint32_t>(load(at(row, column), place)) << 16);
    }
    MIXSYNTH_CARD void set(int row, int column, float number, MIXSYNTH_HERE) const {
        store(at(row, column), bf16_bits(number), place);
    }
    MIXSYNTH_CARD uint32_t pair(int row, int column, MIXSYNTH_HERE) const {
        return load(reinterpret_cast<const uint32_t*>(at(row, column)), place);
    }
    MIXSYNTH_CARD void set_pair(int row, int column, float low, float high, MIXSYNTH_HERE) const {
        store(reinterpret_cast<uint32_t*>(at(row, column)), bf16_pair(low, high), place);
    }
};

}  // namespace mixsynth::card
