// Forward and training for processors with AVX2 and FMA.
#include "layout.h"
#include "mixsynth.h"
#include "train_layout.h"

#if defined(__x86_64__)
// From here on, and for what is defined here only: the headers above are shared with files for other processors.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "train.h"

namespace mixsynth {

void forward_256(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
                 float* workspace) {
    forward_windows<Simd256>(dims, packed, keyframes, batch, motion, workspace);
}

void train_256(const Dimensions& dims, const float* packed, const float* x, const float* d_out, int64_t batch,
               float* out, float* gradients, float* workspace) {
    train_windows<Simd256>(dims, packed, x, d_out, batch, out, gradients, workspace);
}

}  // namespace mixsynth

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
