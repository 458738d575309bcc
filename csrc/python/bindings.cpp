// mixsynth_stream._C: the encoder, and a layer in training.
#include "python/arguments.h"

namespace {

class Encoder {
  public:
    Encoder(const mixsynth::Dimensions& dims, const py::object& arrays, const py::object& bits)
        : dims_(buildable(dims, mixsynth::check(dims))), bits_(chosen_bits(bits)),
          workspaces_(mixsynth::workspace_size(dims)) {
        State state(arrays, dims);
        std::vector<mixsynth::Layer> layers;
        for (int64_t i = 0; i < dims.num_encoder_layers; ++i)
            layers.push_back(state.layer("encoder.layers." + std::to_string(i) + "."));
        const mixsynth::Weights weights{state.linear("l_interp", dims.keyframes(), dims.tokens()),
                                        state.linear("encoder_emb", dims.joint_dim, dims.emb_dim),
                                        state.norm("norm"), state.linear("fc", dims.emb_dim, dims.joint_dim),
                                        layers.data()};
        packed_ = allocate(mixsynth::packed_size(dims));
        mixsynth::pack(dims, weights, packed_.get());
    }

    py::array_t<float> forward(const py::object& keyframes, const py::object& threads) {
        const float* in = checked("keyframes", keyframes, {-1, dims_.keyframes(), dims_.joint_dim});
        const int64_t batch = py::reinterpret_borrow<py::array>(keyframes).shape(0);
        const int64_t used = threads_of(threads, batch);
        const int64_t taken = dims_.keyframes() * dims_.joint_dim, made = dims_.tokens() * dims_.joint_dim;
        py::array_t<float> motion(Shape{batch, dims_.tokens(), dims_.joint_dim});
        float* out = motion.mutable_data();
        bool right = false;
        {
            py::gil_scoped_release unlocked;
            // As few parts as can be: weights are read once for several windows.
            in_threads(used, used, batch, workspaces_, [&](int64_t, int64_t first, int64_t count, float* workspace) {
                mixsynth::forward(dims_, packed_.get(), in + first * taken, count, out + first * made, workspace,
                                  bits_);
            });
            right = finite(out, batch * made);
        }
        for (int64_t b = 0; !right && b < batch; ++b)
            if (!finite(out + b * made, made)) refuse_overflow(b, in + b * taken, taken);
        return motion;
    }

    int simd_bits() const { return bits_; }

  private:
    const mixsynth::Dimensions dims_;
    const int bits_;
    Memory packed_;
    Workspaces workspaces_;
};

// An encoder layer in training: its weights are given anew in every call.
class TrainedLayer {
  public:
    TrainedLayer(const mixsynth::Dimensions& dims, const py::object& bits)
        : dims_(buildable(dims, mixsynth::check_training(dims))), bits_(chosen_bits(bits)),
          workspaces_(mixsynth::layer_workspace_size(dims)) {}

    py::array_t<float> forward(const py::object& x, const py::object& state, const py::object& threads) {
        const float* in = checked("x", x, {-1, dims_.tokens(), dims_.emb_dim}, Numbers::kAny);
        const int64_t batch = py::reinterpret_borrow<py::array>(x).shape(0), used = threads_of(threads, batch);
        const Memory packed = pack(state);
        py::array_t<float> result(Shape{batch, dims_.tokens(), dims_.emb_dim});
        float* out = result.mutable_data();
        {
            py::gil_scoped_release unlocked;
            const auto part = [&](int64_t, int64_t first, int64_t count, float* workspace) {
                const int64_t at = first * dims_.tokens() * dims_.emb_dim;
                mixsynth::layer_forward(dims_, packed.get(), in + at, count, out + at, workspace, bits_);
            };
            in_threads(used, parts_of(batch), batch, workspaces_, part);
        }
        return result;
    }

    py::list names() const {
        py::list found;
        for (const mixsynth::Gradient& of : mixsynth::gradients_by_name(dims_, nullptr)) found.append(of.name);
        return found;
    }

