// Packing for a card: weights in the operands' order of csrc/cuda/precision.h, and the offsets of weights and buffers.
#pragma once

#include "cuda/network.h"

namespace mixsynth::card {

enum class Precision { kStrict, kTf32, kBf16 };

NetworkOffsets offsets_of(const Sizes& sizes, Precision precision);

// Writes offsets_of(...).size floats.
void pack(const Dimensions& dims, const Weights& weights, Precision precision, float* packed);

// For blocks of `windows` windows that have `shared_limit` bytes of shared memory. What does not fit lies in the workspace.
Buffers buffers_of(const Sizes& sizes, Precision precision, int windows, int shared_limit);

// The most windows of a block whose buffers all fit into `shared_limit` bytes, but at most 176 rows, and at least one.
int most_windows(const Sizes& sizes, Precision precision, int shared_limit);

}  // namespace mixsynth::card
