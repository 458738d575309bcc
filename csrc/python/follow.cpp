// A glance for Python: the part of a picture around a person, and the joints followed from one to the next.
#include "python/follow.h"

#include <limits>

#include "glance.h"
#include "python/workspaces.h"

namespace mixsynth::python {
namespace {

constexpr float kLargestNumber = 100.0f;
constexpr int64_t kLargestPicture = 1 << 16, kLargestShrink = 64;

int64_t number_in(const std::string& name, const py::handle& value, int64_t low, int64_t high) {
    const int64_t number = whole_number(name, value);
    if (number < low || number > high)
        throw py::value_error(name + " must be from " + std::to_string(low) + " to " + std::to_string(high) +
                              ", found " + std::to_string(number));
    return number;
}

// The plane in an array [H, W] or [H, W, 3] of uint8 or uint16, whose rows may lie apart.
Plane plane_of(const py::object& luma, int64_t bits) {
    if (!py::isinstance<py::array>(luma)) throw py::type_error("luma must be a numpy array, found " + description(luma));
    const auto array = py::reinterpret_borrow<py::array>(luma);
    const bool is_wide = bits > 8;
    if (is_wide ? !py::isinstance<py::array_t<uint16_t>>(luma) : !py::isinstance<py::array_t<uint8_t>>(luma))
        throw py::type_error("luma of " + std::to_string(bits) + " bits must be " + (is_wide ? "uint16" : "uint8") +
                             ", found " + std::string(py::str(array.dtype())));
    const Shape sizes(array.shape(), array.shape() + array.ndim());
    const bool is_rgb = sizes.size() == 3 && sizes[2] == 3;
    if ((sizes.size() != 2 && !is_rgb) || sizes[0] < 1 || sizes[1] < 1 || sizes[0] > kLargestPicture ||
        sizes[1] > kLargestPicture)
        throw py::value_error("luma must have shape [H, W], or [H, W, 3] for rgb, of 1 to 65536 pixels, found " +
                              shape_text(sizes));
    const py::ssize_t bytes = is_wide ? 2 : 1, channels = is_rgb ? 3 : 1;
    if ((is_rgb && array.strides(2) != bytes) || array.strides(1) != channels * bytes ||
        array.strides(0) < sizes[1] * channels * bytes || array.strides(0) % bytes ||
        !(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
        throw py::value_error("luma must have contiguous rows, one below the other; pass numpy.ascontiguousarray(luma)");
    return {array.data(), sizes[1], sizes[0], array.strides(0), static_cast<int>(bits), static_cast<int>(channels)};
}

class PyramidOfPlane {
  public:
    PyramidOfPlane(const py::object& luma, const py::object& box, const py::object& shrink, const py::object& bits)
        : simd_bits_(mixsynth::simd_bits(allowed_bits())) {
        const Plane plane = plane_of(luma, number_in("bits", bits, 1, 16));
        const int64_t size = number_in("shrink", shrink, 1, kLargestShrink);
        if (!py::isinstance<py::sequence>(box) || py::isinstance<py::str>(box) || py::len(box) != 4)
            throw py::type_error("box must be (left, top, right, bottom), found " + description(box));
        int64_t edges[4];
        for (size_t i = 0; i < 4; ++i) {
            const int64_t edge = whole_number("box[" + std::to_string(i) + "]", box[py::int_(i)]);
            edges[i] = std::clamp<int64_t>(edge, 0, kLargestPicture);
        }
        shape_ = mixsynth::pyramid_shape(plane.width, plane.height, edges[0], edges[1], edges[2], edges[3], size);
        numbers_ = allocate(mixsynth::pyramid_size(shape_));
        py::gil_scoped_release unlocked;
        mixsynth::make_pyramid(plane, shape_, numbers_.get(), simd_bits_);
    }

    Pyramid view() const { return {shape_, numbers_.get()}; }
    int simd_bits() const { return simd_bits_; }

    py::tuple box() const {
        return py::make_tuple(shape_.left, shape_.top, shape_.left + shape_.width * shape_.shrink,
                              shape_.top + shape_.height * shape_.shrink);
    }

  private:
    int simd_bits_;
    PyramidShape shape_;
    Memory numbers_;
};

void check_pair(const PyramidOfPlane& before, const PyramidOfPlane& after) {
    const int64_t first = before.view().shape.shrink, second = after.view().shape.shrink;
    if (first != second)
        throw py::value_error("both pyramids must have the same shrink, found " + std::to_string(first) + " and " +
                              std::to_string(second));
}

py::array_t<float> flow_between(const PyramidOfPlane& before, const PyramidOfPlane& after, const py::object& points,
                                const py::object& guesses) {
    check_pair(before, after);
    const float* from = floats_of("points", points, {-1, 2});
    const int64_t count = py::reinterpret_borrow<py::array>(points).shape(0);
    const float* guess = floats_of("guesses", guesses, {count, 2});
    static_assert(sizeof(Flow) == 6 * sizeof(float), "a Flow is six floats");
    py::array_t<float> out(Shape{count, 6});
    auto* flows = reinterpret_cast<Flow*>(out.mutable_data());
    py::gil_scoped_release unlocked;
    mixsynth::flow(before.view(), after.view(), from, guess, count, flows, before.simd_bits());
    return out;
}

class BodyOfPoints {
  public:
    BodyOfPoints(const py::object& joints, const py::object& indices, const py::object& numbers)
        : joints_(number_in("joints", joints, 1, kMostJoints)) {
        const float* rows = floats_of("numbers", numbers, {-1, 7});
        const int64_t count = py::reinterpret_borrow<py::array>(numbers).shape(0);
        number_in("the number of points", py::int_(count), 1, kMostPoints);
        for (int64_t i = 0; i < 7 * count; ++i)
            if (std::fabs(rows[i]) > kLargestNumber)
                throw py::value_error("numbers must be within 100, found " + std::to_string(rows[i]) + " in row " +
                                      std::to_string(i / 7));
        if (!py::isinstance<py::array_t<int32_t>>(indices))
            throw py::type_error("indices must be a numpy array of int32, found " + description(indices));
        const auto table = py::array_t<int32_t, py::array::c_style>::ensure(indices);
        if (!table || table.ndim() != 2 || table.shape(0) != count || table.shape(1) != 4)
            throw py::value_error("indices must have shape " + shape_text({count, 4}) + ", a row for each point");
        for (int64_t i = 0; i < count; ++i) {
            BodyPoint point{};
            for (int k = 0; k < 4; ++k) {
                point.joints[k] = table.at(i, k);
                if (point.joints[k] < 0 || point.joints[k] >= joints_)
                    throw py::value_error("indices must be from 0 to " + std::to_string(joints_ - 1) + ", found " +
                                          std::to_string(point.joints[k]) + " in row " + std::to_string(i));
                point.weights[k] = rows[7 * i + k];
            }
            point.across = rows[7 * i + 4];
            point.right = rows[7 * i + 5];
            point.down = rows[7 * i + 6];
            points_.push_back(point);
        }
    }

    py::tuple follow(const PyramidOfPlane& before, const PyramidOfPlane& after, const py::object& pose,
                     const py::object& velocity, const py::object& scale, const py::object& camera) const {
        check_pair(before, after);
        const float size = size_of(scale);
        const float* places = pixels_of("pose", pose);
        const float* speeds = pixels_of("velocity", velocity);
        py::array_t<float> next(Shape{joints_, 2}), motion(Shape{joints_, 2}), evidence(Shape{joints_, kEvidence});
        std::copy(places, places + 2 * joints_, next.mutable_data());
        std::copy(speeds, speeds + 2 * joints_, motion.mutable_data());
        Glance glance{next.mutable_data(), motion.mutable_data(), evidence.mutable_data(), {NAN, NAN}};
        if (!camera.is_none()) {
            const float* earlier = floats_of("camera", camera, {2});
            std::copy(earlier, earlier + 2, glance.camera);
        }
        {
            py::gil_scoped_release unlocked;
            const Body body{joints_, points_.data(), static_cast<int64_t>(points_.size())};
            mixsynth::follow(before.view(), after.view(), body, size, glance, before.simd_bits());
        }
        py::array_t<float> background(Shape{2});
        std::copy(glance.camera, glance.camera + 2, background.mutable_data());
        return py::make_tuple(next, motion, evidence, background);
    }

  private:
    static float size_of(const py::object& scale) {
        if (!PyFloat_Check(scale.ptr()) && !PyLong_Check(scale.ptr()))
            throw py::type_error("scale must be a float, found " + description(scale));
        const double size = PyFloat_AsDouble(scale.ptr());
        if (PyErr_Occurred()) PyErr_Clear();
        if (!(size >= 1.0 && size <= static_cast<double>(kLargestPicture)))
            throw py::value_error("scale must be from 1 to 65536 pixels, found " + description(scale));
        return static_cast<float>(size);
    }

    // Two numbers for each joint, which no sum below takes out of a float's range.
    const float* pixels_of(const std::string& name, const py::object& value) const {
        const float* numbers = floats_of(name, value, {joints_, 2});
        constexpr float kFar = 16.0f * static_cast<float>(kLargestPicture);
        for (int64_t i = 0; i < 2 * joints_; ++i)
            if (std::fabs(numbers[i]) > kFar)
                throw py::value_error(name + " must be within " + std::to_string(static_cast<int64_t>(kFar)) +
                                      " pixels, found " + std::to_string(numbers[i]));
        return numbers;
    }

    int64_t joints_;
    std::vector<BodyPoint> points_;
};

}  // namespace

void add_glance(py::module_& module) {
    py::class_<PyramidOfPlane>(module, "Pyramid", "The part of a picture's luma around a person, in four sizes.")
        .def(py::init<const py::object&, const py::object&, const py::object&, const py::object&>(), py::arg("luma"),
             py::arg("box"), py::arg("shrink"), py::arg("bits") = 8,
             "luma [H, W], or rgb [H, W, 3]: uint8, or uint16 for more than 8 bits; rows may lie apart. `box`: left, "
             "top, right, bottom in pixels. `shrink`: pixels of the picture a pixel of the first level.")
        .def_property_readonly("box", &PyramidOfPlane::box, "The part of the picture that it covers.");
    module.def("flow", &flow_between, py::arg("before"), py::arg("after"), py::arg("points"), py::arg("guesses"),
               "points [K, 2] and guesses of their displacements [K, 2], float32, in pixels -> [K, 6]: displacement x, "
               "y; squared gradients xx, xy, yy; the forward-backward check, infinite for a lost point.");
    py::class_<BodyOfPoints>(module, "Body", "The points of a body that are followed, as mixtures of its joints.")
        .def(py::init<const py::object&, const py::object&, const py::object&>(), py::arg("joints"),
             py::arg("indices"), py::arg("numbers"),
             "`indices` [K, 4] int32: the joints of each point. `numbers` [K, 7] float32: their weights; how far across "
             "the line of the first two, right and down, in body scales.")
        .def("follow", &BodyOfPoints::follow, py::arg("before"), py::arg("after"), py::arg("pose"),
             py::arg("velocity"), py::arg("scale"), py::arg("camera") = py::none(),
             "pose [J, 2], its step from the picture before [J, 2] and the background's [2] (None: as the next), float32, "
             "in pixels -> pose and step in the next picture, evidence [J, 3] (check, misfit, support), background's step.");
}

}  // namespace mixsynth::python
