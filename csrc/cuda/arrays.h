// Arrays in memory of a card, from Python and to it: DLPack and the CUDA Array Interface, so that torch, CuPy, Numba and
// JAX are all served without any of their headers.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "cuda/dlpack.h"
#include "cuda/launch.h"
#include "python/arguments.h"

namespace mixsynth::python {

// Streams as both interfaces number them: 1 is the default stream, 2 that of the thread, others are addresses.
inline cudaStream_t stream_of(const py::handle& number) {
    const int64_t value = whole_number("stream", number);
    if (value < 0) throw py::value_error("stream must be a cudaStream_t as a number, found " + std::to_string(value));
    return value == 1 ? nullptr : reinterpret_cast<cudaStream_t>(static_cast<uintptr_t>(value));
}
inline int64_t number_of(cudaStream_t stream) {
    return stream ? static_cast<int64_t>(reinterpret_cast<uintptr_t>(stream)) : 1;
}

// float32 numbers of an array that its owner has described.
struct CardArray {
    float* numbers = nullptr;
    Shape shape;
    bool is_contiguous = true, is_read_only = false;
    std::string type;
    std::optional<cudaStream_t> stream;  // on which its owner works, where that is not yet ordered with ours
    py::object owner;                    // keeps what describes the array

    int64_t size() const {
        int64_t numbers_in_all = 1;
        for (const py::ssize_t n : shape) numbers_in_all *= n;
        return numbers_in_all;
    }
};

// Strides in units of `unit` bytes.
template <class Stride>
bool is_contiguous(const Shape& shape, Stride stride, int64_t unit) {
    int64_t expected = static_cast<int64_t>(sizeof(float)) / unit;
    for (size_t i = shape.size(); i-- > 0; expected *= shape[i])
        if (shape[i] > 1 && stride(i) != expected) return false;
    return true;
}

inline CardArray from_interface(const py::handle& value) {
    const py::dict facts = value.attr("__cuda_array_interface__");
    CardArray array;
    array.type = py::str(facts["typestr"]);
    if (array.type == "<f4" || array.type == "=f4") array.type = "float32";
    for (const py::handle size : py::tuple(facts["shape"])) array.shape.push_back(size.cast<py::ssize_t>());
    if (facts.contains("strides") && !facts["strides"].is_none()) {
        const py::tuple strides(facts["strides"]);
        array.is_contiguous = is_contiguous(array.shape, [&](size_t i) { return strides[i].cast<int64_t>(); }, 1);
    }
    const py::tuple data(facts["data"]);
    array.numbers = reinterpret_cast<float*>(data[0].cast<uintptr_t>());
    array.is_read_only = data[1].cast<bool>();
    if (facts.contains("stream") && !facts["stream"].is_none()) array.stream = stream_of(facts["stream"]);
    return array;
}

inline std::string type_text(const dlpack::Type& type) {
    static const char* const names[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
    if (type.code >= std::size(names) || type.lanes != 1) return "another type";
    return names[type.code] + std::to_string(type.bits);
}

// The owner makes its own work precede what comes on `stream`.
inline CardArray from_dlpack(const py::handle& value, cudaStream_t stream) {
    const auto export_to = value.attr("__dlpack__");
    py::object capsule;
    try {
        capsule = export_to(py::arg("stream") = number_of(stream), py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_TypeError)) throw;
        capsule = export_to(py::arg("stream") = number_of(stream));  // from before version 1
    }
    CardArray array;
    const dlpack::Tensor* tensor = nullptr;
    if (void* versioned = PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned")) {
        array.is_read_only = static_cast<dlpack::Versioned*>(versioned)->flags & dlpack::kReadOnly;
        tensor = &static_cast<dlpack::Versioned*>(versioned)->tensor;
    } else {
        PyErr_Clear();
        void* managed = PyCapsule_GetPointer(capsule.ptr(), "dltensor");
        if (!managed) throw py::error_already_set();
        tensor = &static_cast<dlpack::Managed*>(managed)->tensor;
    }
    array.type = type_text(tensor->type);
    array.shape.assign(tensor->shape, tensor->shape + tensor->rank);
    const int64_t unit = sizeof(float);
    if (tensor->strides)
        array.is_contiguous = is_contiguous(array.shape, [&](size_t i) { return tensor->strides[i]; }, unit);
    array.numbers = reinterpret_cast<float*>(static_cast<char*>(tensor->data) + tensor->byte_offset);
    array.owner = std::move(capsule);
    return array;
}

// What DLPack says of another place than memory of this device; empty where it is that.
inline std::string place_text(const py::handle& value, int device) {
    const py::tuple place(value.attr("__dlpack_device__")());
    const auto type = place[0].cast<int64_t>(), number = place[1].cast<int64_t>();
    if (type == dlpack::kHost || type == dlpack::kCudaHost) return "found host memory";
    if (type != dlpack::kCuda && type != dlpack::kCudaManaged) return "found memory of no NVIDIA card";
    return type == dlpack::kCuda && number != device ? "found memory of device " + std::to_string(number) : "";
}

// `value` on the encoder's device, checked; -1 means any size.
inline CardArray card_array_of(const std::string& name, const py::handle& value, const Shape& shape,
                               const card::Encoder& encoder, cudaStream_t stream) {
    const int device = encoder.device().number;
    const auto require_place = [&](const std::string& problem) {
        if (!problem.empty())
            throw py::value_error(name + " must lie in memory of device " + std::to_string(device) + ", " + problem);
    };
    CardArray array;
    if (py::hasattr(value, "__dlpack__")) {
        require_place(place_text(value, device));
        array = from_dlpack(value, stream);
    } else if (py::hasattr(value, "__cuda_array_interface__")) {
        array = from_interface(value);
    } else {
        throw py::type_error(name + " must be an array on a card, with __dlpack__ or __cuda_array_interface__, found " +
                             description(value));
    }
    if (array.type != "float32") throw py::type_error(name + " must be float32, found " + array.type);
    bool fits = array.shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == array.shape[i];
    if (!fits)
        throw py::value_error(name + " must have shape " + shape_text(shape) + ", found " + shape_text(array.shape));
    if (!array.is_contiguous) throw py::value_error(name + " must be C-contiguous; pass a contiguous copy");
    if (reinterpret_cast<uintptr_t>(array.numbers) % sizeof(float))
        throw py::value_error(name + " must lie at a multiple of 4 bytes; pass a copy");
    if (array.size() > 0) require_place(encoder.problem_with(array.numbers));
    return array;
}

// Motion in memory that the encoder has allocated, for whoever takes it from there.
class CardMotion {
  public:
    CardMotion(std::shared_ptr<card::Encoder> encoder, const std::array<int64_t, 3>& shape, cudaStream_t stream)
        : encoder_(std::move(encoder)), shape_(shape), stream_(stream),
          memory_(encoder_->allocate(static_cast<size_t>(shape[0] * shape[1] * shape[2]) * sizeof(float))) {}

