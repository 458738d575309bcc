// Launch: a network with its weights on a card, called from the host.
//
//     mixsynth::card::Encoder encoder(dims, weights, mixsynth::card::Precision::kBf16, 0);   // on device 0
//     encoder.forward(keyframes, batch, motion, stream);          // device memory, queued on a stream
//     encoder.forward_on_host(keyframes, batch, motion);          // host memory, ready when it returns
//
// Both may be called from several threads at once. What CUDA refuses is thrown as a CudaError.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/operands.h"

namespace mixsynth::card {

class CudaError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct Device {
    int number;
    std::string name;
    int major, minor;  // compute capability
    int multiprocessors;
    int shared_limit;  // bytes of shared memory that one block may have
};

// Every device of this machine. Throws a CudaError that says why where there is none.
std::vector<Device> devices();

class Encoder {
  public:
    // Packs the weights, and copies them to the device.
    Encoder(const Dimensions& dims, const Weights& weights, Precision precision, int device);
    ~Encoder();
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    // keyframes [B, Q+1, D] -> motion [B, T, D], both in memory of the device, queued on `stream` (a cudaStream_t).
    // Nothing is allocated, unless the network needs a workspace and the stream is a new one.
    void forward(const float* keyframes, int64_t batch, float* motion, void* stream);

    // The same from and to host memory, through pinned memory that is kept for later calls.
    void forward_on_host(const float* keyframes, int64_t batch, float* motion);

    const Device& device() const;

    // nullptr, or what is wrong with an address that should be in memory of this device.
    std::string problem_with(const void* address) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace mixsynth::card
