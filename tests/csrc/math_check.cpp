// Worst errors of the vectorised functions against double precision, over every STEP-th float of their range.
// Compiled once for each kind of register: -DSIMD=Simd128 and so on.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "cpu/simd.h"

using Vector = mixsynth::SIMD::Vector;
constexpr int kWide = mixsynth::kWidth<Vector>;

float as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// The largest error(x, found) over x of both signs with |x| up to `most`.
template <typename Error>
double worst(Vector function(Vector), float lowest, float highest, uint32_t step, Error error) {
    double largest = 0.0;
    for (const uint32_t sign : {0u, 0x80000000u}) {
        const float end = sign ? -lowest : highest;
        uint32_t last;
        std::memcpy(&last, &end, sizeof last);
        for (uint32_t first = 0; first <= last; first += step * kWide) {
            float in[kWide], out[kWide];
            for (int i = 0; i < kWide; ++i) {
                const uint32_t bits = first + step * static_cast<uint32_t>(i);
                in[i] = as_float(sign | (bits < last ? bits : last));
            }
            mixsynth::store(out, function(mixsynth::load<Vector>(in)));
            for (int i = 0; i < kWide; ++i) {
                const double wrong = error(static_cast<double>(in[i]), static_cast<double>(out[i]));
                largest = wrong <= largest ? largest : wrong;  // NaN stays
            }
        }
    }
    return largest;
}

double power_ulps(double y, double found) {
    const double right = std::exp2(y);
    return std::fabs(found - right) / std::ldexp(1.0, std::ilogb(right) - 23);
}

double gelu_error(double x, double found) { return std::fabs(found - 0.5 * x * std::erfc(-x * std::sqrt(0.5))); }

double sigmoid_error(double x, double found) { return std::fabs(found - 1.0 / (1.0 + std::exp(-x))); }

double power_ulps_below() { return power_ulps(-115.0, mixsynth::power_of_two(mixsynth::all<Vector>(-INFINITY))[0]); }

// How many of the functions keep NaN, of either sign, instead of clamping it to a number.
int keep_nan() {
    using namespace mixsynth;
    int kept = 0;
    for (Vector (*function)(Vector) : {power_of_two<Vector>, sigmoid<Vector>, gelu<Vector>, positive<Vector>})
        kept += std::isnan(function(all<Vector>(NAN))[0]) && std::isnan(function(all<Vector>(-NAN))[0]);
    return kept;
}

int main(int, char** arguments) {
    const auto step = static_cast<uint32_t>(std::atol(arguments[1]));
    using namespace mixsynth;
    std::printf("power_ulps %g\n", worst(power_of_two<Vector>, -115.0f, 127.0f, step, power_ulps));
    std::printf("power_ulps_below %g\n", power_ulps_below());
    std::printf("gelu_error %g\n", worst(gelu<Vector>, -1000.0f, 1000.0f, step, gelu_error));
    std::printf("sigmoid_error %g\n", worst(sigmoid<Vector>, -1000.0f, 1000.0f, step, sigmoid_error));
    std::printf("keep_nan %d\n", keep_nan());
    float lanes[kWide];
    for (int i = 0; i < kWide; ++i) lanes[i] = static_cast<float>((7 * i + 3) % kWide);
    std::printf("sum %g largest %g\n", sum_of_lanes(load<Vector>(lanes)), largest_of_lanes(load<Vector>(lanes)));
}
