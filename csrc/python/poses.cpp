// A curve for Python. It keeps the arrays that it is made of, and reads them anew at each call.
#include "python/poses.h"

#include "curve.h"

namespace mixsynth::python {
namespace {

constexpr int64_t kMostSteps = 1 << 20;

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

// The numbers of `value` as a C-contiguous float64 array of `shape`; -1 means any size.
Doubles doubles_of(const std::string& name, const py::object& value, const Shape& shape) {
    if (!py::isinstance<py::array>(value))
        throw py::type_error(name + " must be a numpy array, found " + description(value));
    const auto kind = py::reinterpret_borrow<py::array>(value).dtype().kind();
    if (kind != 'f' && kind != 'i' && kind != 'u')
        throw py::type_error(name + " must hold numbers, found " +
                             std::string(py::str(py::reinterpret_borrow<py::array>(value).dtype())));
    const auto array = Doubles::ensure(value);
    if (!array) throw py::error_already_set();
    const Shape sizes(array.shape(), array.shape() + array.ndim());
    bool fits = sizes.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == sizes[i];
    if (!fits) throw py::value_error(name + " must have shape " + shape_text(shape) + ", found " + shape_text(sizes));
    return array;
}

int64_t steps_of(const std::string& name, const py::object& value, int64_t least) {
    const int64_t number = whole_number(name, value);
    if (number < least || number > kMostSteps)
        throw py::value_error(name + " must be from " + std::to_string(least) + " to " + std::to_string(kMostSteps) +
                              ", found " + std::to_string(number));
    return number;
}

class CurveOfArrays {
  public:
    CurveOfArrays(const py::object& knot_s, const py::object& knot_steps, const py::object& rows,
                  const py::object& sighting_s, const py::object& moves, double scale, const py::object& sigma,
                  const py::object& offset, std::pair<double, double> bridge_s, const py::object& interval,
                  const py::object& newest, const py::object& horizon, double rate_hz, double same_time_s,
                  double wide_gap_s, const py::object& dims) {
        curve_.dims = steps_of("dims", dims, 1);
        curve_.interval = steps_of("interval", interval, 1);
        curve_.newest = steps_of("newest", newest, 1);
        curve_.horizon = steps_of("horizon", horizon, 0);
        const int64_t T = curve_.newest + 1 + curve_.horizon;
        curve_.sighting_s = numbers("sighting_s", sighting_s, {-1, -1});
        curve_.sightings = arrays_.back().shape(0);
        const int64_t J = curve_.joints = arrays_.back().shape(1), D = curve_.dims;
        curve_.rows = numbers("rows", rows, {-1, J * D + J});
        const int64_t K = curve_.keyframes = arrays_.back().shape(0);
        if (K < 1) throw py::value_error("rows must be those of one keyframe or more, found none");
        curve_.knot_s = numbers("knot_s", knot_s, {K + 1});
        curve_.knot_steps = numbers("knot_steps", knot_steps, {K + 1});
        for (int64_t k = 0; k <= K; ++k)
            if (!(curve_.knot_steps[k] >= 0.0 && curve_.knot_steps[k] <= static_cast<double>(T - 1)))
                throw py::value_error("knot_steps must be from 0 to " + std::to_string(T - 1) + ", found " +
                                      std::to_string(curve_.knot_steps[k]));
        curve_.moves = moves.is_none() ? nullptr : numbers("moves", moves, {T, J * D});
        curve_.sigma = sigma.is_none() ? nullptr : numbers("sigma", sigma, {T, J});
        curve_.offset = offset.is_none() ? nullptr : numbers("offset", offset, {J, D});
        curve_.scale = scale;
        curve_.bridge_s[0] = bridge_s.first;
        curve_.bridge_s[1] = bridge_s.second;
        curve_.rate_hz = rate_hz;
        curve_.same_time_s = same_time_s;
        curve_.wide_gap_s = wide_gap_s;
    }

    py::tuple at(const py::object& times_s) const {
        const Doubles times = doubles_of("times_s", times_s, {-1});
        const int64_t M = times.shape(0);
        for (int64_t m = 0; m < M; ++m)
            if (!std::isfinite(times.data()[m]))
                throw py::value_error("times_s must be finite, found " + std::to_string(times.data()[m]));
        py::array_t<double> poses(Shape{M, curve_.joints, curve_.dims}), scores(Shape{M, curve_.joints});
        py::array_t<uint8_t> origin(Shape{M, curve_.joints});
        if (!curve_.sigma) {
            curve_at(curve_, times.data(), M,
                     {poses.mutable_data(), scores.mutable_data(), origin.mutable_data(), nullptr});
            return py::make_tuple(poses, scores, origin, py::none());
        }
        py::array_t<double> sigma(Shape{M, curve_.joints});
        curve_at(curve_, times.data(), M,
                 {poses.mutable_data(), scores.mutable_data(), origin.mutable_data(), sigma.mutable_data()});
        return py::make_tuple(poses, scores, origin, sigma);
    }

  private:
    const double* numbers(const std::string& name, const py::object& value, const Shape& shape) {
        arrays_.push_back(doubles_of(name, value, shape));
        return arrays_.back().data();
    }

    std::vector<Doubles> arrays_;
    Curve curve_{};
};

}  // namespace

void add_curve(py::module_& module) {
    py::class_<CurveOfArrays>(module, "Curve", "What a window knows of one person, as a function of time.")
        .def(py::init<const py::object&, const py::object&, const py::object&, const py::object&, const py::object&,
                      double, const py::object&, const py::object&, std::pair<double, double>, const py::object&,
                      const py::object&, const py::object&, double, double, double, const py::object&>(),
             py::kw_only(), py::arg("knot_s"), py::arg("knot_steps"), py::arg("rows"), py::arg("sighting_s"),
             py::arg("moves"), py::arg("scale"), py::arg("sigma"), py::arg("offset"), py::arg("bridge_s"),
             py::arg("interval"), py::arg("newest"), py::arg("horizon"), py::arg("rate_hz"), py::arg("same_time_s"),
             py::arg("wide_gap_s"), py::arg("dims"),
             "Arrays of numbers, and numbers, as csrc/curve.h names them; `moves`, `sigma` and `offset` may be None. The "
             "arrays are kept, not copied, where they are C-contiguous float64.")
        .def("at", &CurveOfArrays::at, py::arg("times_s"),
             "times_s [M] -> poses [M, J, D], scores [M, J], origin [M, J] uint8, sigma [M, J] or None.");
}

}  // namespace mixsynth::python
