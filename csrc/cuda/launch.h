// Launch: a network with its weights on a card, called from the host.
//
//     mixsynth::card::Encoder encoder(dims, weights, mixsynth::card::Precision::kBf16, 0);   // on device 0
//     encoder.forward(keyframes, batch, motion, stream);          // device memory, queued on a stream
//     encoder.forward_on_host(keyframes, batch, motion);          // host memory, ready when it returns
//
// Both may be called from several threads at once. What CUDA refuses is thrown as a CudaError.
#pragma once

#include <memory>

#include "cuda/operands.h"
#include "cuda/runtime.h"

namespace mixsynth::card {

class Encoder {
  public:
    // Packs the weights, and copies them to the device.
    Encoder(const Dimensions& dims, const Weights& weights, Precision precision, int device);
    ~Encoder();
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    // keyframes [B, Q+1, D] -> motion [B, T, D], both in memory of the device, queued on `stream`. Nothing is allocated,
    // unless the network needs a workspace and the stream is a new one or begins to capture a graph. A graph keeps its
    // workspace until the encoder goes, which must live as long as the graph.
    void forward(const float* keyframes, int64_t batch, float* motion, cudaStream_t stream);

    // The same from and to host memory, through pinned memory that is kept for later calls.
    void forward_on_host(const float* keyframes, int64_t batch, float* motion);

    // What is queued on `then` from now on waits for what is queued on `first` now.
    void order(cudaStream_t first, cudaStream_t then);

    // Memory of the device, which is free again after the last copy of the pointer and all that is queued.
    std::shared_ptr<CardMemory> allocate(size_t bytes) const;

    const Device& device() const;

    // Empty, or what is wrong with an address that should be in memory of this device.
    std::string problem_with(const void* address) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace mixsynth::card
