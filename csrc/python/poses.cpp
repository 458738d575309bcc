// Curves and glimpses for Python. They keep the arrays that they are made of, and read them anew at each call.
#include "python/poses.h"

#include "curve.h"
#include "glimpses.h"

namespace mixsynth::python {
namespace {

constexpr int64_t kMostSteps = 1 << 20, kMostNumbers = 1 << 26;

// C-contiguous and aligned: converted where they are not.
constexpr int kPlain = py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
template <typename Number>
using Plain = py::array_t<Number, kPlain>;
using Doubles = Plain<double>;

// The numbers of `value`, an array of `shape`; -1 means any size. `kinds` are those of its dtype that are right.
template <typename Number>
Plain<Number> array_of(const std::string& name, const py::object& value, const Shape& shape, const char* kinds) {
    if (!py::isinstance<py::array>(value))
        throw py::type_error(name + " must be a numpy array, found " + description(value));
    const auto array = py::reinterpret_borrow<py::array>(value);
    if (!std::strchr(kinds, array.dtype().kind()))
        throw py::type_error(name + " must hold numbers, found " + std::string(py::str(array.dtype())));
    const Shape sizes(array.shape(), array.shape() + array.ndim());
    bool fits = sizes.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == sizes[i];
    if (!fits) throw py::value_error(name + " must have shape " + shape_text(shape) + ", found " + shape_text(sizes));
    // An array that repeats one row without end would not fit the memory.
    if (array.size() > kMostNumbers)
        throw py::value_error(name + " must hold at most " + std::to_string(kMostNumbers) + " numbers, found " +
                              std::to_string(array.size()));
    const auto plain = Plain<Number>::ensure(value);
    if (!plain) throw py::error_already_set();
    return plain;
}

Doubles doubles_of(const std::string& name, const py::object& value, const Shape& shape) {
    return array_of<double>(name, value, shape, "fiu");
}

int64_t steps_of(const std::string& name, const py::object& value, int64_t least) {
    const int64_t number = whole_number(name, value);
    if (number < least || number > kMostSteps)
        throw py::value_error(name + " must be from " + std::to_string(least) + " to " + std::to_string(kMostSteps) +
                              ", found " + std::to_string(number));
    return number;
}

void check_growing(const std::string& name, const double* numbers, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
        if (!std::isfinite(numbers[i]) || (i && !(numbers[i] > numbers[i - 1])))
            throw py::value_error(name + " must be finite and grow, found " + std::to_string(numbers[i]) + " at number " +
                                  std::to_string(i));
}

// Arrays that an object reads for as long as it lives.
class Kept {
  public:
    const double* numbers(const std::string& name, const py::object& value, const Shape& shape) {
        arrays_.push_back(doubles_of(name, value, shape));
        return last().data();
    }
    const Doubles& last() const { return arrays_.back(); }

  private:
    std::vector<Doubles> arrays_;
};

// M finite times.
Doubles times_of(const py::object& value) {
    Doubles times = doubles_of("times_s", value, {-1});
    for (py::ssize_t m = 0; m < times.size(); ++m)
        if (!std::isfinite(times.data()[m]))
            throw py::value_error("times_s must be finite, found " + std::to_string(times.data()[m]));
    return times;
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
        curve_.sighting_s = kept_.numbers("sighting_s", sighting_s, {-1, -1});
        curve_.sightings = kept_.last().shape(0);
        const int64_t J = curve_.joints = kept_.last().shape(1), D = curve_.dims;
        curve_.rows = kept_.numbers("rows", rows, {-1, J * D + J});
        const int64_t K = curve_.keyframes = kept_.last().shape(0);
        if (K < 1) throw py::value_error("rows must be those of one keyframe or more, found none");
        curve_.knot_s = kept_.numbers("knot_s", knot_s, {K + 1});
        curve_.knot_steps = kept_.numbers("knot_steps", knot_steps, {K + 1});
        check_growing("knot_s", curve_.knot_s, K + 1);
        for (int64_t k = 0; k <= K; ++k)
            if (!(curve_.knot_steps[k] >= (k ? curve_.knot_steps[k - 1] : 0.0) &&
                  curve_.knot_steps[k] <= static_cast<double>(T - 1)))
                throw py::value_error("knot_steps must grow from 0 or more to " + std::to_string(T - 1) + ", found " +
                                      std::to_string(curve_.knot_steps[k]));
        if (!(rate_hz > 0.0 && std::isfinite(rate_hz)))
            throw py::value_error("rate_hz must be positive, found " + std::to_string(rate_hz));
        curve_.moves = moves.is_none() ? nullptr : kept_.numbers("moves", moves, {T, J * D});
        curve_.sigma = sigma.is_none() ? nullptr : kept_.numbers("sigma", sigma, {T, J});
        curve_.offset = offset.is_none() ? nullptr : kept_.numbers("offset", offset, {J, D});
        curve_.scale = scale;
        curve_.bridge_s[0] = bridge_s.first;
        curve_.bridge_s[1] = bridge_s.second;
        curve_.rate_hz = rate_hz;
        curve_.same_time_s = same_time_s;
        curve_.wide_gap_s = wide_gap_s;
    }

