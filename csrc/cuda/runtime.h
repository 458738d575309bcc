// Runtime: what the host asks of CUDA, with a sentence for each refusal.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

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

// Why CUDA takes no more work from this process; empty while it does. It is so after a kernel has failed.
std::string broken();

// Throws a CudaError of `what` unless `status` is success; what breaks CUDA for this process is kept for broken().
void require(cudaError_t status, const char* what);

// Throws a CudaError where CUDA is broken().
void require_usable();

// The calling thread's context, or nullptr.
void* current_context();

// Makes the device's primary context the calling thread's while it lives, and then what was there before.
class OnDevice {
  public:
    // `context` is what current_context() once gave on this device; where it is current there is nothing to do.
    explicit OnDevice(int device, void* context = nullptr);
    ~OnDevice();
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    void* previous_ = nullptr;
    bool is_switched_ = false;
};

// While it lives, this thread may allocate, free and wait although some thread captures a graph, which CUDA would else
// refuse, and the capture with it.
class BesideCaptures {
  public:
    BesideCaptures() { exchange(); }
    ~BesideCaptures() { exchange(); }
    BesideCaptures(const BesideCaptures&) = delete;
    BesideCaptures& operator=(const BesideCaptures&) = delete;

  private:
    void exchange() { cudaThreadExchangeStreamCaptureMode(&mode_); }
    cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// The number of the capture that the stream is in; 0 where it is in none.
unsigned long long capture_of(cudaStream_t stream);

// Empty, or what is wrong with an address that should be in memory of this device and context.
std::string problem_with(const void* address, int device, void* context);

enum class Residence { kDevice, kPinned };

// Memory of the current device, or host memory that it copies from and to without a detour. It may come and go while a
// graph is captured.
class CardMemory {
  public:
    CardMemory() = default;
    CardMemory(size_t bytes, Residence residence);
    CardMemory(CardMemory&& other) noexcept;
    CardMemory& operator=(CardMemory&& other) noexcept;
    ~CardMemory();

    float* floats() const { return static_cast<float*>(start_); }
    char* bytes() const { return static_cast<char*>(start_); }

  private:
    void* start_ = nullptr;
    Residence residence_ = Residence::kDevice;
};

}  // namespace mixsynth::card
