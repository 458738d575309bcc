// What is compiled once for each kind of processor, in simd_128.cpp, simd_256.cpp and simd_512.cpp, and chosen from in
// dispatch.cpp.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "train_layout.h"

namespace mixsynth {

struct Processor {
    // forward() of mixsynth.h
    void (*forward)(const Dimensions&, const float* packed, const float* keyframes, int64_t batch, float* motion,
                    float* workspace);
    // layer_forward(), and layer_backward() where `d_out` is given; `out` is d_x then.
    void (*train)(const Dimensions&, const float* packed, const float* x, const float* d_out, int64_t batch, float* out,
                  float* gradients, float* workspace);
    // kStrands * `steps` multiply-adds in registers, to be timed
    float (*multiply_add)(int64_t steps);
};

constexpr int kStrands = 12;

extern const Processor kProcessor128;
#if defined(__x86_64__)
extern const Processor kProcessor256, kProcessor512;
#endif

}  // namespace mixsynth

// Functions between the two may be made of `instructions`, which either compiler has its own words for. What files for
// other processors share is included before: of that the linker keeps one copy, whichever file it is from.
#define MIXSYNTH_PRAGMA(words) _Pragma(#words)
#if defined(__clang__)
#define MIXSYNTH_BEGIN(instructions) \
    MIXSYNTH_PRAGMA(clang attribute push(__attribute__((target(instructions))), apply_to = function))
#define MIXSYNTH_END MIXSYNTH_PRAGMA(clang attribute pop)
#else
#define MIXSYNTH_BEGIN(instructions) MIXSYNTH_PRAGMA(GCC push_options) MIXSYNTH_PRAGMA(GCC target(instructions))
#define MIXSYNTH_END MIXSYNTH_PRAGMA(GCC pop_options)
#endif
