// Arguments from Python, each checked once and named in the message, and the memory and threads of a call.
#pragma once

#include <atomic>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
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

std::string described(const py::handle& value) {
    const auto shown = py::reinterpret_steal<py::object>(PyObject_ASCII(value.ptr()));
    if (!shown) throw py::error_already_set();
    return std::string(py::str(py::type::of(value).attr("__name__"))) + " " +
           std::string(py::str(shown)).substr(0, 80);
}

int64_t whole(const std::string& name, const py::handle& value) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!number) {
        PyErr_Clear();
        throw py::type_error(name + " must be a whole number, found " + described(value));
    }
    int overflow = 0;
    const long long found = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow) throw py::value_error(name + " is far out of range, found " + described(value));
    return found;
}

// Whether none of them is infinity or NaN: those whose exponent is all ones. To the end in any case, because a compiler
// takes several at a time then.
bool finite(const float* numbers, int64_t count) {
    constexpr uint32_t kExponent = 0x7f800000u;
    uint32_t wrong = 0;
    for (int64_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, numbers + i, sizeof bits);
        wrong |= (bits & kExponent) == kExponent;
    }
    return !wrong;
}

// NaN in training is the loss's to report, so that what was wrong is said once and for the whole network.
enum class Numbers { kFinite, kAny };

// The numbers of `value`, which must be a C-contiguous, aligned float32 array of `shape`; -1 means any size.
const float* checked(const std::string& name, const py::handle& value, const Shape& shape,
                     Numbers allowed = Numbers::kFinite) {
    if (!py::isinstance<py::array>(value))
        throw py::type_error(name + " must be a numpy array, found " + described(value));
    const auto array = py::reinterpret_borrow<py::array>(value);
    if (!py::isinstance<py::array_t<float>>(value))
        throw py::type_error(name + " must be float32, found " + std::string(py::str(array.dtype())));
    const Shape found(array.shape(), array.shape() + array.ndim());
    bool fits = found.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == -1 || shape[i] == found[i];
    if (!fits) throw py::value_error(name + " must have shape " + text(shape) + ", found " + text(found));
    if (!(array.flags() & py::array::c_style))
        throw py::value_error(name + " must be C-contiguous; pass numpy.ascontiguousarray(" + name + ")");
    if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
        throw py::value_error(name + " must lie at a multiple of 4 bytes; pass " + name + ".copy()");
    const auto* numbers = static_cast<const float*>(array.data());
    if (allowed == Numbers::kFinite && !finite(numbers, array.size())) {
        const auto* wrong = std::find_if(numbers, numbers + array.size(), [](float x) { return !std::isfinite(x); });
        throw py::value_error(name + " must be finite, found " + std::to_string(*wrong) + " at number " +
                              std::to_string(wrong - numbers));
    }
    return numbers;
}

// Reads the published names out of a dict of arrays, and holds on to these: a dict of a class of its own may make them
// when asked.
class State {
  public:
    State(const py::object& arrays, const mixsynth::Dimensions& dims, Numbers allowed = Numbers::kFinite)
        : arrays_(dict(arrays)), d_(dims), allowed_(allowed) {}

    mixsynth::Linear linear(const std::string& name, int64_t inputs, int64_t outputs) {
        return {array(name + ".weight", {outputs, inputs}), array(name + ".bias", {outputs})};
    }
    mixsynth::Linear norm(const std::string& name) {
        return {array(name + ".weight", {d_.emb_dim}), array(name + ".bias", {d_.emb_dim})};
    }
    // `prefix`: what comes before the names of the layer
    mixsynth::Layer layer(const std::string& prefix) {
        const int64_t T = d_.tokens(), C = d_.emb_dim;
        const std::string mixed = prefix + "synth_att.";
        return {attention(mixed + "synth_token", C, T, d_.reduce_token),
                attention(mixed + "synth_channel", T, C, d_.reduce_channel),
                linear(mixed + "reweight.fc1", T, T / 4),
                linear(mixed + "reweight.fc2", T / 4, 2 * T),
                linear(mixed + "proj", C, C),
                linear(prefix + "ff.fc1", C, d_.hidden()),
                linear(prefix + "ff.fc2", d_.hidden(), C),
                norm(prefix + "norm1"),
                norm(prefix + "norm2")};
    }

  private:
    static py::dict dict(const py::object& arrays) {
        if (!py::isinstance<py::dict>(arrays))
            throw py::type_error("state must be a dict of numpy arrays, found " + described(arrays));
        return py::reinterpret_borrow<py::dict>(arrays);
    }
    mixsynth::SyntheticAttention attention(const std::string& name, int64_t width, int64_t length,
                                           int64_t reduce) {
        return {linear(name + ".dense", width, length / reduce),
                array(name + ".se.fc.0.weight", {length / 4, length}),
                array(name + ".se.fc.2.weight", {length, length / 4}),
                linear(name + ".value_reduce", length, length / reduce)};
    }
    const float* array(const std::string& name, const Shape& shape) {
        if (!arrays_.contains(name)) throw py::value_error("state lacks " + name);
        kept_.emplace_back(arrays_[name.c_str()]);
        return checked("state['" + name + "']", kept_.back(), shape, allowed_);
    }

    const py::dict arrays_;
    const mixsynth::Dimensions d_;
    const Numbers allowed_;
    std::vector<py::object> kept_;
};

// Bits of the widest registers that the environment variable MIXSYNTH_SIMD allows.
int allowed_bits() {
    const char* asked = std::getenv("MIXSYNTH_SIMD");
    if (!asked) return 512;
    for (const int bits : {128, 256, 512})
        if (std::to_string(bits) == asked) return bits;
    throw py::value_error("the environment variable MIXSYNTH_SIMD must be 128, 256 or 512, found '" +
                          std::string(asked) + "'; unset it to use the widest registers of this processor");
}

