// Emulation: the primitives of csrc/cuda/card.cuh in plain C++, so that a kernel runs, and its races are found, without a
// card. Operands are rounded as a tensor core takes them, and its sums are cut off, not rounded.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.h"

#define MIXSYNTH_CARD inline
#define MIXSYNTH_BOTH inline
#define MIXSYNTH_UNROLL

namespace mixsynth::card {

#define MIXSYNTH_HERE const Place place = {__builtin_FILE(), __builtin_LINE()}

inline int lane() { return Block::current()->thread() % kLanesOfWarp; }
inline int warp() { return Block::current()->thread() / kLanesOfWarp; }
inline int warps() { return Block::current()->warp_count(); }
inline int block() { return Block::current()->index(); }
inline int blocks() { return Block::current()->count(); }

inline void block_barrier(MIXSYNTH_HERE) { Block::current()->block_barrier(place); }
inline void warp_barrier(MIXSYNTH_HERE) { Block::current()->warp_barrier(place); }

inline float shuffle_xor(float number, int mask, MIXSYNTH_HERE) {
    return Block::current()->together<float, float>(place, number, [&](const float* numbers, float* results) {
        for (int i = 0; i < kLanesOfWarp; ++i) results[i] = numbers[i ^ mask];
    });
}

template <typename Number>
Number load(const Number* address, MIXSYNTH_HERE) {
    Block::current()->on_read(address, sizeof(Number), place);
    return *address;
}
template <typename Number>
void store(Number* address, const Number& number, MIXSYNTH_HERE) {
    Block::current()->on_write(address, sizeof(Number), place);
    *address = number;
}

// Into device memory, once for each address.
inline void store_result(float* address, float number, MIXSYNTH_HERE) {
    Block::current()->results->on_write(address, place);
    *address = number;
}

struct alignas(16) Words {
    uint32_t word[4];
};
struct alignas(8) Floats {
    float low, high;
};

// What no thread writes while the kernel runs.
template <typename Number>
Number load_constant(const Number* address, MIXSYNTH_HERE) {
    if (reinterpret_cast<uintptr_t>(address) % sizeof(Number))
        fault(place, "an address is no multiple of the " + std::to_string(sizeof(Number)) + " bytes that it names");
    return *address;
}

inline uint32_t bits_of(float number) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}
inline float float_of(uint32_t bits) {
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

// To the nearest, ties to even.
inline uint16_t bf16_bits(float number) {
    const uint32_t bits = bits_of(number);
    if (std::isnan(number)) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
inline uint32_t bf16_pair(float low, float high) {
    return static_cast<uint32_t>(bf16_bits(low)) | static_cast<uint32_t>(bf16_bits(high)) << 16;
}
// To the nearest, ties away from zero.
inline float tf32(float number) {
    return std::isfinite(number) ? float_of((bits_of(number) + 0x1000u) & 0xffffe000u) : number;
}

inline float power_of_two(float x) { return std::exp2(x); }

// The first lanes of each eight name rows of an 8 x 8 matrix; each lane gets two neighbours of each of four matrices.
inline void load_matrices(uint32_t (&words)[4], const uint16_t* row, bool is_transposed, MIXSYNTH_HERE) {
    struct Four {
        uint32_t word[4];
    };
    Block& block = *Block::current();
    const Four four = block.together<const uint16_t*, Four>(place, row, [&](const uint16_t* const* rows, Four* results) {
        const int base = block.thread() / kLanesOfWarp * kLanesOfWarp;
        for (int m = 0; m < 4; ++m) {
            int in_bank[8] = {};
            for (int r = 0; r < 8; ++r) {
                block.read_by(base + 8 * m + r, rows[8 * m + r], 16, place);
                if (in_bank[reinterpret_cast<uintptr_t>(rows[8 * m + r]) / 16 % 8]++) ++block.conflicts;
            }
            for (int i = 0; i < kLanesOfWarp; ++i) {
                uint32_t pair[2];
                for (int j = 0; j < 2; ++j)
                    pair[j] = is_transposed ? rows[8 * m + 2 * (i % 4) + j][i / 4] : rows[8 * m + i / 4][2 * (i % 4) + j];
                results[i].word[m] = pair[0] | pair[1] << 16;
            }
        }
    });
    for (int m = 0; m < 4; ++m) words[m] = four.word[m];
}

namespace detail {

// Sums in a tensor core lose what does not fit: towards zero.
inline float cut_off(double sum) {
    const float nearest = static_cast<float>(sum);
    return std::fabs(static_cast<double>(nearest)) > std::fabs(sum) ? std::nextafter(nearest, 0.0f) : nearest;
}

struct Product {
    float sums[4];
    uint32_t left[4], right[2];
};
struct Sums {
    float sum[4];
};

// sums [16, 8] += left [16, depth] right [depth, 8]; at(words, i) is number i of a lane's operands.
template <int kDepth, typename At>
void multiply(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1, const Place& place,
              At at) {
    Product mine{{sums[0], sums[1], sums[2], sums[3]}, {left[0], left[1], left[2], left[3]}, {right0, right1}};
    const Sums result = Block::current()->together<Product, Sums>(
        place, mine, [&](const Product* lanes, Sums* results) {
            for (int i = 0; i < kLanesOfWarp; ++i)
                for (int r = 0; r < 4; ++r) {
                    const int row = i / 4 + 8 * (r / 2), column = 2 * (i % 4) + r % 2;
                    double sum = static_cast<double>(lanes[i].sums[r]);
                    for (int k = 0; k < kDepth; ++k) sum += at(lanes, row, column, k);
                    results[i].sum[r] = cut_off(sum);
                }
        });
    for (int r = 0; r < 4; ++r) sums[r] = result.sum[r];
}

}  // namespace detail

// mma.m16n8k16: operands in bf16
inline void multiply_bf16(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                          MIXSYNTH_HERE) {
    const auto number = [](uint32_t pair, int i) {
        return static_cast<double>(float_of(i ? pair & 0xffff0000u : pair << 16));
    };
    detail::multiply<16>(sums, left, right0, right1, place,
                         [&](const detail::Product* lanes, int row, int column, int k) {
                             const int of_four = k % 8 / 2, high = k / 8;
                             return number(lanes[row % 8 * 4 + of_four].left[row / 8 + 2 * high], k % 2) *
                                    number(lanes[column * 4 + of_four].right[high], k % 2);
                         });
}

// mma.m16n8k8: operands in tf32, whose last bits the tensor core does not see
inline void multiply_tf32(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                          MIXSYNTH_HERE) {
    const auto number = [](uint32_t bits) { return static_cast<double>(float_of(bits & 0xffffe000u)); };
    detail::multiply<8>(sums, left, right0, right1, place,
                        [&](const detail::Product* lanes, int row, int column, int k) {
                            return number(lanes[row % 8 * 4 + k % 4].left[row / 8 + 2 * (k / 4)]) *
                                   number(lanes[column * 4 + k % 4].right[k / 4]);
                        });
}

}  // namespace mixsynth::card
