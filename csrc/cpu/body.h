// Body: the motion of all joints that explains the flow of all points best.
#pragma once

#include <algorithm>
#include <cmath>

#include "cpu/flow.h"

namespace mixsynth {
namespace {

constexpr int kMostUnknowns = 2 * kMostJoints;
constexpr int kRounds = 3;             // of weights against points that move otherwise
constexpr double kCheckUnit = 0.02;    // body scales: at this forward-backward error a point counts half
constexpr double kMisfitUnit = 0.01;   // body scales: at this distance from the joints' motion a point counts half
constexpr double kGradient = 5.0;      // squared gradient, grey levels a pixel of level 0, at which a point counts half
constexpr double kStill = 0.01;  // body scales a picture: slower points may be the background's or the body's
constexpr double kLittleSupport = 0.03;  // of a joint: below, misfit grows up to the worst
constexpr double kPrior = 0.03;        // points that the expected motion counts as much as
constexpr float kPersistence = 0.8f;   // the share of a velocity that is expected to last
constexpr double kWorstCheck = 0.1;    // body scales; larger ones count as this
constexpr double kShortLimb = 0.3;     // body scales: a limb that points at the camera does not spin
// Points on a rectangle around the person, whose median flow is the camera's.
constexpr int kCameraPoints = 16;
constexpr float kCameraMargin = 0.35f;  // body scales

// A body point as a linear function of the joints: two rows of numbers for x and y.
struct Spread {
    int count;  // of joints
    int joints[4];
    double along[4], turned[4];  // dx = along * ux - turned * uy; dy = along * uy + turned * ux
};

inline Spread spread_of(const BodyPoint& point, const float* pose, float scale) {
    Spread out{};
    double across = 0.0;
    if (point.across != 0.0f) {
        const float *from = pose + 2 * point.joints[0], *to = pose + 2 * point.joints[1];
        const double x = static_cast<double>(to[0] - from[0]), y = static_cast<double>(to[1] - from[1]);
        const double length = std::sqrt(x * x + y * y);
        across = static_cast<double>(point.across) * scale / std::max(length, kShortLimb * scale);
    }
    for (int i = 0; i < 4; ++i) {
        const double turned = i == 0 ? -across : i == 1 ? across : 0.0;
        if (point.weights[i] == 0.0f && turned == 0.0) continue;
        out.joints[out.count] = point.joints[i];
        out.along[out.count] = static_cast<double>(point.weights[i]);
        out.turned[out.count++] = turned;
    }
    return out;
}

template <typename Number>
void spread(const Spread& point, const Number* of_joints, double& x, double& y) {
    x = y = 0.0;
    for (int i = 0; i < point.count; ++i) {
        const double jx = of_joints[2 * point.joints[i]], jy = of_joints[2 * point.joints[i] + 1];
        x += point.along[i] * jx - point.turned[i] * jy;
        y += point.along[i] * jy + point.turned[i] * jx;
    }
}

// Solves the symmetric `matrix` x = `right` by Cholesky's method, in place, and reads the upper half only. A pivot that
// is no positive number counts as 1, so that the result is finite. All inner loops run along rows.
inline void solve(double (*matrix)[kMostUnknowns], double* right, int size) {
    for (int k = 0; k < size; ++k) {
        double* row = matrix[k];
        const double root = std::sqrt(row[k] > 0.0 ? row[k] : 1.0), inverse = 1.0 / root;
        row[k] = root;
        for (int j = k + 1; j < size; ++j) row[j] *= inverse;
        right[k] *= inverse;
        for (int i = k + 1; i < size; ++i) {
            const double factor = row[i];
            if (factor == 0.0) continue;  // arms and legs meet in the torso only
            for (int j = i; j < size; ++j) matrix[i][j] -= factor * row[j];
            right[i] -= factor * right[k];
        }
    }
    for (int i = size - 1; i >= 0; --i) {
        double sum = right[i];
        for (int k = i + 1; k < size; ++k) sum -= matrix[i][k] * right[k];
        right[i] = sum / matrix[i][i];
    }
}

// The flow of a point as evidence: its information about the displacement is a matrix, small along an edge.
struct Evidence {
    double xx, xy, yy;
    double weight, check, misfit;
};

inline Evidence evidence_of(const Flow& flow, double scale, double shrink) {
    Evidence out{};
    if (!std::isfinite(flow.check)) return {0.0, 0.0, 0.0, 0.0, kWorstCheck, kWorstCheck};
    const double unit = shrink * shrink, xx = flow.xx * unit, xy = flow.xy * unit, yy = flow.yy * unit;
    const double largest = (xx + yy) / 2 + std::sqrt((xx - yy) * (xx - yy) / 4 + xy * xy);
    out.xx = xx / (largest + kGradient);
    out.xy = xy / (largest + kGradient);
    out.yy = yy / (largest + kGradient);
    out.check = std::min(static_cast<double>(flow.check) / scale, kWorstCheck);
    const double share = out.check / kCheckUnit;
    out.weight = 1.0 / (1.0 + share * share);
    return out;
}

struct Equations {
    double matrix[kMostUnknowns][kMostUnknowns];
    double right[kMostUnknowns];

