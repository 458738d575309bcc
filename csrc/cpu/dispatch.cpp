// Dispatch: chooses the core for this processor.
#include <algorithm>
#include <chrono>
#include <limits>

#include "cpu/processor.h"

namespace mixsynth {

static const Processor& core([[maybe_unused]] int bits) {
#if defined(__x86_64__)
    if (bits >= 512) return kProcessor512;
    if (bits >= 256) return kProcessor256;
#endif
    return kProcessor128;
}

int simd_bits([[maybe_unused]] int most_bits) {
#if defined(__x86_64__)
    if (most_bits >= 512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return 512;
    if (most_bits >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 256;
#endif
    return 128;
}

void forward(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
             float* workspace, int bits) {
    core(bits).forward(dims, packed, keyframes, batch, motion, workspace);
}

void layer_forward(const Dimensions& dims, const float* packed, const float* x, int64_t batch, float* out,
                   float* workspace, int bits, const Dropout& dropout) {
    core(bits).train(dims, packed, x, nullptr, batch, out, nullptr, workspace, dropout);
}

void layer_backward(const Dimensions& dims, const float* packed, const float* x, const float* d_out, int64_t batch,
                    float* d_x, float* gradients, float* workspace, int bits, const Dropout& dropout) {
    core(bits).train(dims, packed, x, d_out, batch, d_x, gradients, workspace, dropout);
}

void make_pyramid(const Plane& plane, const PyramidShape& shape, float* numbers, int bits) {
    core(bits).make_pyramid(plane, shape, numbers);
}

void flow(const Pyramid& before, const Pyramid& after, const float* points, const float* guesses, int64_t count,
          Flow* flows, int bits) {
    core(bits).flow(before, after, points, guesses, count, flows);
}

void follow(const Pyramid& before, const Pyramid& after, const Body& body, float scale, Glance& glance, int bits) {
    core(bits).follow(before, after, body, scale, glance);
}

double fma_peak(int bits) {
    constexpr int64_t kSteps = 20'000;
    constexpr int kTries = 200;
    // The fastest of many short tries counts, because other work interrupts the slower ones.
    double fastest = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kTries; ++i) {
        const auto start = std::chrono::steady_clock::now();
        volatile float result = core(bits).multiply_add(kSteps);
        static_cast<void>(result);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        fastest = std::min(fastest, seconds.count());
    }
    return 2.0 * kStrands * (bits / 32) * kSteps / fastest;
}

}  // namespace mixsynth
