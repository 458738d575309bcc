// Processor: the functions that simd_128.cpp, simd_256.cpp and simd_512.cpp compile for one kind of processor each.
// dispatch.cpp chooses among them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "glance_layout.h"
#include "train_layout.h"

namespace mixsynth {

struct Processor {
    // forward() of mixsynth.h.
    void (*forward)(const Dimensions&, const float* packed, const float* keyframes, int64_t batch, float* motion,
                    float* workspace);
    // layer_forward(), or layer_backward() where d_out is not nullptr; `out` then is d_x.
    void (*train)(const Dimensions&, const float* packed, const float* x, const float* d_out, int64_t batch, float* out,
                  float* gradients, float* workspace, const Dropout&);
    // kStrands * `steps` multiply-adds in registers, to be timed.
    float (*multiply_add)(int64_t steps);
    // make_pyramid(), flow() and follow() of glance.h.
    void (*make_pyramid)(const Plane&, const PyramidShape&, float* numbers);
    void (*flow)(const Pyramid& before, const Pyramid& after, const float* points, const float* guesses, int64_t count,
                 Flow* flows);
    void (*follow)(const Pyramid& before, const Pyramid& after, const Body& body, float scale, Glance& glance);
};

constexpr int kStrands = 12;

extern const Processor kProcessor128;
#if defined(__x86_64__)
extern const Processor kProcessor256, kProcessor512;
#endif

}  // namespace mixsynth

// Functions between MIXSYNTH_BEGIN and MIXSYNTH_END may use `instructions`. What files for other processors share is
// included before: the linker keeps one copy of it, from whichever file.
#define MIXSYNTH_PRAGMA(words) _Pragma(#words)
#if defined(__clang__)
#define MIXSYNTH_BEGIN(instructions) \
    MIXSYNTH_PRAGMA(clang attribute push(__attribute__((target(instructions))), apply_to = function))
#define MIXSYNTH_END MIXSYNTH_PRAGMA(clang attribute pop)
#else
#define MIXSYNTH_BEGIN(instructions) MIXSYNTH_PRAGMA(GCC push_options) MIXSYNTH_PRAGMA(GCC target(instructions))
#define MIXSYNTH_END MIXSYNTH_PRAGMA(GCC pop_options)
#endif
