// The work whose speed is a core's peak.
#pragma once

#include "cpu/processor.h"
#include "cpu/simd.h"

namespace mixsynth {
namespace {

// `steps` multiply-adds in each of kStrands registers: enough of them to keep every multiplier busy while the earlier
// results are on their way. Each strand starts from another number, or a compiler may find out that one would do. What
// comes out is of no use; without it nothing would have to be computed.
template <typename Simd>
float multiply_add(int64_t steps) {
    using Vector = typename Simd::Vector;
    volatile float start = 0.5f;
    const Vector factor = all<Vector>(start + 0.25f), term = all<Vector>(start);
    Vector sum[kStrands];
    for (int s = 0; s < kStrands; ++s) sum[s] = term + static_cast<float>(s);
    for (int64_t i = 0; i < steps; ++i)
        for (int s = 0; s < kStrands; ++s) sum[s] = sum[s] * factor + term;
    for (int s = 1; s < kStrands; ++s) sum[0] += sum[s];
    return sum_of_lanes(sum[0]);
}

}  // namespace
}  // namespace mixsynth
