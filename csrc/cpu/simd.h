// Simd: registers of several floats, as vector types of GCC and Clang, and functions that work on all lanes at once.
//
// This header and those that include it put everything into a nameless namespace: each simd_*.cpp compiles them for
// another processor, and the linker must not mix their functions.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

// MIXSYNTH_LANES gives every compiler what MSVC gets, for a test.
#if !defined(__GNUC__) || defined(MIXSYNTH_LANES)
#include "cpu/lanes.h"
#endif

namespace mixsynth {
namespace {

template <typename Number, int kCount>
struct RegisterOf {
#if !defined(__GNUC__) || defined(MIXSYNTH_LANES)
    using Type = Lanes<Number, kCount>;
#else
    typedef Number Type __attribute__((vector_size(sizeof(Number) * kCount)));
#endif
};
template <typename Number, int kCount>
using Register = typename RegisterOf<Number, kCount>::Type;

// A product keeps a block of its result in registers: rows(vectors) rows of `vectors` registers. The sizes leave room
// for one row of the right matrix and one number of the left one.
struct Simd128 {  // every 64-bit processor: 16 registers
    using Vector = Register<float, 4>;
    static constexpr int kMostVectors = 4;
    static constexpr int rows(int) { return 3; }
};
struct Simd256 {  // AVX2 with FMA: 16 registers
    using Vector = Register<float, 8>;
    static constexpr int kMostVectors = 2;
    static constexpr int rows(int) { return 6; }
};
struct Simd512 {  // AVX-512: 32 registers
    using Vector = Register<float, 16>;
    static constexpr int kMostVectors = 4;
    static constexpr int rows(int vectors) { return vectors == 4 ? 6 : 12; }
};

template <typename Vector>
constexpr int kWidth = sizeof(Vector) / sizeof(float);

template <typename Vector>
inline Vector load(const float* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <typename Vector>
inline void store(float* to, Vector v) {
    std::memcpy(to, &v, sizeof v);
}

template <typename Vector>
inline Vector broadcast(float x) {
    return x - Vector{};
}

// larger() and smaller() return b where a or b is NaN. What may be NaN stands second, so that an overflow on its way
// through the network reaches the result.
template <typename Vector>
inline Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
}

template <typename Vector>
inline Vector smaller(Vector a, Vector b) {
    return a < b ? a : b;
}

template <typename Vector>
inline Vector relu(Vector v) {
    return larger(Vector{}, v);
}

// v in the lanes where x is positive, and zero in the others.
template <typename Vector>
inline Vector where_positive(Vector x, Vector v) {
    return x > Vector{} ? v : Vector{};
}

// f(0), ..., f(kCount - 1) without a loop: GCC keeps an array in registers only where no loop indexes it. Functions
// that use it are marked `flatten`, so that GCC inlines all of f.
template <typename Function, int... kIndex>
inline void unroll([[maybe_unused]] Function f, std::integer_sequence<int, kIndex...>) {
    (f(kIndex), ...);
}

template <int kCount, typename Function>
inline void unroll(Function f) {
    unroll(f, std::make_integer_sequence<int, kCount>{});
}

// f(row, vector) for every register of a block.
template <int kRows, int kVectors, typename Function>
inline void unroll(Function f) {
    unroll<kRows * kVectors>([&](int i) { f(i / kVectors, i % kVectors); });
}

// f(first, count) for all rows, four at a time and the rest one by one; `count` is a constant. A row alone would wait
// for its own sums of lanes.
template <typename Function>
inline void in_fours(int64_t rows, Function f) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) f(i, std::integral_constant<int, 4>{});
    for (; i < rows; ++i) f(i, std::integral_constant<int, 1>{});
}

// Compilers make one instruction of this list of lanes, while a memcpy would go through memory.
template <int kFirst, typename Vector, int... kLane>
inline auto some_lanes(Vector v, std::integer_sequence<int, kLane...>) {
    return Register<float, sizeof...(kLane)>{v[kFirst + kLane]...};
}

