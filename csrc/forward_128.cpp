// Forward and training for every 64-bit processor.
#include "layout.h"
#include "mixsynth.h"

#include "train.h"

namespace mixsynth {

void forward_128(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
                 float* workspace) {
    forward_windows<Simd128>(dims, packed, keyframes, batch, motion, workspace);
}

void train_128(const Dimensions& dims, const float* packed, const float* x, const float* d_out, int64_t batch,
               float* out, float* gradients, float* workspace) {
    train_windows<Simd128>(dims, packed, x, d_out, batch, out, gradients, workspace);
}

}  // namespace mixsynth
