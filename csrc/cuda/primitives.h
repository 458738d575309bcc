// Primitives: all that the kernel's body asks of a card. The same body also compiles as plain C++ over the emulation in
// tests/csrc/cuda/, which finds races without a card.
#pragma once

#ifdef __CUDACC__
#include "cuda/card.cuh"
#else
#include "emulation.h"
#endif

namespace mixsynth::card {

// Of eight neighbouring lanes: the sum of their numbers.
MIXSYNTH_CARD float sum_of_eight(float number) {
    number += shuffle_xor(number, 1);
    number += shuffle_xor(number, 2);
    return number + shuffle_xor(number, 4);
}

// Of four neighbouring lanes, which hold one row of a product's result.
MIXSYNTH_CARD float sum_of_four(float number) {
    number += shuffle_xor(number, 1);
    return number + shuffle_xor(number, 2);
}
MIXSYNTH_CARD float largest_of_four(float number) {
    number = fmaxf(number, shuffle_xor(number, 1));
    return fmaxf(number, shuffle_xor(number, 2));
}

constexpr float kLog2e = 1.44269504088896341f;

MIXSYNTH_CARD float sigmoid(float x) { return 1.0f / (1.0f + power_of_two(-kLog2e * x)); }
MIXSYNTH_CARD float gelu(float x) { return 0.5f * x * (1.0f + erff(0.707106781186547524f * x)); }
MIXSYNTH_CARD float relu(float x) { return x > 0.0f || x != x ? x : 0.0f; }

// Units of work, shared out among the warps. A second kind of unit in the same phase begins with the warp after the last.
class Share {
  public:
    MIXSYNTH_CARD int first(int units) {
        const int count = warps(), start = (warp() + count - used_ % count) % count;
        used_ += units;
        return start;
    }

  private:
    int used_ = 0;
};

}  // namespace mixsynth::card
