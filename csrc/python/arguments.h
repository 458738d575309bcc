// Arguments from Python: each is checked once, and the message names it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "mixsynth.h"

namespace mixsynth::python {

namespace py = pybind11;

using Shape = std::vector<py::ssize_t>;

inline std::string shape_text(const Shape& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
}

// Type and value for a message, at most 80 characters of the value.
inline std::string description(const py::handle& value) {
    const auto ascii = py::reinterpret_steal<py::object>(PyObject_ASCII(value.ptr()));
    if (!ascii) throw py::error_already_set();
    return std::string(py::str(py::type::of(value).attr("__name__"))) + " " + std::string(py::str(ascii)).substr(0, 80);
}

inline int64_t whole_number(const std::string& name, const py::handle& value) {
    const auto integer = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!integer) {
        PyErr_Clear();
        throw py::type_error(name + " must be a whole number, found " + description(value));
    }
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
    if (overflow) throw py::value_error(name + " is far out of range, found " + description(value));
    return number;
}

// Infinity and NaN are the floats whose exponent is all ones. The loop never ends early, so that a compiler checks
// several floats at once.
inline bool all_finite(const float* numbers, int64_t count) {
    constexpr uint32_t kExponent = 0x7f800000u;
    uint32_t not_finite = 0;
    for (int64_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, numbers + i, sizeof bits);
        not_finite |= (bits & kExponent) == kExponent;
    }
    return !not_finite;
}

// Training allows any number: there the loss reports NaN, once and for the whole network.
enum class Numbers { kFinite, kAny };

// The numbers of `value`, which must be a C-contiguous, aligned float32 array of `shape`; -1 means any size.
inline const float* floats_of(const std::string& name, const py::handle& value, const Shape& shape,
                              Numbers allowed = Numbers::kFinite) {
    if (!py::isinstance<py::array>(value))
        throw py::type_error(name + " must be a numpy array, found " + description(value));
    const auto array = py::reinterpret_borrow<py::array>(value);
    if (!py::isinstance<py::array_t<float>>(value))
        throw py::type_error(name + " must be float32, found " + std::string(py::str(array.dtype())));
    const Shape sizes(array.shape(), array.shape() + array.ndim());
    bool fits = sizes.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == sizes[i];
    if (!fits) throw py::value_error(name + " must have shape " + shape_text(shape) + ", found " + shape_text(sizes));
    if (!(array.flags() & py::array::c_style))
        throw py::value_error(name + " must be C-contiguous; pass numpy.ascontiguousarray(" + name + ")");
    if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
        throw py::value_error(name + " must lie at a multiple of 4 bytes; pass " + name + ".copy()");
    const auto* numbers = static_cast<const float*>(array.data());
    if (allowed == Numbers::kFinite && !all_finite(numbers, array.size())) {
        const auto* first = std::find_if(numbers, numbers + array.size(), [](float x) { return !std::isfinite(x); });
        throw py::value_error(name + " must be finite, found " + std::to_string(*first) + " at number " +
                              std::to_string(first - numbers));
    }
    return numbers;
}

// Reads weights by their published names from a dict of arrays. It keeps a reference to each array, because a subclass
// of dict may make a new one at every access.
class State {
  public:
    State(const py::object& arrays, const Dimensions& dims, Numbers allowed = Numbers::kFinite)
        : arrays_(dict_of(arrays)), dims_(dims), allowed_(allowed) {}

    Linear linear(const std::string& name, int64_t inputs, int64_t outputs) {
        return {array(name + ".weight", {outputs, inputs}), array(name + ".bias", {outputs})};
    }
    Linear norm(const std::string& name) {
        return {array(name + ".weight", {dims_.emb_dim}), array(name + ".bias", {dims_.emb_dim})};
    }
    // `prefix` stands before the layer's names, as in "encoder.layers.0.".
    Layer layer(const std::string& prefix) {
        const int64_t T = dims_.tokens(), C = dims_.emb_dim;
        const std::string synth_att = prefix + "synth_att.";
        return {attention(synth_att + "synth_token", C, T, dims_.reduce_token),
                attention(synth_att + "synth_channel", T, C, dims_.reduce_channel),
                linear(synth_att + "reweight.fc1", T, T / 4),
                linear(synth_att + "reweight.fc2", T / 4, 2 * T),
                linear(synth_att + "proj", C, C),
                linear(prefix + "ff.fc1", C, dims_.hidden()),
                linear(prefix + "ff.fc2", dims_.hidden(), C),
                norm(prefix + "norm1"),
                norm(prefix + "norm2")};
    }

  private:
    static py::dict dict_of(const py::object& arrays) {
        if (!py::isinstance<py::dict>(arrays))
            throw py::type_error("state must be a dict of numpy arrays, found " + description(arrays));
        return py::reinterpret_borrow<py::dict>(arrays);
    }
    SyntheticAttention attention(const std::string& name, int64_t width, int64_t length, int64_t reduce) {
        return {linear(name + ".dense", width, length / reduce),
                array(name + ".se.fc.0.weight", {length / 4, length}),
                array(name + ".se.fc.2.weight", {length, length / 4}),
                linear(name + ".value_reduce", length, length / reduce)};
    }
    const float* array(const std::string& name, const Shape& shape) {
        if (!arrays_.contains(name)) throw py::value_error("state lacks " + name);
        references_.emplace_back(arrays_[name.c_str()]);
        return floats_of("state['" + name + "']", references_.back(), shape, allowed_);
    }

