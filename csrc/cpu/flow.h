// Flow: pyramidal Lucas-Kanade for single points, in windows of 7 x 7 pixels. A change of brightness is no motion.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/simd.h"
#include "glance_layout.h"

namespace mixsynth {
namespace {

constexpr int kRows = 7, kReach = kRows / 2;
using Pixels = Register<float, 8>;  // 7 pixels, and one whose weight is 0

constexpr int kMostSteps = 5;
constexpr float kSmallStep = 0.1f;  // pixels of a level: a smaller step ends the search
constexpr float kLongestStep = 2.0f;
constexpr float kGoodCheck = 1.0f;  // pixels of the finest level
// Added to the squared gradients (grey levels a pixel), so that a blank wall moves nothing.
constexpr float kFlat = 1.0f;

struct Level {
    const float* pixels;
    LevelShape shape;
};

struct Levels {
    Level level[kPyramidLevels];
    explicit Levels(const Pyramid& pyramid) {
        for (int l = 0; l < kPyramidLevels; ++l) {
            const LevelShape shape = level_shape(pyramid.shape, l);
            level[l] = {pyramid.numbers + shape.offset, shape};
        }
    }
};

// Weights of the window's pixels, (1 - r^2 / 16)^2 at the distance r from the middle.
struct Window {
    float weight[kRows][8];
    float sum;
};

constexpr Window make_window() {
    Window window{};
    for (int y = 0; y < kRows; ++y)
        for (int x = 0; x < kRows; ++x) {
            const int square = (x - kReach) * (x - kReach) + (y - kReach) * (y - kReach);
            const float rest = square < 16 ? 1.0f - static_cast<float>(square) / 16.0f : 0.0f;
            window.weight[y][x] = rest * rest;
            window.sum += rest * rest;
        }
    return window;
}
constexpr Window kWindow = make_window();

// A place in a level: a window's upper left pixel, and how far the place lies beyond it.
struct Place {
    const float* corner;
    int64_t stride;
    float dx, dy;

