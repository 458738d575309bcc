// mixsynth_stream._cuda: the encoder on a card. A library of its own, so that the package needs no driver.
#include <optional>

#include "cuda/launch.h"
#include "python/arguments.h"

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

// An array in memory of a card, as its owner describes it (CUDA Array Interface, version 2 or 3).
struct CardArray {
    float* numbers;
    Shape shape;
    std::optional<uintptr_t> stream;  // on which its owner writes it
};

CardArray card_array_of(const std::string& name, const py::handle& value, const Shape& shape,
                        const card::Encoder& encoder) {
    const py::dict facts = value.attr("__cuda_array_interface__");
    const std::string type = py::str(facts["typestr"]);
    if (type != "<f4" && type != "=f4") throw py::type_error(name + " must be float32, found " + type);
    CardArray array{};
    for (const py::handle size : py::tuple(facts["shape"])) array.shape.push_back(size.cast<py::ssize_t>());
    bool fits = array.shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == array.shape[i];
    if (!fits)
        throw py::value_error(name + " must have shape " + shape_text(shape) + ", found " + shape_text(array.shape));
    if (facts.contains("strides") && !facts["strides"].is_none()) {
        py::ssize_t expected = sizeof(float);
        const py::tuple strides(facts["strides"]);
        for (size_t i = shape.size(); i-- > 0; expected *= array.shape[i])
            if (array.shape[i] > 1 && strides[i].cast<py::ssize_t>() != expected)
                throw py::value_error(name + " must be C-contiguous; pass a contiguous copy");
    }
    array.numbers = reinterpret_cast<float*>(py::tuple(facts["data"])[0].cast<uintptr_t>());
    if (facts.contains("stream") && !facts["stream"].is_none()) array.stream = facts["stream"].cast<uintptr_t>();
    if (array.shape[0] == 0) return array;
    if (const std::string problem = encoder.problem_with(array.numbers); !problem.empty())
        throw py::value_error(name + " must lie in memory of device " + std::to_string(encoder.device().number) + ", " +
                              problem);
    return array;
}

class Encoder {
  public:
    Encoder(const Dimensions& dims, const py::object& arrays, const py::object& precision, const py::object& device)
        : dims_(without_problem(dims, mixsynth::check(dims))) {
        State state(arrays, dims);
        std::vector<Layer> layers;
        for (int64_t i = 0; i < dims.num_encoder_layers; ++i)
            layers.push_back(state.layer("encoder.layers." + std::to_string(i) + "."));
        const Weights weights{state.linear("l_interp", dims.keyframes(), dims.tokens()),
                              state.linear("encoder_emb", dims.joint_dim, dims.emb_dim), state.norm("norm"),
                              state.linear("fc", dims.emb_dim, dims.joint_dim), layers.data()};
        const auto number = static_cast<int>(whole_number("device", device));
        encoder_ = std::make_unique<card::Encoder>(dims, weights, precision_of(precision), number);
    }

    py::array_t<float> forward(const py::object& keyframes) {
        const float* in = floats_of("keyframes", keyframes, {-1, dims_.keyframes(), dims_.joint_dim});
        const int64_t batch = py::reinterpret_borrow<py::array>(keyframes).shape(0);
        const int64_t in_size = dims_.keyframes() * dims_.joint_dim, out_size = dims_.tokens() * dims_.joint_dim;
        py::array_t<float> motion(Shape{batch, dims_.tokens(), dims_.joint_dim});
        float* out = motion.mutable_data();
        bool is_finite = false;
        {
            py::gil_scoped_release unlocked;
            encoder_->forward_on_host(in, batch, out);
            is_finite = all_finite(out, batch * out_size);
        }
        for (int64_t b = 0; !is_finite && b < batch; ++b)
            if (!all_finite(out + b * out_size, out_size)) refuse_overflow(b, in + b * in_size, in_size);
        return motion;
    }

    void forward_on_card(const py::object& keyframes, const py::object& out, const py::object& stream) {
        const CardArray in = card_array_of("keyframes", keyframes, {-1, dims_.keyframes(), dims_.joint_dim}, *encoder_);
        const CardArray motion =
            card_array_of("out", out, {in.shape[0], dims_.tokens(), dims_.joint_dim}, *encoder_);
        const uintptr_t queue = stream.is_none() ? in.stream.value_or(0)
                                                 : static_cast<uintptr_t>(whole_number("stream", stream));
        py::gil_scoped_release unlocked;
        encoder_->forward(in.numbers, in.shape[0], motion.numbers, reinterpret_cast<void*>(queue));
    }

    const std::string& device() const { return encoder_->device().name; }

  private:
    const Dimensions dims_;
    std::unique_ptr<card::Encoder> encoder_;
};

}  // namespace
}  // namespace mixsynth::python

PYBIND11_MODULE(_cuda, module) {
    using namespace mixsynth::python;
    using mixsynth::card::CudaError;
    module.doc() = "MixSynthFormer on an NVIDIA card. mixsynth_stream.backend is the way to use it.";
    py::register_exception<CudaError>(module, "CudaError", PyExc_RuntimeError);
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
    py::class_<Encoder>(module, "Encoder", "One network with its weights on a card.")
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
        .def("forward_on_card", &Encoder::forward_on_card, py::arg("keyframes"), py::kw_only(), py::arg("out"),
             py::arg("stream") = py::none(),
             "The same for arrays on the card that have `__cuda_array_interface__` (torch, CuPy, Numba): keyframes "
             "[B, Q+1, D] -> out [B, T, D]. It is queued on `stream`, a cudaStream_t as a number, or on the stream that "
             "keyframes names, or on the default one. Nothing is allocated or waited for, so it can be captured.");
}
