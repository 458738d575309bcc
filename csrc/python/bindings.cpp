// mixsynth_stream._C: the encoder, an encoder layer in training, crops of pictures, the glance, and poses over time.
#include "python/arguments.h"
#include "python/follow.h"
#include "python/pictures.h"
#include "python/poses.h"
#include "python/workspaces.h"

namespace mixsynth::python {
namespace {

class Encoder {
  public:
    Encoder(const Dimensions& dims, const py::object& arrays, const py::object& bits)
        : dims_(without_problem(dims, mixsynth::check(dims))), bits_(register_bits(bits)),
          workspaces_(mixsynth::workspace_size(dims)) {
        packed_ = allocate(mixsynth::packed_size(dims));
        mixsynth::pack(dims, NetworkState(arrays, dims).weights(), packed_.get());
    }

    py::array_t<float> forward(const py::object& keyframes, const py::object& threads) {
        const Keyframes in = keyframes_of(dims_, keyframes);
        const int64_t thread_count = threads_of(threads, in.batch);
        const int64_t in_size = dims_.keyframes() * dims_.joint_dim, out_size = dims_.tokens() * dims_.joint_dim;
        return motion_of(dims_, in, [&](float* out) {
            const auto part = [&](int64_t, int64_t first, int64_t count, float* workspace) {
                mixsynth::forward(dims_, packed_.get(), in.numbers + first * in_size, count, out + first * out_size,
                                  workspace, bits_);
            };
            // One part a thread: the larger a part, the more windows share one reading of the weights.
            in_threads(thread_count, thread_count, in.batch, workspaces_, part);
        });
    }

    int simd_bits() const { return bits_; }

  private:
    const Dimensions dims_;
    const int bits_;
    Memory packed_;
    Workspaces workspaces_;
};

// An encoder layer in training. Every call takes its weights anew, because an optimiser changes them between calls.
class TrainedLayer {
  public:
    TrainedLayer(const Dimensions& dims, const py::object& bits)
        : dims_(without_problem(dims, mixsynth::check_training(dims))), bits_(register_bits(bits)),
          workspaces_(mixsynth::layer_workspace_size(dims)) {}

    py::array_t<float> forward(const py::object& x, const py::object& state, const py::object& threads,
                               const py::object& dropout, const py::object& seed) {
        const float* in = floats_of("x", x, {-1, dims_.tokens(), dims_.emb_dim}, Numbers::kAny);
        const Dropout whole = dropout_of(dropout, seed);
        const int64_t batch = py::reinterpret_borrow<py::array>(x).shape(0), thread_count = threads_of(threads, batch);
        const Memory packed = pack(state);
        py::array_t<float> result(Shape{batch, dims_.tokens(), dims_.emb_dim});
        float* out = result.mutable_data();
        {
            py::gil_scoped_release unlocked;
            const auto part = [&](int64_t, int64_t first, int64_t count, float* workspace) {
                const int64_t begin = first * dims_.tokens() * dims_.emb_dim;
                mixsynth::layer_forward(dims_, packed.get(), in + begin, count, out + begin, workspace, bits_,
                                        {whole.share, whole.seed, first});
            };
            in_threads(thread_count, parts_of(batch), batch, workspaces_, part);
        }
        return result;
    }

    py::list names() const {
        py::list list;
        for (const Gradient& gradient : mixsynth::gradients_by_name(dims_, nullptr)) list.append(gradient.name);
        return list;
    }

    std::pair<py::array_t<float>, py::dict> backward(const py::object& x, const py::object& d_out,
                                                     const py::object& state, const py::object& threads,
                                                     const py::object& dropout, const py::object& seed) {
        const float* in = floats_of("x", x, {-1, dims_.tokens(), dims_.emb_dim}, Numbers::kAny);
        const Dropout whole = dropout_of(dropout, seed);
        const int64_t batch = py::reinterpret_borrow<py::array>(x).shape(0), thread_count = threads_of(threads, batch);
        const float* d_in = floats_of("d_out", d_out, {batch, dims_.tokens(), dims_.emb_dim}, Numbers::kAny);
        const Memory packed = pack(state);
        // Each part has gradients of its own, added up in order: the sum is the same with any number of threads.
        const size_t size = mixsynth::layer_gradients_size(dims_);
        const int64_t parts = std::max<int64_t>(parts_of(batch), 1);
        std::vector<float> gradients(size * static_cast<size_t>(parts));
        py::array_t<float> d_x(Shape{batch, dims_.tokens(), dims_.emb_dim});
        float* out = d_x.mutable_data();
        {
            py::gil_scoped_release unlocked;
            const auto part = [&](int64_t i, int64_t first, int64_t count, float* workspace) {
                const int64_t begin = first * dims_.tokens() * dims_.emb_dim;
                mixsynth::layer_backward(dims_, packed.get(), in + begin, d_in + begin, count, out + begin,
                                         gradients.data() + size * static_cast<size_t>(i), workspace, bits_,
                                         {whole.share, whole.seed, first});
            };
            in_threads(thread_count, parts, batch, workspaces_, part);
            for (size_t begin = size; begin < gradients.size(); begin += size)
                for (size_t i = 0; i < size; ++i) gradients[i] += gradients[begin + i];
        }
        return {d_x, by_name(gradients.data())};
    }

