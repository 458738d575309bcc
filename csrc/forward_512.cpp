// The forward for processors with AVX-512.
#include "layout.h"
#include "mixsynth.h"

#if defined(__x86_64__)
// From here on, and for what is defined here only: the headers above are shared with files for other processors.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma")
#endif
#include "forward.h"

namespace mixsynth {

void forward_512(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
                 float* workspace) {
    forward_windows<Simd512>(dims, packed, keyframes, batch, motion, workspace);
}

}  // namespace mixsynth

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
