// Check of the vectorised functions: their largest errors against double precision, over every STEP-th float of their
// range. It is compiled once for each kind of register: -DSIMD=Simd128 and so on.
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

// The largest error(x, function(x)) over x from `lowest`, which is negative, to `highest`.
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
                const double size = error(static_cast<double>(in[i]), static_cast<double>(out[i]));
                if (!std::isnan(largest) && !(size <= largest)) largest = size;  // NaN stays NaN
            }
        }
    }
    return largest;
}

double power_ulps(double y, double result) {
    const double exact = std::exp2(y);
    return std::fabs(result - exact) / std::ldexp(1.0, std::ilogb(exact) - 23);
}

double gelu_error(double x, double result) { return std::fabs(result - 0.5 * x * std::erfc(-x * std::sqrt(0.5))); }

double sigmoid_error(double x, double result) { return std::fabs(result - 1.0 / (1.0 + std::exp(-x))); }

double power_ulps_below() {
    return power_ulps(-115.0, mixsynth::power_of_two(mixsynth::broadcast<Vector>(-INFINITY))[0]);
}

// The number of functions that keep a NaN of either sign and do not clamp it to a number.
int keep_nan() {
    using namespace mixsynth;
    int count = 0;
    for (Vector (*function)(Vector) : {power_of_two<Vector>, sigmoid<Vector>, gelu<Vector>, relu<Vector>})
        count += std::isnan(function(broadcast<Vector>(NAN))[0]) && std::isnan(function(broadcast<Vector>(-NAN))[0]);
    return count;
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
