// Glimpses in C++17: by how much the poses of a window are corrected by what was seen in the picture between keyframes.
//
//     mixsynth::corrections_at(glimpses, window, {corrections, sigma, followed});
//
// pipeline/glance/evidence.py makes them, and tests/support/curve_reference.py says the same in numpy.
#pragma once

#include <cstdint>

namespace mixsynth {

// One person followed in G pictures, C joints in each, in pixels.
struct Glimpses {
    int64_t count, joints;
    const double* time_s;     // [G], growing
    const double* poses;      // [G, C, 2]
    const double* sigma;      // [G, C]
    const uint8_t* followed;  // [G, C] whether the picture showed the joint
    double trust;             // the share of `sigma` that counts against the window's
    double worth;             // 0 to 1: what all of it counts for
    double no_sigma_share;    // what a followed pose counts for where the window has no sigma
    double jitter;            // how far a measured pose itself is off
    double newest_s[2];       // the last glimpse, and one before it
    double velocity_s;        // so long the correction goes on as it changed between those; 0: it has not begun
    double same_time_s;       // a glimpse so near in time is at it
};

// What the window knows at M times, and after them at the two of `Glimpses::newest_s`.
struct GlimpsedWindow {
    int64_t count;        // M
    const double* times;  // [M + 2]
    const double* poses;  // [M + 2, C, 2]
    const double* sigma;  // [M + 2, C], NaN of a measured joint; null: not known
};

struct Corrections {
    double* offsets;    // [M, C, 2] to be added to the window's poses
    double* sigma;      // [M, C] afterwards; unused without the window's
    uint8_t* followed;  // [M, C] whether the joint was followed into a picture of that time
};

void corrections_at(const Glimpses& glimpses, const GlimpsedWindow& window, const Corrections& out);

}  // namespace mixsynth
