// The loops of the forward, written so that a compiler vectorises them without being told how.
//
// Rows of every matrix are padded to a multiple of kLanes floats. Padding is computed along with the rest and never
// read back into a real number, so no loop has a tail in the direction in which it is vectorised.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace mixsynth {

constexpr int64_t kLanes = 16;

inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Register widths, and how many rows of a product stay in registers with each. Vector types of the compiler (GCC and
// Clang), not intrinsics: written as plain loops, the block below is not kept in registers.
struct Simd128 {  // every 64-bit processor
    typedef float Vector __attribute__((vector_size(16)));
    static constexpr int kRows = 3;
};
struct Simd256 {  // AVX2 with FMA
    typedef float Vector __attribute__((vector_size(32)));
    static constexpr int kRows = 6;
};
struct Simd512 {  // AVX-512
    typedef float Vector __attribute__((vector_size(64)));
    static constexpr int kRows = 12;
};

// One block of kRows x kLanes outputs, accumulated in registers. A bias may be null.
template <typename Simd, int kRows>
inline void multiply_block(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth,
                           const float* row_bias, const float* column_bias, float* out, int64_t out_stride) {
    using Vector = typename Simd::Vector;
    constexpr int kWidth = sizeof(Vector) / sizeof(float), kVectors = kLanes / kWidth;
    Vector sum[kRows][kVectors] = {};
    for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v) {
            if (column_bias) std::memcpy(&sum[r][v], column_bias + kWidth * v, sizeof(Vector));
            if (row_bias) sum[r][v] += row_bias[r];
        }
    for (int64_t k = 0; k < depth; ++k) {
        Vector row[kVectors];
        for (int v = 0; v < kVectors; ++v) std::memcpy(&row[v], b + k * b_stride + kWidth * v, sizeof(Vector));
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) sum[r][v] += a[r * a_stride + k] * row[v];
    }
    for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v)
            std::memcpy(out + r * out_stride + kWidth * v, &sum[r][v], sizeof(Vector));
}

// Rows from `first` on, in blocks of kRows, what is left in blocks of half as many.
template <typename Simd, int kRows>
inline void multiply_rows(const float* a, int64_t a_stride, const float* b, float* out, int64_t stride, int64_t first,
                          int64_t rows, int64_t depth, const float* row_bias, const float* column_bias) {
    for (; first + kRows <= rows; first += kRows)
        multiply_block<Simd, kRows>(a + first * a_stride, a_stride, b, stride, depth,
                                    row_bias ? row_bias + first : nullptr, column_bias, out + first * stride, stride);
    if constexpr (kRows > 1)
        multiply_rows<Simd, kRows / 2>(a, a_stride, b, out, stride, first, rows, depth, row_bias, column_bias);
}

// out [rows, columns] = a [rows, depth] b [depth, columns] + bias, which belongs to the rows, to the columns, or is
// absent. The strides of b and out are padded.
template <typename Simd>
inline void multiply(const float* a, int64_t a_stride, const float* b, float* out, int64_t rows, int64_t depth,
                     int64_t columns, const float* row_bias, const float* column_bias) {
    for (int64_t j = 0; j < columns; j += kLanes)
        multiply_rows<Simd, Simd::kRows>(a, a_stride, b + j, out + j, padded(columns), 0, rows, depth, row_bias,
                                         column_bias ? column_bias + j : nullptr);
}

// Sums in eight strands, because the order of a single one may not be changed by the compiler.
template <typename Term>
inline float sum_of(int64_t n, Term term) {
    float strands[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int s = 0; s < 8; ++s) strands[s] += term(i + s);
    float total = 0.0f;
    for (; i < n; ++i) total += term(i);
    for (float strand : strands) total += strand;
    return total;
}

// e^x within 2 units in the last place, for x up to 88: 2^n times a degree-5 minimax polynomial on [-ln2/2, ln2/2].
inline float exponential(float x) {
    x = std::min(std::max(x, -87.0f), 88.0f);
    // Adding 1.5 * 2^23 rounds to a whole number, and leaves that number in the low bits.
    const float shifted = x * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    const float p = 1.0f + r * (1.0f + r * (0.499992311f + r * (0.166671142f + r * (0.0418901145f + r * 0.0083125243f))));
    int32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    const uint32_t power = (static_cast<uint32_t>(bits) << 23) + 0x3f800000u;
    float scale;
    std::memcpy(&scale, &power, sizeof scale);
    return p * scale;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// x * (1 + erf(x / sqrt 2)) / 2, with erf from Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
inline float gelu(float x) {
    const float z = std::fabs(x) * 0.707106781f;
    const float t = 1.0f / (1.0f + 0.3275911f * z);
    const float poly =
        t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    return 0.5f * x * (1.0f + std::copysign(1.0f - poly * exponential(-z * z), x));
}

}  // namespace mixsynth