    float* numbers() const { return memory_->floats(); }
    py::tuple shape() const { return py::make_tuple(shape_[0], shape_[1], shape_[2]); }

    py::dict interface() const {
        py::dict facts;
        facts["shape"] = shape();
        facts["typestr"] = "<f4";
        facts["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(numbers()), false);
        facts["version"] = 3;
        facts["strides"] = py::none();
        facts["stream"] = number_of(stream_);
        return facts;
    }

    py::tuple place() const { return py::make_tuple(int{dlpack::kCuda}, encoder_->device().number); }

    // A stream of -1 means that nobody has to wait for the motion.
    py::capsule dlpack(const py::object& stream, const py::object& device, const py::object& copy) const {
        if (!device.is_none() && !py::tuple(device).equal(place()))
            throw py::buffer_error("motion lies on device " + std::to_string(encoder_->device().number) + " and stays there");
        if (!copy.is_none() && copy.cast<bool>()) throw py::buffer_error("motion is handed out without a copy");
        if (stream.is_none() || whole_number("stream", stream) != -1)
            encoder_->order(stream_, stream.is_none() ? nullptr : stream_of(stream));
        auto given = std::make_unique<Given>();
        given->memory = memory_, given->shape = shape_;
        const dlpack::Device own{dlpack::kCuda, encoder_->device().number};
        given->managed = {{numbers(), own, 3, {dlpack::kFloat, 32, 1}, given->shape.data(), nullptr, 0},
                          given.get(),
                          [](dlpack::Managed* managed) { delete static_cast<Given*>(managed->owner); }};
        PyObject* capsule = PyCapsule_New(&given->managed, "dltensor", [](PyObject* object) {
            // Whoever has taken the array has renamed the capsule.
            if (!PyCapsule_IsValid(object, "dltensor")) return;
            auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(object, "dltensor"));
            managed->free(managed);
        });
        if (!capsule) throw py::error_already_set();
        given.release();
        return py::reinterpret_steal<py::capsule>(capsule);
    }

  private:
    struct Given {
        std::shared_ptr<card::CardMemory> memory;
        std::array<int64_t, 3> shape;
        dlpack::Managed managed;
    };

    const std::shared_ptr<card::Encoder> encoder_;
    const std::array<int64_t, 3> shape_;
    const cudaStream_t stream_;
    const std::shared_ptr<card::CardMemory> memory_;
};

}  // namespace mixsynth::python
