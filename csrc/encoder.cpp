// Chooses the forward for this processor, once.
#include <cstdlib>
#include <string>

#include "layout.h"

namespace mixsynth {

// In forward_128.cpp, forward_256.cpp and forward_512.cpp: the same code, made of other instructions.
using Forward = void(const Dimensions&, const float*, const float*, int64_t, float*, float*);
Forward forward_128;
#if defined(__x86_64__)
Forward forward_256, forward_512;
#endif

namespace {

// Bits of the widest registers to use, by MIXSYNTH_SIMD; 0 where it says something else.
int asked_bits() {
    const char* asked = std::getenv("MIXSYNTH_SIMD");
    if (!asked) return 512;
    for (const int bits : {128, 256, 512})
        if (std::to_string(bits) == asked) return bits;
    return 0;
}

Forward* best_forward() {
#if defined(__x86_64__)
    if (simd_bits() == 512) return forward_512;
    if (simd_bits() == 256) return forward_256;
#endif
    return forward_128;
}

}  // namespace

bool environment_fits() { return asked_bits() != 0; }

int simd_bits() {
#if defined(__x86_64__)
    const int widest = asked_bits();
    if (widest >= 512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return 512;
    if (widest >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 256;
#endif
    return 128;
}

size_t workspace_size(const Dimensions& dims) {
    Cursor at(nullptr);
    take_workspace(at, dims);
    return at.used();
}

void forward(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
             float* workspace) {
    static Forward* const chosen = best_forward();
    chosen(dims, packed, keyframes, batch, motion, workspace);
}

}  // namespace mixsynth