    const py::dict arrays_;
    const Dimensions dims_;
    const Numbers allowed_;
    std::vector<py::object> references_;
};

// Dimensions by the names that Python gives them.
inline constexpr std::pair<const char*, int64_t Dimensions::*> kDimensions[] = {
    {"sample_interval", &Dimensions::sample_interval},
    {"step", &Dimensions::step},
    {"joint_dim", &Dimensions::joint_dim},
    {"emb_dim", &Dimensions::emb_dim},
    {"num_encoder_layers", &Dimensions::num_encoder_layers},
    {"horizon", &Dimensions::horizon},
    {"expansion_factor", &Dimensions::expansion_factor},
    {"reduce_token", &Dimensions::reduce_token},
    {"reduce_channel", &Dimensions::reduce_channel},
};

inline Dimensions dimensions_of(const py::kwargs& arguments) {
    Dimensions dims{};
    const py::dict rest(arguments.attr("copy")());
    for (const auto& [name, dimension] : kDimensions) {
        if (!rest.contains(name)) throw py::type_error(std::string(name) + " is missing");
        dims.*dimension = whole_number(name, rest.attr("pop")(name));
    }
    if (!rest.empty()) throw py::type_error("there is no dimension named " + std::string(py::str(rest.begin()->first)));
    return dims;
}

// Returns `dims`. Throws ValueError with `problem` and all dimensions, unless `problem` is nullptr.
inline const Dimensions& without_problem(const Dimensions& dims, const char* problem) {
    if (problem) {
        std::string numbers;
        for (const auto& [name, dimension] : kDimensions)
            numbers += (numbers.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(dims.*dimension);
        throw py::value_error(std::string(problem) + "; found " + numbers);
    }
    return dims;
}

// Bits of the widest registers that the environment variable MIXSYNTH_SIMD allows.
inline int allowed_bits() {
    const char* text = std::getenv("MIXSYNTH_SIMD");
    if (!text) return 512;
    for (const int bits : {128, 256, 512})
        if (std::to_string(bits) == text) return bits;
    throw py::value_error("the environment variable MIXSYNTH_SIMD must be 128, 256 or 512, found '" +
                          std::string(text) + "'; unset it to use the widest registers of this processor");
}

// Bits of the registers to use; None means the widest that the processor has and the environment allows.
inline int register_bits(const py::object& request) {
    if (request.is_none()) return mixsynth::simd_bits(allowed_bits());
    const int64_t bits = whole_number("simd_bits", request);
    const int widest = mixsynth::simd_bits();
    if ((bits != 128 && bits != 256 && bits != 512) || bits > widest)
        throw py::value_error("simd_bits must be 128, 256 or 512 and no wider than this processor's " +
                              std::to_string(widest) + ", found " + std::to_string(bits));
    return static_cast<int>(bits);
}

// Raises ValueError for a window whose motion is not finite although its keyframes and the weights are.
[[noreturn]] inline void refuse_overflow(int64_t window, const float* keyframes, int64_t count) {
    float largest = 0.0f;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(keyframes[i]));
    char size[32];
    std::snprintf(size, sizeof size, "%.2g", static_cast<double>(largest));
    throw py::value_error("keyframes must be so small that nothing overflows float32 in the network, found up to " +
                          std::string(size) + " in window " + std::to_string(window) +
                          "; check their unit, and the weights if the keyframes are right");
}

// The weights of a network by their published names, which live as long as this.
class NetworkState {
  public:
    NetworkState(const py::object& arrays, const Dimensions& dims) : state_(arrays, dims) {
        for (int64_t i = 0; i < dims.num_encoder_layers; ++i)
            layers_.push_back(state_.layer("encoder.layers." + std::to_string(i) + "."));
        weights_ = {state_.linear("l_interp", dims.keyframes(), dims.tokens()),
                    state_.linear("encoder_emb", dims.joint_dim, dims.emb_dim), state_.norm("norm"),
                    state_.linear("fc", dims.emb_dim, dims.joint_dim), layers_.data()};
    }
    const Weights& weights() const { return weights_; }

  private:
    State state_;
    std::vector<Layer> layers_;
    Weights weights_{};
};

// Keyframes [B, Q+1, D] of a call, checked.
struct Keyframes {
    const float* numbers;
    int64_t batch;
};

inline Keyframes keyframes_of(const Dimensions& dims, const py::object& keyframes) {
    const float* numbers = floats_of("keyframes", keyframes, {-1, dims.keyframes(), dims.joint_dim});
    return {numbers, py::reinterpret_borrow<py::array>(keyframes).shape(0)};
}

// Motion [B, T, D] that run(motion) writes, without Python's lock. Raises ValueError where it is not finite.
template <class Run>
py::array_t<float> motion_of(const Dimensions& dims, const Keyframes& keyframes, Run run) {
    const int64_t batch = keyframes.batch, in_size = dims.keyframes() * dims.joint_dim,
                  out_size = dims.tokens() * dims.joint_dim;
    py::array_t<float> motion(Shape{batch, dims.tokens(), dims.joint_dim});
    float* out = motion.mutable_data();
    bool is_finite = false;
    {
        py::gil_scoped_release unlocked;
        run(out);
        is_finite = all_finite(out, batch * out_size);
    }
    for (int64_t b = 0; !is_finite && b < batch; ++b)
        if (!all_finite(out + b * out_size, out_size)) refuse_overflow(b, keyframes.numbers + b * in_size, in_size);
    return motion;
}

}  // namespace mixsynth::python