// Registers as asked for, or where nothing was (None), the widest that processor and environment allow.
int chosen_bits(const py::object& asked) {
    if (asked.is_none()) return mixsynth::simd_bits(allowed_bits());
    const int64_t bits = whole("simd_bits", asked);
    const int widest = mixsynth::simd_bits();
    if ((bits != 128 && bits != 256 && bits != 512) || bits > widest)
        throw py::value_error("simd_bits must be 128, 256 or 512 and no wider than this processor's " +
                              std::to_string(widest) + ", found " + std::to_string(bits));
    return static_cast<int>(bits);
}

// Floats on a boundary of 64 bytes, which forward() is fastest with.
struct Aligned {
    void operator()(float* numbers) const { ::operator delete[](numbers, kLine); }
    static constexpr std::align_val_t kLine{64};
};
using Memory = std::unique_ptr<float[], Aligned>;

Memory allocate(size_t floats) {
    return Memory(static_cast<float*>(::operator new[](floats * sizeof(float), Aligned::kLine)));
}

// Scratch memory for as many forwards as run at once. What one has finished with the next takes, so that calls allocate
// nothing once there is enough.
class Workspaces {
  public:
    explicit Workspaces(size_t floats) : floats_(floats) {}
    Memory take() {
        {
            const std::lock_guard<std::mutex> alone(mutex_);
            if (!free_.empty()) {
                Memory memory = std::move(free_.back());
                free_.pop_back();
                return memory;
            }
        }
        return allocate(floats_);
    }
    void give_back(Memory memory) {
        const std::lock_guard<std::mutex> alone(mutex_);
        free_.push_back(std::move(memory));
    }

  private:
    const size_t floats_;
    std::mutex mutex_;
    std::vector<Memory> free_;
};

constexpr std::pair<const char*, int64_t mixsynth::Dimensions::*> kDimensions[] = {
    {"sample_interval", &mixsynth::Dimensions::sample_interval},
    {"step", &mixsynth::Dimensions::step},
    {"joint_dim", &mixsynth::Dimensions::joint_dim},
    {"emb_dim", &mixsynth::Dimensions::emb_dim},
    {"num_encoder_layers", &mixsynth::Dimensions::num_encoder_layers},
    {"horizon", &mixsynth::Dimensions::horizon},
    {"expansion_factor", &mixsynth::Dimensions::expansion_factor},
    {"reduce_token", &mixsynth::Dimensions::reduce_token},
    {"reduce_channel", &mixsynth::Dimensions::reduce_channel},
};

mixsynth::Dimensions dimensions_of(const py::kwargs& given) {
    mixsynth::Dimensions dims{};
    const py::dict left(given.attr("copy")());
    for (const auto& [name, dimension] : kDimensions) {
        if (!left.contains(name)) throw py::type_error(std::string(name) + " is missing");
        dims.*dimension = whole(name, left.attr("pop")(name));
    }
    if (!left.empty())
        throw py::type_error("there is no dimension named " + std::string(py::str(left.begin()->first)));
    return dims;
}

const mixsynth::Dimensions& buildable(const mixsynth::Dimensions& dims, const char* problem) {
    if (problem) {
        std::string found;
        for (const auto& [name, dimension] : kDimensions)
            found += (found.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(dims.*dimension);
        throw py::value_error(std::string(problem) + "; found " + found);
    }
    return dims;
}

// Why the motion of a window, made of keyframes and weights that are finite, is not.
[[noreturn]] void refuse_overflow(int64_t window, const float* keyframes, int64_t count) {
    float largest = 0.0f;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(keyframes[i]));
    char found[32];
    std::snprintf(found, sizeof found, "%.2g", static_cast<double>(largest));
    throw py::value_error("keyframes must be so small that nothing overflows float32 in the network, found up to " +
                          std::string(found) + " in window " + std::to_string(window) +
                          "; check their unit, and the weights if the keyframes are right");
}

// At most one thread a window.
int64_t threads_of(const py::object& threads, int64_t batch) {
    constexpr int64_t kMostThreads = 256;
    const int64_t asked = whole("threads", threads);
    if (asked < 1 || asked > kMostThreads)
        throw py::value_error("threads must be from 1 to " + std::to_string(kMostThreads) + ", found " +
                              std::to_string(asked));
    return std::min(asked, std::max<int64_t>(batch, 1));
}

// part(i, first window, number of windows, scratch memory) for a batch in `parts` parts. The thread that asks and
// `threads` - 1 others, as far as there are parts for them, each take the next one when they are free: a core that has
// other work to do holds up nobody.
template <typename Part>
void in_threads(int64_t threads, int64_t parts, int64_t batch, Workspaces& workspaces, Part part) {
    std::vector<Memory> taken(static_cast<size_t>(std::max<int64_t>(std::min(threads, parts), 1)));
    for (Memory& memory : taken) memory = workspaces.take();
    std::atomic<int64_t> next{0};
    const auto work = [&](float* workspace) {
        for (int64_t i = next++; i < parts; i = next++) {
            const int64_t first = batch * i / parts;
            part(i, first, batch * (i + 1) / parts - first, workspace);
        }
    };
    std::vector<std::thread> others;
    others.reserve(taken.size());
    try {
        for (size_t i = 1; i < taken.size(); ++i) others.emplace_back(work, taken[i].get());
    } catch (const std::system_error&) {  // the system gives no more threads: those there are do it all
    }
    work(taken[0].get());
    for (std::thread& thread : others) thread.join();
    for (Memory& memory : taken) workspaces.give_back(std::move(memory));
}

}  // namespace