    std::pair<py::array_t<float>, py::dict> backward(const py::object& x, const py::object& d_out,
                                                     const py::object& state, const py::object& threads) {
        const float* in = checked("x", x, {-1, dims_.tokens(), dims_.emb_dim}, Numbers::kAny);
        const int64_t batch = py::reinterpret_borrow<py::array>(x).shape(0), used = threads_of(threads, batch);
        const float* d_in = checked("d_out", d_out, {batch, dims_.tokens(), dims_.emb_dim}, Numbers::kAny);
        const Memory packed = pack(state);
        // Every part has its own: the sum is the same whichever thread took which.
        const size_t size = mixsynth::layer_gradients_size(dims_);
        const int64_t parts = std::max<int64_t>(parts_of(batch), 1);
        std::vector<float> gradients(size * static_cast<size_t>(parts));
        py::array_t<float> d_x(Shape{batch, dims_.tokens(), dims_.emb_dim});
        float* out = d_x.mutable_data();
        {
            py::gil_scoped_release unlocked;
            const auto part = [&](int64_t i, int64_t first, int64_t count, float* workspace) {
                const int64_t at = first * dims_.tokens() * dims_.emb_dim;
                mixsynth::layer_backward(dims_, packed.get(), in + at, d_in + at, count, out + at,
                                         gradients.data() + size * static_cast<size_t>(i), workspace, bits_);
            };
            in_threads(used, parts, batch, workspaces_, part);
            for (size_t of_part = size; of_part < gradients.size(); of_part += size)
                for (size_t i = 0; i < size; ++i) gradients[i] += gradients[of_part + i];
        }
        return {d_x, by_name(gradients.data())};
    }

  private:
    // So small that two threads end at nearly the same time, so large that gradients are seldom added up.
    static int64_t parts_of(int64_t batch) { return (batch + 7) / 8; }

    Memory pack(const py::object& arrays) const {
        State state(arrays, dims_, Numbers::kAny);
        const mixsynth::Layer layer = state.layer("");
        Memory packed = allocate(mixsynth::packed_layer_size(dims_));
        mixsynth::pack_layer(dims_, layer, packed.get());
        return packed;
    }

    py::dict by_name(float* gradients) const {
        py::dict found;
        for (const mixsynth::Gradient& from : mixsynth::gradients_by_name(dims_, gradients)) {
            const bool vector = from.columns == mixsynth::kVector;
            py::array_t<float> to(vector ? Shape{from.rows} : Shape{from.rows, from.columns});
            const int64_t columns = vector ? 1 : from.columns;
            for (int64_t i = 0; i < from.rows; ++i)
                std::copy_n(from.numbers + i * from.stride, columns, to.mutable_data() + i * columns);
            found[from.name.c_str()] = to;
        }
        return found;
    }

    const mixsynth::Dimensions dims_;
    const int bits_;
    Workspaces workspaces_;
};

}  // namespace

PYBIND11_MODULE(_C, module) {
    module.doc() = "MixSynthFormer in C++ (see mixsynth_stream.backend, which is how it is meant to be used).";
    module.def("simd_bits", [] { return chosen_bits(py::none()); },
               "Bits of the registers that encoders use unless told: 128, 256 or 512.");
    module.def("fma_peak", [](const py::object& bits) { return mixsynth::fma_peak(chosen_bits(bits)); },
               py::arg("simd_bits") = py::none(),
               "Multiplications and additions a second of this core in such registers, measured.");
    py::class_<Encoder>(module, "Encoder", "One network with its weights and its scratch memory.")
        .def(py::init([](const py::object& state, const py::object& simd_bits, const py::kwargs& dimensions) {
                 return std::make_unique<Encoder>(dimensions_of(dimensions), state, simd_bits);
             }),
             py::kw_only(), py::arg("state"), py::arg("simd_bits") = py::none(),
             "The dimensions are those of `ModelConfig`. Copies the weights: `state` is a published state_dict as "
             "float32 arrays. `simd_bits`: registers of 128, 256 or 512 bits instead of the widest.")
        .def_property_readonly("simd_bits", &Encoder::simd_bits, "Bits of the registers that it uses.")
        .def("forward", &Encoder::forward, py::arg("keyframes"), py::arg("threads") = 1,
             "keyframes [B, Q+1, D] -> motion [B, T, D], float32, finite. `threads` share the batch. Any number of "
             "Python's threads may call at once. `ValueError` names what does not fit, or overflows.");
    py::class_<TrainedLayer>(module, "TrainedLayer", "An encoder layer in training, without dropout.")
        .def(py::init([](const py::object& simd_bits, const py::kwargs& dimensions) {
                 return std::make_unique<TrainedLayer>(dimensions_of(dimensions), simd_bits);
             }),
             py::kw_only(), py::arg("simd_bits") = py::none(), "The dimensions are those of `ModelConfig`.")
        .def("forward", &TrainedLayer::forward, py::arg("x"), py::arg("state"), py::arg("threads") = 1,
             "x [B, T, C] -> [B, T, C]. `state`: the layer's weights by their published names, without a prefix.")
        .def_property_readonly("names", &TrainedLayer::names, "Published names of the weights that are used.")
        .def("backward", &TrainedLayer::backward, py::arg("x"), py::arg("d_out"), py::arg("state"),
             py::arg("threads") = 1,
             "x and the gradient of the layer's output -> the gradient of x, and those of the weights by name.");
}
