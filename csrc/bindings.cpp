// mixsynth_stream._C: everything from Python is checked here, once, and named in the message.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "mixsynth.h"

namespace py = pybind11;

namespace {

using Shape = std::vector<py::ssize_t>;

std::string text(const Shape& shape) {
    std::string out = "[";
    for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
    return out + "]";
}

// The numbers of `value`, which must be a finite, C-contiguous float32 array of `shape`; -1 there stands for any size.
const float* checked(const std::string& name, const py::handle& value, const Shape& shape) {
    if (!py::isinstance<py::array>(value))
        throw py::type_error(name + " must be a numpy array, found " + std::string(py::str(py::type::of(value))));
    const auto array = py::reinterpret_borrow<py::array>(value);
    if (!py::isinstance<py::array_t<float>>(value))
        throw py::type_error(name + " must be float32, found " + std::string(py::str(array.dtype())));
    const Shape found(array.shape(), array.shape() + array.ndim());
    bool fits = found.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == found[i];
    if (!fits) throw py::value_error(name + " must have shape " + text(shape) + ", found " + text(found));
    if (!(array.flags() & py::array::c_style))
        throw py::value_error(name + " must be C-contiguous; pass numpy.ascontiguousarray(" + name + ")");
    const auto* numbers = static_cast<const float*>(array.data());
    for (py::ssize_t i = 0; i < array.size(); ++i)
        if (!std::isfinite(numbers[i]))
            throw py::value_error(name + " must be finite, found " + std::to_string(numbers[i]) + " at number " +
                                  std::to_string(i));
    return numbers;
}

// Reads the published names out of a dict of arrays.
class State {
  public:
    State(const py::dict& arrays, const mixsynth::Dimensions& dims) : arrays_(arrays), d_(dims) {}

    mixsynth::Linear linear(const std::string& name, int64_t inputs, int64_t outputs) const {
        return {array(name + ".weight", {outputs, inputs}), array(name + ".bias", {outputs})};
    }
    mixsynth::Linear norm(const std::string& name) const {
        return {array(name + ".weight", {d_.emb_dim}), array(name + ".bias", {d_.emb_dim})};
    }
    mixsynth::Layer layer(const std::string& name) const {
        const int64_t T = d_.tokens(), C = d_.emb_dim;
        const std::string mixed = name + ".synth_att.";
        return {attention(mixed + "synth_token", C, T, d_.reduce_token),
                attention(mixed + "synth_channel", T, C, d_.reduce_channel),
                linear(mixed + "reweight.fc1", T, T / 4),
                linear(mixed + "reweight.fc2", T / 4, 2 * T),
                linear(mixed + "proj", C, C),
                linear(name + ".ff.fc1", C, d_.hidden()),
                linear(name + ".ff.fc2", d_.hidden(), C),
                norm(name + ".norm1"),
                norm(name + ".norm2")};
    }

  private:
    mixsynth::SyntheticAttention attention(const std::string& name, int64_t width, int64_t length,
                                           int64_t reduce) const {
        return {linear(name + ".dense", width, length / reduce),
                array(name + ".se.fc.0.weight", {length / 4, length}),
                array(name + ".se.fc.2.weight", {length, length / 4}),
                linear(name + ".value_reduce", length, length / reduce)};
    }
    const float* array(const std::string& name, const Shape& shape) const {
        if (!arrays_.contains(name)) throw py::value_error("state lacks " + name);
        return checked("state['" + name + "']", arrays_[name.c_str()], shape);
    }

    const py::dict& arrays_;
    const mixsynth::Dimensions& d_;
};

class Encoder {
  public:
    Encoder(const mixsynth::Dimensions& dims, const py::dict& arrays) : dims_(dims) {
        if (const char* problem = mixsynth::check(dims)) throw py::value_error(problem);
        if (!mixsynth::environment_fits())
            throw py::value_error("the environment variable MIXSYNTH_SIMD must be 128, 256 or 512, found '" +
                                  std::string(std::getenv("MIXSYNTH_SIMD")) +
                                  "'; unset it to use the widest registers of this processor");
        const State state(arrays, dims);
        std::vector<mixsynth::Layer> layers;
        for (int64_t i = 0; i < dims.num_encoder_layers; ++i)
            layers.push_back(state.layer("encoder.layers." + std::to_string(i)));
        const mixsynth::Weights weights{state.linear("l_interp", dims.keyframes(), dims.tokens()),
                                        state.linear("encoder_emb", dims.joint_dim, dims.emb_dim),
                                        state.norm("norm"), state.linear("fc", dims.emb_dim, dims.joint_dim),
                                        layers.data()};
        packed_.resize(mixsynth::packed_size(dims));
        workspace_.resize(mixsynth::workspace_size(dims));
        mixsynth::pack(dims, weights, packed_.data());
    }

    py::array_t<float> forward(const py::object& keyframes) {
        const float* in = checked("keyframes", keyframes, {-1, dims_.keyframes(), dims_.joint_dim});
        const int64_t batch = py::reinterpret_borrow<py::array>(keyframes).shape(0);
        py::array_t<float> motion(Shape{batch, dims_.tokens(), dims_.joint_dim});
        float* out = motion.mutable_data();
        {
            py::gil_scoped_release unlocked;
            // Threads that share an encoder share its workspace, so they take turns.
            const std::lock_guard<std::mutex> turn(mutex_);
            mixsynth::forward(dims_, packed_.data(), in, batch, out, workspace_.data());
        }
        return motion;
    }

  private:
    mixsynth::Dimensions dims_;
    std::vector<float> packed_, workspace_;
    std::mutex mutex_;
};

}  // namespace

PYBIND11_MODULE(_C, module) {
    module.doc() = "MixSynthFormer in C++ (see mixsynth_stream.backend, which is how it is meant to be used).";
    module.def("simd_bits", &mixsynth::simd_bits, "Bits of the registers that the encoder uses here: 128, 256 or 512.");
    module.def("fma_peak", &mixsynth::fma_peak, "Multiplications and additions a second of this core, measured.");
    py::class_<Encoder>(module, "Encoder", "One network with its weights and its scratch memory.")
        .def(py::init([](int64_t sample_interval, int64_t step, int64_t joint_dim, int64_t emb_dim,
                         int64_t num_encoder_layers, int64_t horizon, int64_t expansion_factor, int64_t reduce_token,
                         int64_t reduce_channel, const py::dict& state) {
                 return std::make_unique<Encoder>(
                     mixsynth::Dimensions{sample_interval, step, horizon, joint_dim, emb_dim, num_encoder_layers,
                                          expansion_factor, reduce_token, reduce_channel},
                     state);
             }),
             py::kw_only(), py::arg("sample_interval"), py::arg("step"), py::arg("joint_dim"), py::arg("emb_dim"),
             py::arg("num_encoder_layers"), py::arg("horizon"), py::arg("expansion_factor"), py::arg("reduce_token"),
             py::arg("reduce_channel"), py::arg("state"),
             "Copies the weights: `state` is a published state_dict as float32 arrays.")
        .def("forward", &Encoder::forward, py::arg("keyframes"), "keyframes [B, Q+1, D] -> motion [B, T, D], float32");
}
