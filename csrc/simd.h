// Registers of several floats, in the compiler's vector types (GCC and Clang), and the functions that work on all their
// lanes at once.
//
// This header and those that include it keep everything in a nameless namespace, because each forward_*.cpp compiles
// them for another processor: a function of one must never be linked into another.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace mixsynth {
namespace {

// A product keeps a block of rows x vectors of its result in registers; the sizes are those that leave room for one
// row of the right matrix and one number of the left one.
struct Simd128 {  // every 64-bit processor: 16 registers
    typedef float Vector __attribute__((vector_size(16)));
    static constexpr int kMostVectors = 4;
    static constexpr int rows(int) { return 3; }
};
struct Simd256 {  // AVX2 with FMA: 16 registers
    typedef float Vector __attribute__((vector_size(32)));
    static constexpr int kMostVectors = 2;
    static constexpr int rows(int) { return 6; }
};
struct Simd512 {  // AVX-512: 32 registers
    typedef float Vector __attribute__((vector_size(64)));
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

template <typename Vector>
inline Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
}

template <typename Vector>
inline Vector positive(Vector v) {
    return larger(v, Vector{});
}

template <typename Vector>
inline Vector smaller(Vector a, Vector b) {
    return a < b ? a : b;
}

// Lane by lane, because a compiler makes one instruction of this, and a trip through memory of a memcpy.
template <int kFirst, typename Vector, int... kLane>
inline auto some_lanes(Vector v, std::integer_sequence<int, kLane...>) {
    typedef float Part __attribute__((vector_size(sizeof(float) * sizeof...(kLane))));
    return Part{v[kFirst + kLane]...};
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
    return combine_lanes(v, [](auto a, auto b) { return a > b ? a : b; });
}

// e^x within 1.1 units in the last place for x from -80 to 87, and e^-80 below. 2^n times a degree-6 minimax polynomial
// on [-ln2/2, ln2/2]: degree 5 saves one multiplication and is off by 2.2 units. At -80 a softmax weight is lost in the
// sum of the others, and still far from the subnormal numbers, with which processors are slow.
template <typename Vector>
inline Vector exponential_to_87(Vector x) {
    x = larger(x, all<Vector>(-80.0f));
    // Adding 1.5 * 2^23 rounds to a whole number, and leaves that number in the low bits.
    const Vector shifted = x * 1.44269504f + 12582912.0f;
    const Vector n = shifted - 12582912.0f;
    const Vector r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    const Vector q = 0.4999999f + r * (0.1666652f + r * (0.041669086f + r * (0.008368854f + r * 0.00137804f)));
    const Vector p = 1.0f + r * (1.0f + r * q);
    typedef uint32_t Bits __attribute__((vector_size(sizeof(Vector))));
    Bits bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    Vector scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

// The same for every x, with e^87 above 87.
template <typename Vector>
inline Vector exponential(Vector x) {
    return exponential_to_87(smaller(x, all<Vector>(87.0f)));
}

template <typename Vector>
inline Vector sigmoid(Vector x) {
    return 1.0f / (1.0f + exponential(-x));
}

// The share of a normal distribution beyond |x|, as a polynomial of u = |x| / 2.75 - 1, from the constant on. |x| times
// its error is minimised up to 5.5, beyond which |x| counts as 5.5.
constexpr int kTailDegree = 16;
constexpr float kNormalTail[kTailDegree + 1] = {
    0.0029797691f, -0.025007492f, 0.09455805f, -0.2068359f,   0.27190265f, -0.17678347f,
    -0.051657137f, 0.2161794f,    -0.16128822f, -0.0282221f,  0.12754075f, -0.0595676f,
    -0.034240533f, 0.03837752f,   -0.0021698282f, -0.0081416415f, 0.0023757785f};

// x * (1 + erf(x / sqrt 2)) / 2 within 3.5e-7, as max(x, 0) - |x| tail(|x|): no division and no exponential, which
// Abramowitz and Stegun 7.1.26 needs, and takes twice as long with. A tail of degree 14 is off by 5e-7 for numbers of
// every size, which a network of few channels turns into 1e-5.
template <typename Vector>
inline Vector gelu(Vector x) {
    const Vector size = smaller(x < 0.0f ? -x : x, all<Vector>(5.5f)), u = size * 0.363636364f - 1.0f;
    Vector tail = all<Vector>(kNormalTail[kTailDegree]);
    for (int i = kTailDegree - 1; i >= 0; --i) tail = tail * u + kNormalTail[i];
    return positive(x) - size * tail;
}

}  // namespace
}  // namespace mixsynth
