// crop() from Python: its arguments are checked here.
#pragma once

#include "crop.h"
#include "python/arguments.h"

namespace mixsynth::python {

// So far from the picture, in pixels, nothing but its border is sampled; coordinates stay small enough for fixed point.
constexpr double kFarthest = 1e7;
constexpr int64_t kLargestCrop = 4096;

inline double coordinate_of(const std::string& name, const py::object& value) {
    const double number = PyFloat_AsDouble(value.ptr());
    if (PyErr_Occurred()) {
        PyErr_Clear();
        throw py::type_error(name + " must be a number of pixels, found " + description(value));
    }
    if (!(std::abs(number) <= kFarthest))
        throw py::value_error(name + " must lie within 1e7 pixels, found " + description(value));
    return number;
}

inline py::array_t<uint8_t> crop(const py::object& rgb, const py::object& x, const py::object& y,
                                 const py::object& right_x, const py::object& right_y, const py::object& size) {
    if (!py::isinstance<py::array_t<uint8_t>>(rgb))
        throw py::type_error("rgb must be a numpy array of uint8, found " + description(rgb));
    const auto picture = py::reinterpret_borrow<py::array>(rgb);
    const Shape shape(picture.shape(), picture.shape() + picture.ndim());
    if (shape.size() != 3 || shape[2] != 3 || shape[0] < 1 || shape[1] < 1)
        throw py::value_error("rgb must have shape [H, W, 3], found " + shape_text(shape));
    if (picture.strides(2) != 1 || picture.strides(1) != 3)
        throw py::value_error("the pixels of a row of rgb must lie side by side; pass numpy.ascontiguousarray(rgb)");
    const int64_t side = whole_number("size", size);
    if (side < 1 || side > kLargestCrop)
        throw py::value_error("size must lie in 1..4096, found " + std::to_string(side));
    const Square square{coordinate_of("x", x), coordinate_of("y", y), coordinate_of("right_x", right_x),
                        coordinate_of("right_y", right_y)};
    py::array_t<uint8_t> square_rgb(Shape{side, side, 3});
    const auto* pixels = static_cast<const uint8_t*>(picture.data());
    uint8_t* out = square_rgb.mutable_data();
    {
        py::gil_scoped_release unlocked;
        mixsynth::crop(pixels, picture.strides(0), shape[1], shape[0], square, side, out);
    }
    return square_rgb;
}

}  // namespace mixsynth::python
