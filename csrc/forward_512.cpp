// Forward and training for processors with AVX-512.
#include "layout.h"
#include "mixsynth.h"
#include "train_layout.h"

#if defined(__x86_64__)
// From here on, and for what is defined here only: the headers above are shared with files for other processors.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma")
#endif
#include "train.h"

namespace mixsynth {

void forward_512(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
                 float* workspace) {
    forward_windows<Simd512>(dims, packed, keyframes, batch, motion, workspace);
}

void train_512(const Dimensions& dims, const float* packed, const float* x, const float* d_out, int64_t batch,
               float* out, float* gradients, float* workspace) {
    train_windows<Simd512>(dims, packed, x, d_out, batch, out, gradients, workspace);
}

}  // namespace mixsynth

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
