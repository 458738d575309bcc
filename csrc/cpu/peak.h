// Peak: work that runs at the full speed of a core.
#pragma once

#include "cpu/processor.h"
#include "cpu/simd.h"

namespace mixsynth {
namespace {

// `steps` multiply-adds in each of kStrands registers: enough to keep every multiplier busy while earlier results are
// on their way. Nobody needs the result, but without it a compiler would compute nothing.
template <typename Simd>
float multiply_add(int64_t steps) {
    using Vector = typename Simd::Vector;
    volatile float start = 0.5f;
    const Vector factor = broadcast<Vector>(start + 0.25f), term = broadcast<Vector>(start);
    Vector sum[kStrands];
    // Every strand begins with another number, or a compiler could compute one of them only.
    for (int s = 0; s < kStrands; ++s) sum[s] = term + static_cast<float>(s);
    for (int64_t i = 0; i < steps; ++i)
        for (int s = 0; s < kStrands; ++s) sum[s] = sum[s] * factor + term;
    for (int s = 1; s < kStrands; ++s) sum[0] += sum[s];
    return sum_of_lanes(sum[0]);
}

}  // namespace
}  // namespace mixsynth
