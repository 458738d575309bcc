// The matrix product: blocks of the result stay in registers while a row of the right matrix after the other passes.
#pragma once

#include "cpu/simd.h"
#include "layout.h"

namespace mixsynth {
namespace {

// out [rows, columns] = a [rows, depth] b [depth, columns] + bias + more; in a turned product a^T stands for a, which
// then is [depth, rows]. The bias belongs to the rows, to the columns, or to neither; `more`, where there is any, lies
// like out. Rows of b, more and out are padded to kLanes floats; what a padded column holds never reaches another one.
//
// Written as Product(rows, depth, columns).left(a, a_stride).right(b).to(out, out_stride), and what is to be added.
struct Product {
    int64_t rows, depth, columns;
    const float* a = nullptr;
    int64_t a_stride = 0;
    Right b{};
    float* out = nullptr;
    int64_t out_stride = 0;
    const float *row_bias = nullptr, *column_bias = nullptr, *more = nullptr;

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

// One block: kRows x kVectors registers of sums. For each k one row of b is loaded, and multiplied with one number of
// every row of a. Each sum is made in the order of k, whatever the block: a window gives the same in every batch.
template <typename Simd, bool kTurned, int kRows, int kVectors>
__attribute__((flatten)) inline void multiply_block(const Product& p, const Corner& at) {
    using Vector = typename Simd::Vector;
    constexpr int kWide = kWidth<Vector>;
    const int64_t depth = p.depth, a_stride = p.a_stride, b_stride = at.b_stride, out_stride = p.out_stride;
    const int64_t corner = at.row * out_stride + at.column;
    const float *a = at.a, *b = at.b;
    Vector sum[kRows][kVectors];
    if (p.column_bias)
        each<kRows, kVectors>([&](int r, int v) { sum[r][v] = load<Vector>(p.column_bias + at.column + kWide * v); });
    else
        each<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] = all<Vector>(p.row_bias ? p.row_bias[at.row + r] : 0.0f); });
    for (int64_t k = 0; k < depth; ++k) {
        Vector row[kVectors];
        each<kVectors>([&](int v) { row[v] = load<Vector>(b + k * b_stride + kWide * v); });
        each<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] += a[kTurned ? k * a_stride + r : r * a_stride + k] * row[v]; });
    }
    // Last: sums that grew from there would be rounded to its size at every step, and twice as far off in the end.
    if (p.more)
        each<kRows, kVectors>(
            [&](int r, int v) { sum[r][v] += load<Vector>(p.more + corner + r * out_stride + kWide * v); });
    float* out = p.out + corner;
    each<kRows, kVectors>([&](int r, int v) { store(out + r * out_stride + kWide * v, sum[r][v]); });
}

// One block of `rows` rows, at most kRows.
template <typename Simd, bool kTurned, int kRows, int kVectors>
inline void multiply_rows(const Product& p, int64_t rows, const Corner& at) {
    if constexpr (kRows > 1)
        if (rows < kRows) return multiply_rows<Simd, kTurned, kRows - 1, kVectors>(p, rows, at);
    multiply_block<Simd, kTurned, kRows, kVectors>(p, at);
}

// All rows of kVectors columns of registers, `column` the first of them, in blocks of even height: a low one is slow.
template <typename Simd, bool kTurned, int kVectors>
inline void multiply_strip(const Product& p, int64_t column, const float* b, int64_t b_stride) {
    constexpr int kRows = Simd::rows(kVectors);
    const int64_t blocks = (p.rows + kRows - 1) / kRows, rows = p.rows / blocks, higher = p.rows % blocks;
    int64_t row = 0;
    for (int64_t i = 0; i < blocks; ++i) {
        const int64_t height = rows + (i < higher);
        const float* a = p.a + (kTurned ? row : row * p.a_stride);
        multiply_rows<Simd, kTurned, kRows, kVectors>(p, height, {a, b, b_stride, row, column});
        row += height;
    }
}

// Panel after panel of b, each in the widest strips that fit: what is read of b stays in the first cache for all rows.
// Not inlined: two dozen blocks of different sizes hang on it, and all products share one copy of them.
template <typename Simd, bool kTurned = false>
__attribute__((noinline)) void multiply(const Product& p) {
    constexpr int kWide = kWidth<typename Simd::Vector>, kMost = Simd::kMostVectors;
    for (int64_t first = 0; first < p.columns; first += kPanel) {
        const int64_t width = panel_width(p.columns, first);
        const float* panel = p.b.data + first / kPanel * p.b.panel;
        const int64_t stride = p.b.stride ? p.b.stride : width;
        int64_t j = 0;
        for (; j + kMost * kWide <= width; j += kMost * kWide)
            multiply_strip<Simd, kTurned, kMost>(p, first + j, panel + j, stride);
        if constexpr (kMost * kWide > kLanes) {
            for (; j + 2 * kWide <= width; j += 2 * kWide)
                multiply_strip<Simd, kTurned, 2>(p, first + j, panel + j, stride);
            for (; j < width; j += kWide) multiply_strip<Simd, kTurned, 1>(p, first + j, panel + j, stride);
        }
    }
}

}  // namespace
}  // namespace mixsynth
