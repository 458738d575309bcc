// Check of a glance: buffers of exactly the size that the header states, a picture that moves as a whole, a body that
// goes with it, and no allocation in a call. Included by forward_check.cpp, whose `allocations` it reads.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "glance.h"

// Random waves, moved by (right, down), with rows that are longer than the picture.
template <typename Sample>
std::vector<Sample> waves(int64_t width, int64_t height, int64_t stride, int bits, double right, double down) {
    std::vector<Sample> samples(static_cast<size_t>(stride * (height - 1) + width));
    for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; ++x) {
            const double u = static_cast<double>(x) - right, v = static_cast<double>(y) - down;
            const double wave = std::sin(0.31 * u + 0.12 * v) + std::sin(0.27 * v - 0.17 * u) + std::sin(0.05 * u * 1.7);
            const double level = (wave + 3.0) / 6.0 * ((1 << bits) - 1);
            samples[static_cast<size_t>(y * stride + x)] = static_cast<Sample>(level);
        }
    return samples;
}

// The largest distance of a followed joint from where the picture took it, or infinity where a call allocates.
template <typename Sample>
double check_glance(int64_t width, int64_t height, int64_t shrink, int sample_bits, int bits) {
    const double right = 1.3, down = -0.6;
    const int64_t stride = width + 3;
    std::vector<float> pyramids[2];
    mixsynth::Pyramid pair[2];
    const int64_t allocations_before = allocations;
    int64_t own = 0;
    for (int i = 0; i < 2; ++i) {
        const int64_t before = allocations;
        const auto samples = waves<Sample>(width, height, stride, sample_bits, i * right, i * down);
        const mixsynth::Plane plane{samples.data(), width, height, stride * int64_t(sizeof(Sample)), sample_bits, 1};
        const auto shape = mixsynth::pyramid_shape(width, height, -9, 3, width + 50, height, shrink);
        pyramids[i].assign(mixsynth::pyramid_size(shape), NAN);
        own += allocations - before;
        mixsynth::make_pyramid(plane, shape, pyramids[i].data(), bits);
        pair[i] = {shape, pyramids[i].data()};
    }
    const mixsynth::BodyPoint points[] = {{{0, 1, 0, 0}, {1.0f, 0.0f, 0, 0}, 0.05f, 0, 0},
                                          {{0, 1, 0, 0}, {0.5f, 0.5f, 0, 0}, 0.0f, 0, 0},
                                          {{0, 1, 0, 0}, {0.0f, 1.0f, 0, 0}, -0.05f, 0, 0},
                                          {{2, 0, 0, 0}, {1.0f, 0.0f, 0, 0}, 0.0f, 0.1f, 0.1f}};
    const auto w = static_cast<float>(width), h = static_cast<float>(height);
    float pose[] = {0.4f * w, 0.4f * h, 0.6f * w, 0.6f * h, -1000.0f, 2.0f * h}, step[6] = {}, evidence[9];
    const float first[] = {pose[0], pose[1], pose[2], pose[3]};
    mixsynth::Glance glance{pose, step, evidence, {NAN, NAN}};
    mixsynth::follow(pair[0], pair[1], {3, points, 4}, 0.3f * h, glance, bits);
    if (allocations - allocations_before != own) return INFINITY;
    double worst = 0.0;
    for (int i = 0; i < 4; ++i)
        worst = std::fmax(worst, std::fabs(pose[i] - first[i] - (i % 2 ? down : right)));
    return std::isfinite(pose[4]) && std::isfinite(pose[5]) ? worst : INFINITY;
}
