// A glance in C++17: the joints of one person followed from a picture to the next, without Python or an allocation.
//
//     const mixsynth::PyramidShape shape = mixsynth::pyramid_shape(plane, left, top, right, bottom, shrink);
//     std::vector<float> pyramid(mixsynth::pyramid_size(shape));
//     mixsynth::make_pyramid(plane, shape, pyramid.data());  // once a picture; likewise `next` of the next picture
//
//     mixsynth::Glance glance{pose, velocity, evidence};  // the joints in the first picture; changed to the next one
//     mixsynth::follow({shape, pyramid.data()}, {next_shape, next.data()}, body, scale, glance);
//
// csrc/README.md says how it is computed; tests/support/glance_reference.py says the same in numpy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mixsynth.h"

namespace mixsynth {

// The luma of a picture, or its red, green and blue side by side, of which luma is computed. Samples have one byte, or
// two for more than 8 bits; rows may be longer than the picture.
struct Plane {
    const void* samples;
    int64_t width, height, row_bytes;
    int bits;      // 1 to 16 of a sample
    int channels;  // 1 or 3
};

// The part of a picture around a person as squares of `shrink` pixels, which are the pixels of the first level.
struct PyramidShape {
    int64_t left, top;      // in pixels of the picture, multiples of the coarsest level's pixel
    int64_t width, height;  // in pixels of the first level; each further level has half of them
    int64_t shrink;
};
constexpr int kPyramidLevels = 4;

// The squares that cover the box, as far as the picture has them. Width and height are 0 where the box lies outside.
PyramidShape pyramid_shape(int64_t picture_width, int64_t picture_height, int64_t left, int64_t top, int64_t right,
                           int64_t bottom, int64_t shrink);
size_t pyramid_size(const PyramidShape& shape);  // in floats
void make_pyramid(const Plane& plane, const PyramidShape& shape, float* numbers, int bits = simd_bits());

struct Pyramid {
    PyramidShape shape;
    const float* numbers;
};

// Where the picture around a point went: by (x, y) pixels.
struct Flow {
    float x, y;
    float xx, xy, yy;  // mean squared gradients around it, in grey levels a pixel of the picture
    float check;       // pixels between the point and where the way back ends; infinite where the point was lost
};

// Pyramidal Lucas-Kanade for points [K, 2] in pixels of the picture, from guesses [K, 2] of their displacements.
void flow(const Pyramid& before, const Pyramid& after, const float* points, const float* guesses, int64_t count,
          Flow* flows, int bits = simd_bits());

// A point of the body: a weighted mean of joints, moved `across` the line from the first to the second joint, and by
// (right, down) in the picture; all three in body scales.
struct BodyPoint {
    int32_t joints[4];
    float weights[4];  // they add up to 1
    float across, right, down;
};
struct Body {
    int64_t joints;  // at most kMostJoints
    const BodyPoint* points;
    int64_t count;  // at most kMostPoints
};
constexpr int kMostJoints = 24, kMostPoints = 256;
constexpr int kEvidence = 3;

struct Glance {
    float* pose;      // [J, 2] pixels
    float* velocity;  // [J, 2] pixels from the picture before to this one
    float* evidence;  // [J, kEvidence], written only: check and misfit in body scales, and support
    float camera[2];  // how far the background moved with it, in pixels; NaN: as far as it will move now
};

// `scale` is the body scale in pixels. Where nothing is found again, joints go on as expected and the evidence is poor.
void follow(const Pyramid& before, const Pyramid& after, const Body& body, float scale, Glance& glance,
            int bits = simd_bits());

}  // namespace mixsynth
