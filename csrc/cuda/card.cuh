// Card: the primitives on a GPU of compute capability 8.0 or newer. tests/csrc/cuda/emulation.h has the same ones.
#pragma once

#include <cstdint>

#define MIXSYNTH_CARD __device__ __forceinline__
#define MIXSYNTH_BOTH __host__ __device__ __forceinline__
#define MIXSYNTH_UNROLL _Pragma("unroll")
// The emulation says here where a fault is.
#define MIXSYNTH_HERE Place place = {}

namespace mixsynth::card {

struct Place {};

MIXSYNTH_CARD int lane() { return static_cast<int>(threadIdx.x); }
MIXSYNTH_CARD int warp() { return static_cast<int>(threadIdx.y); }
MIXSYNTH_CARD int warps() { return static_cast<int>(blockDim.y); }
MIXSYNTH_CARD int block() { return static_cast<int>(blockIdx.x); }
MIXSYNTH_CARD int blocks() { return static_cast<int>(gridDim.x); }

MIXSYNTH_CARD void block_barrier(Place = {}) { __syncthreads(); }
MIXSYNTH_CARD void warp_barrier(Place = {}) { __syncwarp(); }

MIXSYNTH_CARD float shuffle_xor(float number, int mask, Place = {}) {
    return __shfl_xor_sync(0xffffffffu, number, mask);
}

template <typename Number>
MIXSYNTH_CARD Number load(const Number* address, Place = {}) {
    return *address;
}
template <typename Number>
MIXSYNTH_CARD void store(Number* address, const Number& number, Place = {}) {
    *address = number;
}

// Into device memory, once for each address.
MIXSYNTH_CARD void store_result(float* address, float number, Place = {}) { *address = number; }

struct alignas(16) Words {
    uint32_t word[4];
};
struct alignas(8) Floats {
    float low, high;
};

// What no thread writes while the kernel runs.
MIXSYNTH_CARD float load_constant(const float* address, Place = {}) { return __ldg(address); }
MIXSYNTH_CARD Words load_constant(const Words* address, Place = {}) {
    const uint4 words = __ldg(reinterpret_cast<const uint4*>(address));
    return {{words.x, words.y, words.z, words.w}};
}

MIXSYNTH_CARD uint32_t bits_of(float number) { return __float_as_uint(number); }
MIXSYNTH_CARD float float_of(uint32_t bits) { return __uint_as_float(bits); }

MIXSYNTH_CARD uint32_t bf16_pair(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
MIXSYNTH_CARD uint16_t bf16_bits(float number) { return static_cast<uint16_t>(bf16_pair(number, 0.0f)); }

MIXSYNTH_CARD float tf32(float number) {
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(number));
    return float_of(bits);
}

MIXSYNTH_CARD float power_of_two(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

// `row` lies in shared memory. The first eight lanes name the rows of the first 8 x 8 matrix, and so on; each lane gets
// two neighbours of each of the four matrices.
MIXSYNTH_CARD void load_matrices(uint32_t (&words)[4], const uint16_t* row, bool is_transposed, Place = {}) {
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    if (is_transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(address)
                     : "memory");
}

// Volatile, so that no compiler moves an instruction of the whole warp to where only some of its lanes come.
// sums [16, 8] += left [16, 16] right [16, 8]
MIXSYNTH_CARD void multiply_bf16(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                                 Place = {}) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

// sums [16, 8] += left [16, 8] right [8, 8]
MIXSYNTH_CARD void multiply_tf32(float (&sums)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                                 Place = {}) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

}  // namespace mixsynth::card
