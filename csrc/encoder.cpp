// Chooses the forward for this processor.
#include "layout.h"

namespace mixsynth {

// In forward_128.cpp, forward_256.cpp and forward_512.cpp: the same code, made of other instructions.
using Forward = void(const Dimensions&, const float*, const float*, int64_t, float*, float*);
Forward forward_128;
#if defined(__x86_64__)
Forward forward_256, forward_512;
#endif

int simd_bits([[maybe_unused]] int most_bits) {
#if defined(__x86_64__)
    if (most_bits >= 512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return 512;
    if (most_bits >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 256;
#endif
    return 128;
}

size_t workspace_size(const Dimensions& dims) {
    Cursor at(nullptr);
    take_workspace(at, dims);
    return at.used();
}

void forward(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
             float* workspace, [[maybe_unused]] int bits) {
    Forward* chosen = forward_128;
#if defined(__x86_64__)
    if (bits >= 256) chosen = bits >= 512 ? forward_512 : forward_256;
#endif
    chosen(dims, packed, keyframes, batch, motion, workspace);
}

}  // namespace mixsynth
