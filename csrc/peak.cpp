// How fast this core multiplies and adds: what the speed of forward() is compared with.
#include <algorithm>
#include <chrono>

#include "mixsynth.h"
#include "simd.h"

namespace mixsynth {
namespace {

// Seconds that `steps` multiply-adds in each of kStrands independent registers take: enough of them to keep every
// multiplier busy while the earlier results are on their way.
constexpr int kStrands = 12;

template <typename Simd>
double seconds_of(int64_t steps) {
    using Vector = typename Simd::Vector;
    volatile float start = 0.5f;
    const Vector factor = start + Vector{} + 0.25f, term = start + Vector{};
    Vector sum[kStrands];
    for (Vector& strand : sum) strand = term;
    const auto before = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < steps; ++i)
        for (int s = 0; s < kStrands; ++s) sum[s] = sum[s] * factor + term;
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - before;
    for (int s = 1; s < kStrands; ++s) sum[0] += sum[s];
    volatile float kept = sum[0][0];
    static_cast<void>(kept);
    return passed.count();
}

double seconds_128(int64_t steps) { return seconds_of<Simd128>(steps); }
#if defined(__x86_64__)
__attribute__((flatten, target("avx2,fma"))) double seconds_256(int64_t steps) { return seconds_of<Simd256>(steps); }
__attribute__((flatten, target("avx512f,avx512vl,avx512dq,avx512bw,fma"))) double seconds_512(int64_t steps) {
    return seconds_of<Simd512>(steps);
}
#endif

double seconds([[maybe_unused]] int bits, int64_t steps) {
#if defined(__x86_64__)
    if (bits == 512) return seconds_512(steps);
    if (bits == 256) return seconds_256(steps);
#endif
    return seconds_128(steps);
}

}  // namespace

double fma_peak(int bits) {
    constexpr int64_t kSteps = 20'000;
    constexpr int kTries = 200;
    double fastest = seconds(bits, kSteps);
    // The fastest of many short tries: the others were interrupted.
    for (int i = 0; i < kTries; ++i) fastest = std::min(fastest, seconds(bits, kSteps));
    return 2.0 * kStrands * (bits / 32) * kSteps / fastest;
}

}  // namespace mixsynth
