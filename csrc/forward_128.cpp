// The forward for every 64-bit processor.
#include "layout.h"
#include "mixsynth.h"

#include "forward.h"

namespace mixsynth {

void forward_128(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
                 float* workspace) {
    forward_windows<Simd128>(dims, packed, keyframes, batch, motion, workspace);
}

}  // namespace mixsynth
