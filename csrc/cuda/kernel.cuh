// Kernel: the encoder as a kernel of CUDA, and the choice among those that were compiled.
#pragma once

#include "cuda/encoder.h"
#include "cuda/operands.h"

namespace mixsynth::card {

// A block has `warps` warps, as blockDim (32, warps).
struct Kernel {
    void (*function)(Forward);
    int warps;
};

template <class Precision, int kWarps>
__global__ void __launch_bounds__(32 * kWarps, 1) encoder_kernel(const __grid_constant__ Forward call) {
    extern __shared__ __align__(128) char shared[];
    forward<Precision>(call, call.sizes, shared);
}

template <class Precision, class Fixed, int kWarps>
__global__ void __launch_bounds__(32 * kWarps, 1) fixed_encoder_kernel(const __grid_constant__ Forward call) {
    extern __shared__ __align__(128) char shared[];
    forward<Precision>(call, Fixed{call.sizes.joint_dim, call.sizes.keyframes, call.sizes.layers}, shared);
}

// For any shape; where all_shared is false, buffers may lie in the workspace.
Kernel general_kernel(Precision precision, bool all_shared);

// For a published or shipped shape whose buffers all lie in shared memory; general_kernel() for any other.
Kernel kernel_for(const Sizes& sizes, Precision precision, bool all_shared);

}  // namespace mixsynth::card
