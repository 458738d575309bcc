// A curve in C++17: the poses of one person at any time, read off what a window knows. No Python and no allocation.
//
//     mixsynth::Curve curve{...};  // pointers to what the window knows
//     mixsynth::curve_at(curve, times, count, {poses, scores, origin, sigma});
//
// pipeline/curve.py makes it, and tests/support/curve_reference.py says the same in numpy.
#pragma once

#include <cstdint>

namespace mixsynth {

// Where a pose comes from; `Origin` of pipeline/motion.py.
enum Origin : uint8_t { kMissing = 0, kMeasured = 1, kFilled = 2, kForecast = 3, kHeld = 4 };

// J joints of D numbers each, K keyframes on the grid, S sightings, T steps of the grid.
struct Curve {
    int64_t joints, dims;
    int64_t keyframes, sightings;
    int64_t interval, newest, horizon;  // in steps; T = newest + 1 + horizon
    double rate_hz;                     // steps a second
    double same_time_s;                 // sightings so near in time are at it
    double wide_gap_s;                  // a gap wider than that lacks a keyframe: its middle is forecast from both ends
    const double* knot_s;               // [K + 1] seconds of the keyframes and of the last step, growing
    const double* knot_steps;           // [K + 1] their steps
    const double* rows;                 // [K, J * D + J] at each keyframe: what `moves` are added to, and the scores
    const double* sighting_s;           // [S, J] when each joint was measured; NaN where it was not
    const double* moves;                // [T, J * D] of the network, times `scale`; null: the rows are the poses
    double scale;
    const double* sigma;   // [T, J]; null: not known
    const double* offset;  // [J, D] added whole up to `bridge_s[0]`, and fading until `bridge_s[1]`; null: none
    double bridge_s[2];
};

// At M times.
struct CurvePoses {
    double* poses;    // [M, J, D], NaN where MISSING
    double* scores;   // [M, J], 0 where MISSING
    uint8_t* origin;  // [M, J]
    double* sigma;    // [M, J], NaN where MEASURED or MISSING; unused without `Curve::sigma`
};

void curve_at(const Curve& curve, const double* times, int64_t count, const CurvePoses& out);

}  // namespace mixsynth
