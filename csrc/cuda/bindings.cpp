// mixsynth_stream._cuda: the encoder on a card. A library of its own, so that the package needs no driver.
#include "cuda/arrays.h"

namespace mixsynth::python {
namespace {

card::Precision precision_of(const py::object& value) {
    if (py::isinstance<py::str>(value)) {
        const std::string name = py::str(value);
        if (name == "strict") return card::Precision::kStrict;
        if (name == "tf32") return card::Precision::kTf32;
        if (name == "bf16") return card::Precision::kBf16;
    }
    throw py::value_error("precision must be strict, tf32 or bf16, found " + description(value));
}

class Encoder {
  public:
    Encoder(const Dimensions& dims, const py::object& arrays, const py::object& precision, const py::object& device)
        : dims_(without_problem(dims, mixsynth::check(dims))) {
        const NetworkState state(arrays, dims);
        const auto number = static_cast<int>(whole_number("device", device));
        encoder_ = std::make_shared<card::Encoder>(dims, state.weights(), precision_of(precision), number);
    }

    py::array_t<float> forward(const py::object& keyframes) {
        const Keyframes in = keyframes_of(dims_, keyframes);
        return motion_of(dims_, in, [&](float* out) { encoder_->forward_on_host(in.numbers, in.batch, out); });
    }

    // The encoder's own motion where `out` is None, else `out`.
    py::object forward_on_card(const py::object& keyframes, const py::object& out, const py::object& stream) {
        card::require_usable();
        const Shape in_shape{-1, dims_.keyframes(), dims_.joint_dim};
        cudaStream_t queue = stream.is_none() ? nullptr : stream_of(stream);
        const CardArray in = card_array_of("keyframes", keyframes, in_shape, *encoder_, queue);
        if (stream.is_none() && in.stream) queue = *in.stream;
        const int64_t batch = in.shape[0], T = dims_.tokens(), D = dims_.joint_dim;
        CardArray motion;
        py::object result = out;
        if (out.is_none()) {
            auto own = std::make_unique<CardMotion>(encoder_, std::array<int64_t, 3>{batch, T, D}, queue);
            motion.numbers = own->numbers();
            result = py::cast(std::move(own));
        } else {
            motion = card_array_of("out", out, {batch, T, D}, *encoder_, queue);
            if (motion.is_read_only) throw py::value_error("out must be writable, found an array that is read-only");
            if (batch > 0 && in.numbers < motion.numbers + motion.size() && motion.numbers < in.numbers + in.size())
                throw py::value_error("out must not overlap keyframes, which are read to the end; pass other memory");
        }
        const auto others = {in.stream, motion.stream};
        {
            py::gil_scoped_release unlocked;
            for (const auto& other : others)
                if (other) encoder_->order(*other, queue);
            encoder_->forward(in.numbers, batch, motion.numbers, queue);
            // Their owners may go on with both afterwards.
            for (const auto& other : others)
                if (other) encoder_->order(queue, *other);
        }
        return result;
    }

    const std::string& device() const { return encoder_->device().name; }

  private:
    const Dimensions dims_;
    std::shared_ptr<card::Encoder> encoder_;
};

}  // namespace
}  // namespace mixsynth::python

PYBIND11_MODULE(_cuda, module) {
    using namespace mixsynth::python;
    using mixsynth::card::CudaError;
    module.doc() = "MixSynthFormer on an NVIDIA card. mixsynth_stream.backend is the way to use it.";
    py::register_local_exception<CudaError>(module, "CudaError", PyExc_RuntimeError);
    module.def(
        "devices",
        [] {
            py::list names;
            for (const auto& device : mixsynth::card::devices())
                names.append(device.name + " (compute capability " + std::to_string(device.major) + "." +
                             std::to_string(device.minor) + ")");
            return names;
        },
        "Names of the cards, by number. `CudaError` says why where there is none.");
    module.def("broken", &mixsynth::card::broken,
               "Why CUDA takes no more work from this process; empty while it does. It is so after a kernel has failed.");
    py::class_<Encoder>(module, "Encoder", py::module_local(), "One network with its weights on a card.")
        .def(py::init([](const py::object& state, const py::object& precision, const py::object& device,
                         const py::kwargs& dimensions) {
                 return std::make_unique<Encoder>(dimensions_of(dimensions), state, precision, device);
             }),
             py::kw_only(), py::arg("state"), py::arg("precision") = "strict", py::arg("device") = 0,
             "The dimensions are those of `ModelConfig`. `state` is a published state_dict as float32 arrays; the "
             "weights are copied. `precision` is that of products' operands: strict (as exact as fp32), tf32 or bf16.")
        .def_property_readonly("device", &Encoder::device, "Name of the card.")
        .def("forward", &Encoder::forward, py::arg("keyframes"),
             "keyframes [B, Q+1, D] -> motion [B, T, D], float32 numpy arrays, finite. Any number of Python's threads "
             "may call at once. `ValueError` names what does not fit or overflows, `CudaError` what the card refuses.")
        .def("forward_on_card", &Encoder::forward_on_card, py::arg("keyframes"), py::kw_only(),
             py::arg("out") = py::none(), py::arg("stream") = py::none(),
             "The same for float32 arrays on the card that have `__dlpack__` or `__cuda_array_interface__` (torch, CuPy, "
             "Numba, JAX): keyframes [B, Q+1, D] -> out [B, T, D], which is returned, or a new array. It is queued on "
             "`stream`, a cudaStream_t as a number, or on the stream that keyframes name, or on the default one; streams "
             "that the arrays name wait for it. With `out` nothing is allocated or waited for, so it can be captured; "
             "the encoder must then live as long as the graph. Numbers are not looked at: what is not finite passes through.");
    py::class_<CardMotion>(module, "CardMotion", py::module_local(),
                           "Motion [B, T, D] on a card, float32. torch.from_dlpack() takes it, and its kin.")
        .def_property_readonly("shape", &CardMotion::shape)
        .def_property_readonly("__cuda_array_interface__", &CardMotion::interface)
        .def("__dlpack_device__", &CardMotion::place)
        // The version is that of the oldest kind, which everybody takes.
        .def(
            "__dlpack__",
            [](const CardMotion& motion, const py::object& stream, const py::object&, const py::object& device,
               const py::object& copy) { return motion.dlpack(stream, device, copy); },
            py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
            py::arg("dl_device") = py::none(), py::arg("copy") = py::none());
}
