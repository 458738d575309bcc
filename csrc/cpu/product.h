// Product: a matrix product that keeps blocks of its result in registers while the rows of the right matrix pass.
#pragma once

#include "cpu/simd.h"
#include "layout.h"

namespace mixsynth {
namespace {

// out [rows, columns] = a [rows, depth] b [depth, columns] + a bias of the rows or columns + more [rows, columns].
// A transposed product has a^T in place of a, which then is [depth, rows].
//
// It is written as Product(rows, depth, columns).left(a, a_stride).right(b).to(out, out_stride), then plus...().
// Rows of b, more and out are padded to kLanes floats; a padded column never reaches another one.
struct Product {
    int64_t rows, depth, columns;
    const float* a = nullptr;
    int64_t a_stride = 0;
    Right b{};
    float* out = nullptr;
    int64_t out_stride = 0;
    const float *row_bias = nullptr, *column_bias = nullptr;
    const float* more = nullptr;  // lies like out

    Product(int64_t rows_, int64_t depth_, int64_t columns_) : rows(rows_), depth(depth_), columns(columns_) {}
    Product& left(const float* numbers, int64_t stride) {
        a = numbers;
        a_stride = stride;
        return *this;
    }
    Product& right(const Right& numbers) {
        b = numbers;
        return *this;
    }
    Product& to(float* numbers, int64_t stride) {
        out = numbers;
        out_stride = stride;
        return *this;
    }
    Product& plus_row_bias(const float* numbers) {
        row_bias = numbers;
        return *this;
    }
    Product& plus_column_bias(const float* numbers) {
        column_bias = numbers;
        return *this;
    }
    Product& plus(const float* numbers) {
        more = numbers;
        return *this;
    }
};

// Where one block of a product begins.
struct Corner {
    const float *a, *b;
    int64_t b_stride;
    int64_t row, column;
};

// Computes one block in kRows x kVectors registers: for each k, a row of b times one number of every row of a. Sums run
// in the order of k in any block, so that a window gives the same numbers in every batch.
template <typename Simd, bool kTransposed, int kRows, int kVectors>
__attribute__((flatten)) inline void multiply_block(const Product& p, const Corner& corner) {
    using Vector = typename Simd::Vector;
    constexpr int kWide = kWidth<Vector>;
    const int64_t depth = p.depth, a_stride = p.a_stride, b_stride = corner.b_stride, out_stride = p.out_stride;
    const int64_t offset = corner.row * out_stride + corner.column;
    const float *a = corner.a, *b = corner.b;
    Vector sum[kRows][kVectors];
    if (p.column_bias)
        unroll<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] = load<Vector>(p.column_bias + corner.column + kWide * v); });
    else
        unroll<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] = broadcast<Vector>(p.row_bias ? p.row_bias[corner.row + r] : 0.0f); });
    for (int64_t k = 0; k < depth; ++k) {
        Vector row[kVectors];
        unroll<kVectors>([&](int v) { row[v] = load<Vector>(b + k * b_stride + kWide * v); });
        unroll<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] += a[kTransposed ? k * a_stride + r : r * a_stride + k] * row[v]; });
    }
    // `more` comes last: sums that began with it would round to its size at every step, and end twice as far off.
    if (p.more)
        unroll<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] += load<Vector>(p.more + offset + r * out_stride + kWide * v); });
    float* out = p.out + offset;
    unroll<kRows, kVectors>([&](int r, int v) { store(out + r * out_stride + kWide * v, sum[r][v]); });
}

// Computes one block of `rows` rows, at most kRows.
template <typename Simd, bool kTransposed, int kRows, int kVectors>
inline void multiply_rows(const Product& p, int64_t rows, const Corner& corner) {
    if constexpr (kRows > 1)
        if (rows < kRows) return multiply_rows<Simd, kTransposed, kRows - 1, kVectors>(p, rows, corner);
    multiply_block<Simd, kTransposed, kRows, kVectors>(p, corner);
}

// Computes kVectors registers of every row, from `column` on. Blocks have even heights, because a low one is slow.
template <typename Simd, bool kTransposed, int kVectors>
inline void multiply_strip(const Product& p, int64_t column, const float* b, int64_t b_stride) {
    constexpr int kRows = Simd::rows(kVectors);
    const int64_t blocks = (p.rows + kRows - 1) / kRows, rows = p.rows / blocks, rest = p.rows % blocks;
    int64_t row = 0;
    for (int64_t i = 0; i < blocks; ++i) {
        const int64_t height = rows + (i < rest);
        const float* a = p.a + (kTransposed ? row : row * p.a_stride);
        multiply_rows<Simd, kTransposed, kRows, kVectors>(p, height, {a, b, b_stride, row, column});
        row += height;
    }
}

// Goes through b panel by panel, in the widest strips that fit: a strip of b stays in the first cache for all rows.
// It is not inlined, so that all products share its two dozen blocks of different sizes.
template <typename Simd, bool kTransposed = false>
__attribute__((noinline)) void multiply(const Product& p) {
    constexpr int kWide = kWidth<typename Simd::Vector>, kMost = Simd::kMostVectors;
    for (int64_t first = 0; first < p.columns; first += kPanel) {
        const int64_t width = panel_width(p.columns, first);
        const float* panel = p.b.data + first / kPanel * p.b.panel;
        const int64_t stride = p.b.stride ? p.b.stride : width;
        int64_t j = 0;
        for (; j + kMost * kWide <= width; j += kMost * kWide)
            multiply_strip<Simd, kTransposed, kMost>(p, first + j, panel + j, stride);
        if constexpr (kMost * kWide > kLanes) {
            for (; j + 2 * kWide <= width; j += 2 * kWide)
                multiply_strip<Simd, kTransposed, 2>(p, first + j, panel + j, stride);
            for (; j < width; j += kWide) multiply_strip<Simd, kTransposed, 1>(p, first + j, panel + j, stride);
        }
    }
}

}  // namespace
}  // namespace mixsynth
