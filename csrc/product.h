// The matrix product: blocks of the result stay in registers while a row of the right matrix after the other passes.
#pragma once

#include "layout.h"
#include "simd.h"

namespace mixsynth {
namespace {

// out [rows, columns] = a [rows, depth] b [depth, columns] + bias, which belongs to the rows, to the columns, or to
// neither. Rows of b and out are padded to kLanes floats; what a padded column holds never reaches another one.
struct Product {
    const float* a;
    int64_t a_stride;
    Right b;
    float* out;
    int64_t out_stride;
    int64_t rows, depth, columns;
    const float* row_bias = nullptr;
    const float* column_bias = nullptr;
};

// One block: kRows x kVectors registers of sums. For each k one row of b is loaded, and multiplied with one number of
// every row of a.
template <typename Simd, int kRows, int kVectors>
inline void multiply_block(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth,
                           const float* row_bias, const float* column_bias, float* out, int64_t out_stride) {
    using Vector = typename Simd::Vector;
    Vector sum[kRows][kVectors] = {};
    for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v) {
            if (column_bias) sum[r][v] = load<Vector>(column_bias + kWidth<Vector> * v);
            if (row_bias) sum[r][v] += row_bias[r];
        }
    for (int64_t k = 0; k < depth; ++k) {
        Vector row[kVectors];
        for (int v = 0; v < kVectors; ++v) row[v] = load<Vector>(b + k * b_stride + kWidth<Vector> * v);
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) sum[r][v] += a[r * a_stride + k] * row[v];
    }
    for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v) store(out + r * out_stride + kWidth<Vector> * v, sum[r][v]);
}

// One block from row `first` on: of kRows rows, or of as many as are left.
template <typename Simd, int kRows, int kVectors>
inline void multiply_rows(const Product& p, int64_t first, int64_t column, const float* b, int64_t b_stride) {
    if constexpr (kRows > 0) {
        if (p.rows - first < kRows) return multiply_rows<Simd, kRows - 1, kVectors>(p, first, column, b, b_stride);
        multiply_block<Simd, kRows, kVectors>(p.a + first * p.a_stride, p.a_stride, b, b_stride, p.depth,
                                              p.row_bias ? p.row_bias + first : nullptr,
                                              p.column_bias ? p.column_bias + column : nullptr,
                                              p.out + first * p.out_stride + column, p.out_stride);
    }
}

// All rows of kVectors columns of registers, `column` the first of them.
template <typename Simd, int kVectors>
inline void multiply_strip(const Product& p, int64_t column, const float* b, int64_t b_stride) {
    constexpr int kRows = Simd::rows(kVectors);
    for (int64_t first = 0; first < p.rows; first += kRows)
        multiply_rows<Simd, kRows, kVectors>(p, first, column, b, b_stride);
}

// Panel after panel of b, each in the widest strips that fit: what is read of b stays in the first cache for all rows.
template <typename Simd>
__attribute__((noinline)) void multiply(const Product& p) {
    constexpr int kWide = kWidth<typename Simd::Vector>, kMost = Simd::kMostVectors;
    for (int64_t first = 0; first < p.columns; first += kPanel) {
        const int64_t width = panel_width(p.columns, first);
        const float* panel = p.b.data + first / kPanel * p.b.panel;
        const int64_t stride = p.b.stride ? p.b.stride : width;
        int64_t j = 0;
        for (; j + kMost * kWide <= width; j += kMost * kWide)
            multiply_strip<Simd, kMost>(p, first + j, panel + j, stride);
        if constexpr (kMost * kWide > kLanes) {
            for (; j + 2 * kWide <= width; j += 2 * kWide) multiply_strip<Simd, 2>(p, first + j, panel + j, stride);
            for (; j < width; j += kWide) multiply_strip<Simd, 1>(p, first + j, panel + j, stride);
        }
    }
}

}  // namespace
}  // namespace mixsynth
