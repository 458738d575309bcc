// Registers of several floats, in the compiler's vector types (GCC and Clang), and the functions that work on all their
// lanes at once.
//
// This header and those that include it keep everything in a nameless namespace, because each simd_*.cpp compiles
// them for another processor: a function of one must never be linked into another.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

// MIXSYNTH_LANES compiles what MSVC gets with any other compiler, for a test.
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

// A product keeps a block of rows x vectors of its result in registers; the sizes are those that leave room for one
// row of the right matrix and one number of the left one.
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
inline Vector all(float x) {
    return x - Vector{};
}

// `larger` and `smaller` give b where one of the two is NaN. So what might be NaN stands second: where a number
// overflows on its way through the network, the result says so.
template <typename Vector>
inline Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
}

template <typename Vector>
inline Vector smaller(Vector a, Vector b) {
    return a < b ? a : b;
}

template <typename Vector>
inline Vector positive(Vector v) {
    return larger(Vector{}, v);
}

// v in the lanes where x is positive, and zero in the others
template <typename Vector>
inline Vector where_positive(Vector x, Vector v) {
    return x > Vector{} ? v : Vector{};
}

// f(0), ..., f(kCount - 1) without a loop. An array that only such calls index stays in registers; one that loops index
// GCC keeps in memory, which takes 12 % more time for a small network. Functions that use it are marked `flatten`, or
// GCC makes calls of the small functions.
template <typename Function, int... kIndex>
inline void each([[maybe_unused]] Function f, std::integer_sequence<int, kIndex...>) {
    (f(kIndex), ...);
}

template <int kCount, typename Function>
inline void each(Function f) {
    each(f, std::make_integer_sequence<int, kCount>{});
}

// f(row, vector) for every register of a block
template <int kRows, int kVectors, typename Function>
inline void each(Function f) {
    each<kRows * kVectors>([&](int i) { f(i / kVectors, i % kVectors); });
}

// f(first, count) for all rows, `count` a constant: four rows at a time and the rest one by one, because a row alone
// waits for its own sums of lanes.
template <typename Function>
inline void in_fours(int64_t rows, Function f) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) f(i, std::integral_constant<int, 4>{});
    for (; i < rows; ++i) f(i, std::integral_constant<int, 1>{});
}

// Lane by lane, because a compiler makes one instruction of this, and a trip through memory of a memcpy.
template <int kFirst, typename Vector, int... kLane>
inline auto some_lanes(Vector v, std::integer_sequence<int, kLane...>) {
    return Register<float, sizeof...(kLane)>{v[kFirst + kLane]...};
}

// Halves are combined until four lanes are left.
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

// The bits of each lane, as the same number of lanes of another type, and back.
template <typename To, typename From>
inline To as(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <typename Vector>
using Bits = Register<uint32_t, kWidth<Vector>>;

constexpr float kLog2e = 1.44269504f;

// 2^y within 1.1 units in the last place for y up to 127, and 2^-115 below -115: 2^n times a degree-6 minimax
// polynomial on [-1/2, 1/2]; one of degree 5 is off by 2.1 units without fused multiply-adds. At -115 a softmax weight
// is lost in the sum of the others, and still far from the subnormal numbers, with which processors are slow. Powers of
// e take more: their argument is split in three steps.
template <typename Vector>
inline Vector power_of_two(Vector y) {
    y = larger(all<Vector>(-115.0f), y);
    // Adding 1.5 * 2^23 rounds to a whole number n, and leaves n in the low bits.
    const Vector shifted = y + 12582912.0f, r = y - (shifted - 12582912.0f);
    const Vector q = 0.0555035956f + r * (0.00961865205f + r * (0.00133909809f + r * 0.00015291998f));
    const Vector p = 1.0f + r * (0.693147182f + r * (0.240226462f + r * q));
    return as<Vector>(as<Bits<Vector>>(p) + (as<Bits<Vector>>(shifted) << 23));
}

template <typename Vector>
inline Vector sigmoid(Vector x) {
    return 1.0f / (1.0f + power_of_two(smaller(all<Vector>(126.0f), x * -kLog2e)));
}

// The eighth root of the share of a normal distribution beyond |x|, as a polynomial of |x| from the constant on, fitted
// up to kTailEnd, as which a larger |x| counts: the root is so smooth that three squarings are cheaper than more terms.
constexpr float kTailEnd = 5.5f;
constexpr int kTailDegree = 8;
constexpr float kTailRoot[kTailDegree + 1] = {
    0.917003989f,   -0.0914574116f,   -0.0319280773f, -0.000671956281f, 0.00150436303f,
    3.42946332e-05f, -6.02574946e-05f, 7.47952708e-06f, -2.95879971e-07f};

// |x|, at most kTailEnd
template <typename Vector>
inline Vector tail_size(Vector x) {
    return smaller(all<Vector>(kTailEnd), as<Vector>(as<Bits<Vector>>(x) & 0x7fffffffu));
}

// The share of a normal distribution beyond `size`, which is from 0 to kTailEnd.
template <typename Vector>
inline Vector normal_tail(Vector size) {
    Vector root = all<Vector>(kTailRoot[kTailDegree]);
    for (int i = kTailDegree - 1; i >= 0; --i) root = root * size + kTailRoot[i];
    const Vector second = root * root, fourth = second * second;
    return fourth * fourth;
}

// x * (1 + erf(x / sqrt 2)) / 2 within 2.5e-7, as max(x, 0) - |x| tail(|x|): no division and no exponential.
template <typename Vector>
inline Vector gelu(Vector x) {
    const Vector size = tail_size(x);
    return positive(x) - size * normal_tail(size);
}

// d times the derivative of GELU: the share of a normal distribution below x, and x times its density there.
template <typename Vector>
inline Vector gelu_backward(Vector d, Vector x) {
    const Vector tail = normal_tail(tail_size(x));
    const Vector density = 0.398942280f * power_of_two(x * x * (-0.5f * kLog2e));
    return d * (tail + where_positive(x, 1.0f - 2.0f * tail) + x * density);
}

}  // namespace
}  // namespace mixsynth
