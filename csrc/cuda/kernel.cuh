// Kernel: the encoder as a kernel of CUDA.
#pragma once

#include "cuda/encoder.h"
#include "cuda/kernel.h"

namespace mixsynth::card {

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

}  // namespace mixsynth::card