// Combines halves until four lanes are left.
template <typename Vector, typename Combine>
inline float combine_lanes(Vector v, Combine combine) {
    if constexpr (kWidth<Vector> == 4) {
        return combine(combine(v[0], v[2]), combine(v[1], v[3]));
    } else {
        constexpr int kHalf = kWidth<Vector> / 2;
        const auto half = std::make_integer_sequence<int, kHalf>{};
        return combine_lanes(combine(some_lanes<0>(v, half), some_lanes<kHalf>(v, half)), combine);
    }
}

template <typename Vector>
inline float sum_of_lanes(Vector v) {
    return combine_lanes(v, [](auto a, auto b) { return a + b; });
}

template <typename Vector>
inline float largest_of_lanes(Vector v) {
    return combine_lanes(v, [](auto a, auto b) { return larger(a, b); });
}

// The same bits as a value of another type.
template <typename To, typename From>
inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "the types have the same size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <typename Vector>
using Bits = Register<uint32_t, kWidth<Vector>>;

constexpr float kLog2e = 1.44269504f;

// 2^y within 1.1 units in the last place for y up to 127, and 2^-115 below -115: 2^n times a minimax polynomial of
// degree 6 on [-1/2, 1/2]. csrc/README.md (Numbers) has the reasons.
template <typename Vector>
inline Vector power_of_two(Vector y) {
    y = larger(broadcast<Vector>(-115.0f), y);
    // Adding 1.5 * 2^23 rounds to a whole number n, and leaves n in the low bits.
    const Vector shifted = y + 12582912.0f, r = y - (shifted - 12582912.0f);
    const Vector q = 0.0555035956f + r * (0.00961865205f + r * (0.00133909809f + r * 0.00015291998f));
    const Vector p = 1.0f + r * (0.693147182f + r * (0.240226462f + r * q));
    return bit_cast<Vector>(bit_cast<Bits<Vector>>(p) + (bit_cast<Bits<Vector>>(shifted) << 23));
}

template <typename Vector>
inline Vector sigmoid(Vector x) {
    return 1.0f / (1.0f + power_of_two(smaller(broadcast<Vector>(126.0f), x * -kLog2e)));
}

// The eighth root of a normal distribution's share beyond |x|, as a polynomial of |x| that begins with its constant. It
// is fitted up to kTailEnd, and a larger |x| counts as kTailEnd.
constexpr float kTailEnd = 5.5f;
constexpr int kTailDegree = 8;
constexpr float kTailRoot[kTailDegree + 1] = {0.917003989f,     -0.0914574116f,  -0.0319280773f,
                                              -0.000671956281f, 0.00150436303f,  3.42946332e-05f,
                                              -6.02574946e-05f, 7.47952708e-06f, -2.95879971e-07f};

// |x|, but at most kTailEnd.
template <typename Vector>
inline Vector tail_size(Vector x) {
    return smaller(broadcast<Vector>(kTailEnd), bit_cast<Vector>(bit_cast<Bits<Vector>>(x) & 0x7fffffffu));
}

// The share of a normal distribution beyond `size`, which is from 0 to kTailEnd.
template <typename Vector>
inline Vector normal_tail(Vector size) {
    Vector root = broadcast<Vector>(kTailRoot[kTailDegree]);
    for (int i = kTailDegree - 1; i >= 0; --i) root = root * size + kTailRoot[i];
    const Vector second = root * root, fourth = second * second;
    return fourth * fourth;
}

// x * (1 + erf(x / sqrt 2)) / 2 within 2.5e-7, as relu(x) - |x| tail(|x|): without a division or an exponential.
template <typename Vector>
inline Vector gelu(Vector x) {
    const Vector size = tail_size(x);
    return relu(x) - size * normal_tail(size);
}

// d times the derivative of GELU, which is a normal distribution's share below x plus x times its density at x.
template <typename Vector>
inline Vector gelu_backward(Vector d, Vector x) {
    const Vector tail = normal_tail(tail_size(x));
    const Vector density = 0.398942280f * power_of_two(x * x * (-0.5f * kLog2e));
    return d * (tail + where_positive(x, 1.0f - 2.0f * tail) + x * density);
}

}  // namespace
}  // namespace mixsynth
