// Kernel: what a launch has to know of a kernel, and the choice among those that were compiled.
#pragma once

#include "cuda/operands.h"

namespace mixsynth::card {

// A block has `warps` warps, as blockDim (32, warps).
struct Kernel {
    void (*function)(Forward);
    int warps;
};

// For any shape; where all_shared is false, buffers may lie in the workspace.
Kernel general_kernel(Precision precision, bool all_shared);

// For a published or shipped shape whose buffers all lie in shared memory; general_kernel() for any other.
Kernel kernel_for(const Sizes& sizes, Precision precision, bool all_shared);

}  // namespace mixsynth::card