  private:
    // Eight windows a part: threads then end at nearly the same time, and few gradients have to be added up.
    static int64_t parts_of(int64_t batch) { return (batch + 7) / 8; }

    static Dropout dropout_of(const py::object& share, const py::object& seed) {
        const bool is_number = PyFloat_Check(share.ptr()) || PyLong_Check(share.ptr());
        const float number = is_number ? static_cast<float>(share.cast<double>()) : -1.0f;
        if (!(number >= 0.0f && number < 1.0f))
            throw py::value_error("dropout must be from 0 to below 1, found " + description(share));
        return {number, static_cast<uint64_t>(whole_number("seed", seed)), 0};
    }

    Memory pack(const py::object& arrays) const {
        State state(arrays, dims_, Numbers::kAny);
        const Layer layer = state.layer("");
        Memory packed = allocate(mixsynth::packed_layer_size(dims_));
        mixsynth::pack_layer(dims_, layer, packed.get());
        return packed;
    }

    py::dict by_name(float* gradients) const {
        py::dict arrays;
        for (const Gradient& gradient : mixsynth::gradients_by_name(dims_, gradients)) {
            const bool is_vector = gradient.columns == kVector;
            py::array_t<float> array(is_vector ? Shape{gradient.rows} : Shape{gradient.rows, gradient.columns});
            const int64_t columns = is_vector ? 1 : gradient.columns;
            for (int64_t i = 0; i < gradient.rows; ++i)
                std::copy_n(gradient.numbers + i * gradient.stride, columns, array.mutable_data() + i * columns);
            arrays[gradient.name.c_str()] = array;
        }
        return arrays;
    }

    const Dimensions dims_;
    const int bits_;
    Workspaces workspaces_;
};

}  // namespace
}  // namespace mixsynth::python

PYBIND11_MODULE(_C, module) {
    using namespace mixsynth::python;
    module.doc() = "MixSynthFormer in C++. mixsynth_stream.backend is the way to use it.";
    module.def(
        "simd_bits", [] { return register_bits(py::none()); },
        "Bits of the registers that an encoder uses by default: 128, 256 or 512.");
    module.def(
        "fma_peak", [](const py::object& bits) { return mixsynth::fma_peak(register_bits(bits)); },
        py::arg("simd_bits") = py::none(),
        "Multiplications and additions a second of this core in registers of `simd_bits`, measured.");
    module.def("crop", &crop, py::arg("rgb"), py::kw_only(), py::arg("x"), py::arg("y"), py::arg("right_x"),
               py::arg("right_y"), py::arg("size"),
               "rgb [H, W, 3] uint8 -> a turned square [size, size, 3], bilinear, borders repeated. Its pixel (i, j) is "
               "sampled at (x + i * right_x - j * right_y, y + i * right_y + j * right_x).");
    py::class_<Encoder>(module, "Encoder", "One network with its weights and its scratch memory.")
        .def(py::init([](const py::object& state, const py::object& simd_bits, const py::kwargs& dimensions) {
                 return std::make_unique<Encoder>(dimensions_of(dimensions), state, simd_bits);
             }),
             py::kw_only(), py::arg("state"), py::arg("simd_bits") = py::none(),
             "The dimensions are those of `ModelConfig`. `state` is a published state_dict as float32 arrays; the "
             "weights are copied. `simd_bits`: registers of 128, 256 or 512 bits instead of the widest.")
        .def_property_readonly("simd_bits", &Encoder::simd_bits, "Bits of the registers that it uses.")
        .def("forward", &Encoder::forward, py::arg("keyframes"), py::arg("threads") = 1,
             "keyframes [B, Q+1, D] -> motion [B, T, D], float32, finite. `threads` threads share the batch. Any "
             "number of Python's threads may call at once. `ValueError` names what does not fit or overflows.");
    py::class_<TrainedLayer>(module, "TrainedLayer", "An encoder layer in training.")
        .def(py::init([](const py::object& simd_bits, const py::kwargs& dimensions) {
                 return std::make_unique<TrainedLayer>(dimensions_of(dimensions), simd_bits);
             }),
             py::kw_only(), py::arg("simd_bits") = py::none(), "The dimensions are those of `ModelConfig`.")
        .def("forward", &TrainedLayer::forward, py::arg("x"), py::arg("state"), py::arg("threads") = 1,
             py::kw_only(), py::arg("dropout") = 0.0, py::arg("seed") = 0,
             "x [B, T, C] -> [B, T, C]. `state`: the layer's weights by their published names, without a prefix. The "
             "share `dropout` is left out behind proj, GELU and ff.fc2; `seed` decides what.")
        .def_property_readonly("names", &TrainedLayer::names, "Published names of the weights that are used.")
        .def("backward", &TrainedLayer::backward, py::arg("x"), py::arg("d_out"), py::arg("state"),
             py::arg("threads") = 1, py::kw_only(), py::arg("dropout") = 0.0, py::arg("seed") = 0,
             "With the `dropout` and `seed` of the forward pass: x and the gradient of the layer's output -> the gradient of x, and those of the weights by name.");
    add_glance(module);
    add_poses(module);
}
