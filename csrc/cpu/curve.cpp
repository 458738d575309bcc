#include "curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mixsynth {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Linear between `count` growing knots, and constant beyond them.
double interpolated(double x, const double* knots, const double* values, int64_t count) {
    const int64_t right = std::upper_bound(knots, knots + count, x) - knots;
    if (right == 0) return values[0];
    if (right == count || knots[right - 1] == x) return values[right - 1];
    const double slope = (values[right] - values[right - 1]) / (knots[right] - knots[right - 1]);
    return slope * (x - knots[right - 1]) + values[right - 1];
}

// Two rows of a table and how much each counts. The last row has no next one, and its share is 0.
struct Between {
    Between(const double* table, int64_t rows, int64_t width, double position) {
        const int64_t left = std::min(static_cast<int64_t>(position), rows - 1);
        below = table + left * width;
        above = table + std::min(left + 1, rows - 1) * width;
        share = position - static_cast<double>(left);
    }
    double at(int64_t i) const { return below[i] * (1.0 - share) + above[i] * share; }

    const double *below, *above;
    double share;
};

// The seconds since a joint was last measured, and until it is measured next.
struct Nearest {
    double since_s = kNever, until_s = kNever;
    double nearest_s() const { return std::min(since_s, until_s); }
};

Nearest nearest_sightings(const Curve& curve, double time_s, int64_t joint) {
    Nearest nearest;
    for (int64_t s = 0; s < curve.sightings; ++s) {
        const double since_s = time_s - curve.sighting_s[s * curve.joints + joint];
        if (since_s >= 0.0) nearest.since_s = std::min(nearest.since_s, since_s);
        if (since_s <= 0.0) nearest.until_s = std::min(nearest.until_s, -since_s);
    }
    return nearest;
}

Origin origin_of(const Curve& curve, const Nearest& nearest) {
    if (nearest.nearest_s() <= curve.same_time_s) return kMeasured;
    if (nearest.since_s == kNever) return kMissing;
    if (nearest.until_s < kNever) return kFilled;
    const double horizon_s = curve.moves ? static_cast<double>(curve.horizon) / curve.rate_hz : 0.0;
    return nearest.since_s > horizon_s + curve.same_time_s ? kHeld : kForecast;
}

// By the time to the nearest sighting. Past the horizon a pose is only held, and sigma grows in proportion to the time.
double sigma_of(const Curve& curve, const Nearest& nearest, double step, int64_t joint) {
    const double last = static_cast<double>(curve.newest + curve.horizon);
    const double ahead = nearest.nearest_s() * curve.rate_hz;
    const bool in_gap = nearest.since_s + nearest.until_s <= curve.wide_gap_s;
    const double position = in_gap ? step : std::min(static_cast<double>(curve.newest) + ahead, last);
    const int64_t left = std::min(static_cast<int64_t>(position), curve.newest + curve.horizon - 1);
    const double below = curve.sigma[left * curve.joints + joint];
    const double sigma =
        below + (curve.sigma[(left + 1) * curve.joints + joint] - below) * (position - static_cast<double>(left));
    return sigma * std::max(ahead / static_cast<double>(std::max<int64_t>(curve.horizon, 1)), 1.0);
}

}  // namespace

void curve_at(const Curve& curve, const double* times, int64_t count, const CurvePoses& out) {
    const int64_t numbers = curve.joints * curve.dims, T = curve.newest + 1 + curve.horizon;
    const double newest = static_cast<double>(curve.newest), interval = static_cast<double>(curve.interval);
    for (int64_t m = 0; m < count; ++m) {
        const double step = interpolated(times[m], curve.knot_s, curve.knot_steps, curve.keyframes + 1);
        const double keyframe = std::min(step, newest) / interval - curve.knot_steps[0] / interval;
        const Between rows(curve.rows, curve.keyframes, numbers + curve.joints, keyframe);
        double* poses = out.poses + m * numbers;
        for (int64_t i = 0; i < numbers; ++i) poses[i] = rows.at(i);
        if (curve.moves) {
            const Between moves(curve.moves, T, numbers, step);
            for (int64_t i = 0; i < numbers; ++i) poses[i] += moves.at(i) * curve.scale;
        }
        if (curve.offset) {
            constexpr double kFade[] = {1.0, 0.0};
            const double fade = interpolated(times[m], curve.bridge_s, kFade, 2);
            for (int64_t i = 0; i < numbers; ++i) poses[i] += fade * curve.offset[i];
        }
        for (int64_t j = 0; j < curve.joints; ++j) {
            const int64_t at = m * curve.joints + j;
            const Nearest nearest = nearest_sightings(curve, times[m], j);
            const Origin origin = origin_of(curve, nearest);
            out.scores[at] = origin == kMissing ? 0.0 : rows.at(numbers + j);
            out.origin[at] = origin;
            if (origin == kMissing) std::fill_n(poses + j * curve.dims, curve.dims, std::nan(""));
            if (curve.sigma) out.sigma[at] = origin < kFilled ? std::nan("") : sigma_of(curve, nearest, step, j);
        }
    }
}

}  // namespace mixsynth