    py::tuple at(const py::object& times_s) const {
        const Doubles times = times_of(times_s);
        const int64_t M = times.shape(0);
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
    Kept kept_;
    Curve curve_{};
};

class GlimpsesOfArrays {
  public:
    GlimpsesOfArrays(const py::object& time_s, const py::object& poses, const py::object& sigma,
                     const py::object& followed, double trust, double worth, double no_sigma_share, double jitter,
                     std::pair<double, double> newest_s, double velocity_s, double same_time_s) {
        glimpses_.time_s = kept_.numbers("time_s", time_s, {-1});
        const int64_t G = glimpses_.count = kept_.last().shape(0);
        if (G < 1) throw py::value_error("time_s must hold one glimpse or more, found none");
        glimpses_.sigma = kept_.numbers("sigma", sigma, {G, -1});
        const int64_t C = glimpses_.joints = kept_.last().shape(1);
        glimpses_.poses = kept_.numbers("poses", poses, {G, C, 2});
        followed_ = array_of<bool>("followed", followed, {G, C}, "b");
        glimpses_.followed = reinterpret_cast<const uint8_t*>(followed_.data());
        glimpses_.trust = trust;
        glimpses_.worth = worth;
        glimpses_.no_sigma_share = no_sigma_share;
        glimpses_.jitter = jitter;
        glimpses_.newest_s[0] = newest_s.first;
        glimpses_.newest_s[1] = newest_s.second;
        glimpses_.velocity_s = velocity_s;
        glimpses_.same_time_s = same_time_s;
    }

    py::tuple at(const py::object& times_s, const py::object& poses, const py::object& sigma) const {
        const Doubles times = times_of(times_s);
        const int64_t rows = times.shape(0), M = rows - 2, C = glimpses_.joints;
        if (M < 0) throw py::value_error("times_s must end with two times of glimpses, found " + shape_text({rows}));
        const Doubles places = doubles_of("poses", poses, {rows, C, 2});
        Doubles sigmas;
        if (!sigma.is_none()) sigmas = doubles_of("sigma", sigma, {rows, C});
        py::array_t<double> offsets(Shape{M, C, 2}), fused(Shape{sigma.is_none() ? 0 : M, C});
        py::array_t<bool> followed(Shape{M, C});
        const GlimpsedWindow window{M, times.data(), places.data(), sigma.is_none() ? nullptr : sigmas.data()};
        corrections_at(glimpses_, window,
                       {offsets.mutable_data(), fused.mutable_data(), reinterpret_cast<uint8_t*>(followed.mutable_data())});
        return py::make_tuple(offsets, sigma.is_none() ? py::object(py::none()) : py::object(fused), followed);
    }

  private:
    Kept kept_;
    Plain<bool> followed_;
    Glimpses glimpses_{};
};

}  // namespace

void add_poses(py::module_& module) {
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
    py::class_<GlimpsesOfArrays>(module, "Glimpses", "One person followed in the pictures between keyframes.")
        .def(py::init<const py::object&, const py::object&, const py::object&, const py::object&, double, double, double,
                      double, std::pair<double, double>, double, double>(),
             py::kw_only(), py::arg("time_s"), py::arg("poses"), py::arg("sigma"), py::arg("followed"), py::arg("trust"),
             py::arg("worth"), py::arg("no_sigma_share"), py::arg("jitter"), py::arg("newest_s"), py::arg("velocity_s"),
             py::arg("same_time_s"), "Arrays and numbers, as csrc/glimpses.h names them.")
        .def("at", &GlimpsesOfArrays::at, py::arg("times_s"), py::arg("poses"), py::arg("sigma"),
             "times_s [M + 2], and the window's poses [M + 2, C, 2] and sigma [M + 2, C] or None -> offsets [M, C, 2], "
             "sigma [M, C] or None, followed [M, C].");
}

}  // namespace mixsynth::python
