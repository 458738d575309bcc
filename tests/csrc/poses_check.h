// Check of curves and glimpses: arrays of exactly the size that the headers state, a pose that is known, and no
// allocation in a call. Included by forward_check.cpp, whose `allocations` it reads.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "curve.h"
#include "glimpses.h"

// The largest distance of a joint from its way, or infinity where a call allocates. Joint j goes j pixels a keyframe, and
// the network moves all by 2 pixels a step.
inline double check_curve(int64_t keyframes, int64_t joints, int64_t dims, int64_t interval, int64_t horizon) {
    const int64_t newest = keyframes * interval, steps = newest + 1 + horizon, numbers = joints * dims;
    const auto vector = [](int64_t size) { return std::vector<double>(static_cast<size_t>(size)); };
    auto knot_s = vector(keyframes + 1), knot_steps = vector(keyframes + 1), rows = vector(keyframes * (numbers + joints));
    auto seen_s = vector(keyframes * joints), moves = vector(steps * numbers), sigma = vector(steps * joints);
    auto offset = vector(numbers);
    const double rate_hz = static_cast<double>(interval);  // a keyframe a second
    for (int64_t k = 0; k <= keyframes; ++k) {
        const bool is_end = k == keyframes;
        knot_s[k] = static_cast<double>(is_end ? k - 1 : k) + (is_end ? static_cast<double>(horizon) / rate_hz : 0.0);
        knot_steps[k] = static_cast<double>(is_end ? steps - 1 : (k + 1) * interval);
        for (int64_t i = 0; i < numbers && !is_end; ++i) rows[k * (numbers + joints) + i] = double(k * (i / dims));
        for (int64_t j = 0; j < joints && !is_end; ++j) seen_s[k * joints + j] = double(k);
    }
    for (int64_t s = 0; s < steps; ++s)
        for (int64_t i = 0; i < numbers; ++i) moves[s * numbers + i] = double(s);
    const mixsynth::Curve curve{joints, dims, keyframes, keyframes, interval, newest, horizon, rate_hz, 1e-6, 1.5,
                                knot_s.data(), knot_steps.data(), rows.data(), seen_s.data(), moves.data(), 2.0,
                                sigma.data(), offset.data(), {0.0, 1.0}};
    const double last_s = static_cast<double>(keyframes - 1), times[] = {-1.0, 0.0, last_s / 2, last_s, last_s + 1e4};
    constexpr int64_t kTimes = 5;
    auto poses = vector(kTimes * numbers), scores = vector(kTimes * joints), sigmas = vector(kTimes * joints);
    std::vector<uint8_t> origin(static_cast<size_t>(kTimes * joints));
    const int64_t before = allocations;
    mixsynth::curve_at(curve, times, kTimes, {poses.data(), scores.data(), origin.data(), sigmas.data()});
    if (allocations != before) return INFINITY;
    double worst = 0.0;
    for (int64_t i = 0; i < numbers; ++i) {
        const double joint = static_cast<double>(i / dims), step = (last_s / 2 + 1.0) * static_cast<double>(interval);
        worst = std::fmax(worst, std::fabs(poses[2 * numbers + i] - (last_s / 2 * joint + 2.0 * step)));
        if (!std::isnan(poses[i]) || origin[i / dims] != mixsynth::kMissing) return INFINITY;
        if (origin[4 * joints + i / dims] != mixsynth::kHeld) return INFINITY;
    }
    return worst;
}

// The same of glimpses: where they count whole, a window is moved onto them.
inline double check_glimpses(int64_t count, int64_t joints) {
    const auto vector = [](int64_t size, double value) { return std::vector<double>(static_cast<size_t>(size), value); };
    auto time_s = vector(count, 0.0);
    for (int64_t g = 0; g < count; ++g) time_s[g] = static_cast<double>(g + 1);
    const auto poses = vector(count * joints * 2, 7.0), sigma = vector(count * joints, 0.0);
    const std::vector<uint8_t> followed(static_cast<size_t>(count * joints), 1);
    const double last_s = static_cast<double>(count), earlier_s = static_cast<double>(count > 1 ? count - 1 : 0);
    const mixsynth::Glimpses glimpses{count, joints, time_s.data(), poses.data(), sigma.data(), followed.data(), 1.0, 1.0,
                                      0.7, 0.0, {last_s, earlier_s}, 0.1, 1e-6};
    const double times[] = {0.5, 1.0, last_s + 0.5, last_s, earlier_s};
    constexpr int64_t kTimes = 3;
    const auto window = vector((kTimes + 2) * joints * 2, 3.0), its_sigma = vector((kTimes + 2) * joints, 2.0);
    auto offsets = vector(kTimes * joints * 2, NAN), fused = vector(kTimes * joints, NAN);
    std::vector<uint8_t> seen(static_cast<size_t>(kTimes * joints));
    const int64_t before = allocations;
    mixsynth::corrections_at(glimpses, {kTimes, times, window.data(), its_sigma.data()},
                             {offsets.data(), fused.data(), seen.data()});
    if (allocations != before) return INFINITY;
    double worst = 0.0;
    for (int64_t i = 0; i < 2 * joints; ++i) {
        worst = std::fmax(worst, std::fabs(offsets[i]));
        worst = std::fmax(worst, std::fabs(offsets[2 * joints + i] - 4.0));
        if (!std::isfinite(offsets[4 * joints + i]) || seen[i / 2] || !seen[joints + i / 2]) return INFINITY;
    }
    return worst;
}