    void add(const Spread& point, const Evidence& evidence, double weight, const Flow& flow) {
        const double xx = evidence.xx * weight, xy = evidence.xy * weight, yy = evidence.yy * weight;
        const double fx = xx * flow.x + xy * flow.y, fy = xy * flow.x + yy * flow.y;
        for (int a = 0; a < point.count; ++a) {
            const double p = point.along[a], q = point.turned[a];
            // The rows of x and y in the columns of this joint are (p, -q) and (q, p).
            const double left[2][2] = {{p * xx + q * xy, p * xy + q * yy}, {p * xy - q * xx, p * yy - q * xy}};
            const int i = 2 * point.joints[a];
            right[i] += p * fx + q * fy;
            right[i + 1] += p * fy - q * fx;
            for (int b = 0; b < point.count; ++b) {
                if (point.joints[b] < point.joints[a]) continue;  // the lower half, which nobody reads
                const double r = point.along[b], s = point.turned[b];
                const int j = 2 * point.joints[b];
                for (int k = 0; k < 2; ++k) {
                    matrix[i + k][j] += left[k][0] * r + left[k][1] * s;
                    matrix[i + k][j + 1] += left[k][1] * r - left[k][0] * s;
                }
            }
        }
    }
};

// The median flow of points around the person; none where too few are found again.
inline void camera_motion(const Levels& before, const Levels& after, const float* pose, int64_t joints, float scale,
                          Flow* flows, float* camera) {
    float left = pose[0], right = pose[0], top = pose[1], bottom = pose[1];
    for (int64_t j = 1; j < joints; ++j) {
        left = std::min(left, pose[2 * j]);
        right = std::max(right, pose[2 * j]);
        top = std::min(top, pose[2 * j + 1]);
        bottom = std::max(bottom, pose[2 * j + 1]);
    }
    const float margin = kCameraMargin * scale;
    left -= margin, right += margin, top -= margin, bottom += margin;
    float points[kCameraPoints][2], guesses[kCameraPoints][2];
    constexpr int kSide = kCameraPoints / 4;
    for (int i = 0; i < kCameraPoints; ++i) {
        const float share = (static_cast<float>(i % kSide) + 0.5f) / kSide;
        const float x = left + share * (right - left), y = top + share * (bottom - top);
        points[i][0] = i < kSide ? left : i < 2 * kSide ? right : x;
        points[i][1] = i < 2 * kSide ? y : i < 3 * kSide ? top : bottom;
        guesses[i][0] = guesses[i][1] = 0.0f;
    }
    follow_points(before, after, points[0], guesses[0], kCameraPoints, flows);
    float xs[kCameraPoints], ys[kCameraPoints];
    int count = 0;
    for (int i = 0; i < kCameraPoints; ++i)
        if (flows[i].check < kCheckUnit * scale) {
            xs[count] = flows[i].x;
            ys[count++] = flows[i].y;
        }
    camera[0] = camera[1] = 0.0f;
    if (count < kSide) return;
    std::nth_element(xs, xs + count / 2, xs + count);
    std::nth_element(ys, ys + count / 2, ys + count);
    camera[0] = xs[count / 2];
    camera[1] = ys[count / 2];
}

// The distance between a flow and the joints' motion in the directions that the point sees, in body scales.
inline double misfit_of(const Spread& point, const Evidence& evidence, const Flow& flow, const double* motion,
                        double scale) {
    double x, y;
    spread(point, motion, x, y);
    x -= flow.x;
    y -= flow.y;
    return std::sqrt(std::max(0.0, evidence.xx * x * x + 2 * evidence.xy * x * y + evidence.yy * y * y)) / scale;
}

// How much each joint's points agree with each other and with the way back.
inline void judge(const Body& body, const Spread* spreads, const Evidence* evidence, float* out) {
    double sums[kMostJoints][4] = {};
    for (int64_t i = 0; i < body.count; ++i)
        for (int a = 0; a < spreads[i].count; ++a) {
            double* sum = sums[spreads[i].joints[a]];
            const double share = std::fabs(spreads[i].along[a]), information = (evidence[i].xx + evidence[i].yy) / 2;
            sum[0] += share;
            sum[1] += share * evidence[i].check;
            sum[2] += share * std::min(evidence[i].misfit, kWorstCheck);
            const double misfit = evidence[i].misfit / kMisfitUnit;
            sum[3] += share * evidence[i].weight / (1.0 + misfit * misfit) * information;
        }
    for (int64_t j = 0; j < body.joints; ++j) {
        const double total = sums[j][0], support = total > 0.0 ? sums[j][3] / total : 0.0;
        // Where nothing is seen, nothing disagrees: on a blank wall misfit is the worst.
        const double blind = std::max(0.0, 1.0 - support / kLittleSupport);
        const double misfit = (total > 0.0 ? sums[j][2] / total : kWorstCheck) + blind * blind * kWorstCheck;
        out[kEvidence * j] = static_cast<float>(total > 0.0 ? sums[j][1] / total : kWorstCheck);
        out[kEvidence * j + 1] = static_cast<float>(std::min(misfit, kWorstCheck));
        out[kEvidence * j + 2] = static_cast<float>(support);
    }
}

// How the joints are expected to move: relative to the background as before. The camera's motion becomes the present one.
inline void expect(const Levels& first, const Levels& second, const Body& body, float scale, Glance& glance, Flow* flows,
                   double* expected) {
    const float earlier[2] = {glance.camera[0], glance.camera[1]};
    camera_motion(first, second, glance.pose, body.joints, scale, flows, glance.camera);
    for (int64_t i = 0; i < 2 * body.joints; ++i) {
        const float now = glance.camera[i % 2], before = std::isfinite(earlier[i % 2]) ? earlier[i % 2] : now;
        expected[i] = static_cast<double>(now + kPersistence * (glance.velocity[i] - before));
    }
}

// How much a point counts that may lie on the background: one that goes with it where the body should go elsewhere.
inline double foreground(const Flow& flow, const float* guess, const float* camera, double scale) {
    const double x = (flow.x - camera[0]) / scale, y = (flow.y - camera[1]) / scale;
    const double ex = (guess[0] - camera[0]) / scale, ey = (guess[1] - camera[1]) / scale;
    const double own = x * x + y * y + kStill * kStill;
    return own / (own + ex * ex + ey * ey);
}

// Where the body's points are, and how they are expected to move.
inline void place_points(const Body& body, const Glance& glance, const double* expected, float scale, Spread* spreads,
                         float (*points)[2], float (*guesses)[2]) {
    for (int64_t i = 0; i < body.count; ++i) {
        const BodyPoint& point = body.points[i];
        spreads[i] = spread_of(point, glance.pose, scale);
        double x, y;
        spread(spreads[i], glance.pose, x, y);
        points[i][0] = static_cast<float>(x) + point.right * scale;
        points[i][1] = static_cast<float>(y) + point.down * scale;
        spread(spreads[i], expected, x, y);
        guesses[i][0] = static_cast<float>(x);
        guesses[i][1] = static_cast<float>(y);
    }
}

inline void follow_body(const Pyramid& before, const Pyramid& after, const Body& body, float scale, Glance& glance) {
    Flow flows[kMostPoints];
    float points[kMostPoints][2], guesses[kMostPoints][2];
    Spread spreads[kMostPoints];
    Evidence evidence[kMostPoints];
    const Levels first(before), second(after);
    const int unknowns = static_cast<int>(2 * body.joints);
    double motion[kMostUnknowns], expected[kMostUnknowns];
    expect(first, second, body, scale, glance, flows, expected);
    place_points(body, glance, expected, scale, spreads, points, guesses);
    follow_points(first, second, points[0], guesses[0], body.count, flows);
    for (int64_t i = 0; i < body.count; ++i) {
        evidence[i] = evidence_of(flows[i], scale, static_cast<double>(before.shape.shrink));
        evidence[i].weight *= foreground(flows[i], guesses[i], glance.camera, scale);
    }
    Equations equations;
    for (int round = 0; round < kRounds; ++round) {
        for (int i = 0; i < unknowns; ++i) {
            std::fill(equations.matrix[i], equations.matrix[i] + unknowns, 0.0);
            equations.matrix[i][i] = kPrior;
            equations.right[i] = kPrior * expected[i];
        }
        for (int64_t i = 0; i < body.count; ++i) {
            if (!(evidence[i].weight > 0.0)) continue;
            const double share = round ? evidence[i].misfit / kMisfitUnit : 0.0;
            equations.add(spreads[i], evidence[i], evidence[i].weight / (1.0 + share * share), flows[i]);
        }
        solve(equations.matrix, equations.right, unknowns);
        std::copy(equations.right, equations.right + unknowns, motion);
        for (int64_t i = 0; i < body.count; ++i)
            if (evidence[i].weight > 0.0) evidence[i].misfit = misfit_of(spreads[i], evidence[i], flows[i], motion, scale);
    }
    judge(body, spreads, evidence, glance.evidence);
    for (int i = 0; i < unknowns; ++i) {
        glance.pose[i] += static_cast<float>(motion[i]);
        glance.velocity[i] = static_cast<float>(motion[i]);
    }
}

}  // namespace
}  // namespace mixsynth