    // Line `i` of the window, linear between the two pixels next to each other.
    Pixels line(int64_t i, int64_t column = 0) const {
        const float* from = corner + i * stride + column;
        const Pixels left = load<Pixels>(from);
        return left + (load<Pixels>(from + 1) - left) * dx;
    }
    Pixels between(Pixels upper, Pixels lower) const { return upper + (lower - upper) * dy; }
};

// Whether a window around (x, y), and a margin of one pixel, lie in the level and its border. Not so for NaN, nor in a
// level that the pyramid does not have.
inline bool place_of(const Level& level, float x, float y, Place& place) {
    const auto& [width, height, stride, offset, pixel, left, top] = level.shape;
    constexpr auto kLow = static_cast<float>(kReach + 1 - kBorder);
    const auto right = static_cast<float>(width + kBorder - 8), bottom = static_cast<float>(height + kBorder - 6);
    if (!width || !height || !(x >= kLow && y >= kLow && x < right && y < bottom)) return false;
    const float column = std::floor(x), line = std::floor(y), dx = x - column, dy = y - line;
    const float* corner = level.pixels + (static_cast<int64_t>(line) - kReach) * stride;
    place = {corner + static_cast<int64_t>(column) - kReach, stride, dx, dy};
    return true;
}

// The window in the first picture, its weighted gradients and their squares.
struct Template {
    Pixels pixels[kRows], right[kRows], down[kRows];
    float mean_right, mean_down;
    float xx, xy, yy;
};

inline void read_template(const Place& place, Template& out) {
    Pixels xx{}, xy{}, yy{}, sum_right{}, sum_down{};
    // Lines, and rows between two of them, are computed once; those to the left and right belong to the gradients only.
    Pixels line = place.line(0), below = place.line(1), left = place.line(0, -1), right_side = place.line(0, 1);
    Pixels above = place.between(place.line(-1), line), middle = place.between(line, below);
    for (int i = 0; i < kRows; ++i) {
        const Pixels next_left = place.line(i + 1, -1), next_right = place.line(i + 1, 1), next = place.line(i + 2);
        const Pixels under = place.between(below, next);
        const Pixels weight = load<Pixels>(kWindow.weight[i]);
        const Pixels right = (place.between(right_side, next_right) - place.between(left, next_left)) * 0.5f;
        const Pixels down = (under - above) * 0.5f;
        out.pixels[i] = middle;
        out.right[i] = right * weight;
        out.down[i] = down * weight;
        xx += out.right[i] * right;
        xy += out.right[i] * down;
        yy += out.down[i] * down;
        sum_right += out.right[i];
        sum_down += out.down[i];
        above = middle;
        middle = under;
        below = next;
        left = next_left;
        right_side = next_right;
    }
    const float total_right = sum_of_lanes(sum_right), total_down = sum_of_lanes(sum_down);
    out.mean_right = total_right / kWindow.sum;
    out.mean_down = total_down / kWindow.sum;
    out.xx = sum_of_lanes(xx) - out.mean_right * total_right;
    out.xy = sum_of_lanes(xy) - out.mean_right * total_down;
    out.yy = sum_of_lanes(yy) - out.mean_down * total_down;
}

// Moves (x, y) in the second picture to where it looks like the template. False where it leaves the level.
inline bool align(const Template& window, const Level& level, float& x, float& y) {
    const float xx = window.xx + kFlat, yy = window.yy + kFlat, xy = window.xy;
    const float inverse = 1.0f / (xx * yy - xy * xy);
    for (int step = 0; step < kMostSteps; ++step) {
        Place place;
        if (!place_of(level, x, y, place)) return false;
        Pixels right{}, down{}, sum{}, upper = place.line(0);
        for (int i = 0; i < kRows; ++i) {
            const Pixels lower = place.line(i + 1), difference = window.pixels[i] - place.between(upper, lower);
            upper = lower;
            right += window.right[i] * difference;
            down += window.down[i] * difference;
            sum += load<Pixels>(kWindow.weight[i]) * difference;
        }
        // Without the mean difference, which is a change of brightness.
        const float change = sum_of_lanes(sum);
        const float slope_x = sum_of_lanes(right) - window.mean_right * change;
        const float slope_y = sum_of_lanes(down) - window.mean_down * change;
        const float step_x = (yy * slope_x - xy * slope_y) * inverse, step_y = (xx * slope_y - xy * slope_x) * inverse;
        const float length = std::sqrt(step_x * step_x + step_y * step_y);
        const float shorten = length > kLongestStep ? kLongestStep / length : 1.0f;
        x += step_x * shorten;
        y += step_y * shorten;
        if (length < kSmallStep) break;
    }
    return true;
}

// Follows a point down from level `top`, and improves the displacement in `flow`. False where it is lost.
inline bool follow_point(const Levels& before, const Levels& after, int top, float x, float y, Flow& flow) {
    for (int l = top; l >= 0; --l) {
        const Level &first = before.level[l], &second = after.level[l];
        const auto to_level = [](double place, double pixel, double start) {
            return static_cast<float>((place + 0.5) / pixel - 0.5 - start);
        };
        const double pixel = first.shape.pixel;
        Place place;
        if (!place_of(first, to_level(x, pixel, first.shape.left), to_level(y, pixel, first.shape.top), place)) {
            if (!l) return false;
            continue;
        }
        Template window;
        read_template(place, window);
        const double start_x = static_cast<double>(x) + flow.x, start_y = static_cast<double>(y) + flow.y;
        const float from_x = to_level(start_x, pixel, second.shape.left);
        const float from_y = to_level(start_y, pixel, second.shape.top);
        float to_x = from_x, to_y = from_y;
        if (align(window, second, to_x, to_y)) {
            flow.x += (to_x - from_x) * static_cast<float>(pixel);
            flow.y += (to_y - from_y) * static_cast<float>(pixel);
        } else if (!l) {
            return false;
        }
        const float unit = 1.0f / (kWindow.sum * static_cast<float>(pixel * pixel));
        flow.xx = window.xx * unit;
        flow.xy = window.xy * unit;
        flow.yy = window.yy * unit;
    }
    return std::isfinite(flow.x) && std::isfinite(flow.y);
}

// The flow of one point, with its check. Most points need no coarsest level; those that fail without are tried with it.
inline void follow_both_ways(const Levels& before, const Levels& after, float x, float y, const float* guess,
                             Flow& flow) {
    const Flow lost{guess[0], guess[1], 0.0f, 0.0f, 0.0f, std::numeric_limits<float>::infinity()};
    Flow best = lost;
    for (int top = kPyramidLevels - 2; top < kPyramidLevels; ++top) {
        flow = lost;
        if (!follow_point(before, after, top, x, y, flow)) continue;
        // The way back, at the finest level only: a right displacement leads back to the point from there.
        Flow back{-flow.x, -flow.y, 0.0f, 0.0f, 0.0f, 0.0f};
        if (!follow_point(after, before, 0, x + flow.x, y + flow.y, back)) continue;
        flow.check = std::sqrt((flow.x + back.x) * (flow.x + back.x) + (flow.y + back.y) * (flow.y + back.y));
        if (flow.check < best.check) best = flow;
        if (flow.check < kGoodCheck * static_cast<float>(before.level[0].shape.pixel)) break;
    }
    flow = best;
}

inline void follow_points(const Levels& before, const Levels& after, const float* points, const float* guesses,
                          int64_t count, Flow* flows) {
    for (int64_t i = 0; i < count; ++i)
        follow_both_ways(before, after, points[2 * i], points[2 * i + 1], guesses + 2 * i, flows[i]);
}

inline void flow_of_points(const Pyramid& before, const Pyramid& after, const float* points, const float* guesses,
                           int64_t count, Flow* flows) {
    follow_points(Levels(before), Levels(after), points, guesses, count, flows);
}

}  // namespace
}  // namespace mixsynth
