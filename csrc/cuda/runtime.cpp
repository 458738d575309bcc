#include "cuda/runtime.h"

#include <cstdint>
#include <mutex>
#include <utility>

namespace mixsynth::card {
namespace {

// The driver's own interface, of which the runtime has no twin. The types are those of cuda.h.
struct Driver {
    int (*get_context)(void** context);
    int (*set_context)(void* context);
    int (*pointer_attribute)(void* value, int attribute, unsigned long long address);

    static const Driver& instance() {
        static const Driver driver = {entry<int (*)(void**)>("cuCtxGetCurrent"),
                                      entry<int (*)(void*)>("cuCtxSetCurrent"),
                                      entry<int (*)(void*, int, unsigned long long)>("cuPointerGetAttribute")};
        return driver;
    }

  private:
    template <class Function>
    static Function entry(const char* name) {
        constexpr unsigned kVersion = 12000;
        void* function = nullptr;
        require(cudaGetDriverEntryPointByVersion(name, &function, kVersion, cudaEnableDefault, nullptr),
                "asking for the driver's functions");
        if (!function) throw CudaError(std::string("the NVIDIA driver has no ") + name + "; install a newer driver");
        return reinterpret_cast<Function>(function);
    }
};
constexpr int kContextOfPointer = 1;

struct Fault {
    std::mutex mutex;
    std::string text;
    static Fault& instance() {
        static Fault fault;
        return fault;
    }
};

// After these every later call fails, too.
bool breaks_the_process(cudaError_t status) {
    switch (status) {
        case cudaErrorECCUncorrectable:
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchTimeout:
        case cudaErrorAssert:
        case cudaErrorHardwareStackError:
        case cudaErrorIllegalInstruction:
        case cudaErrorMisalignedAddress:
        case cudaErrorInvalidAddressSpace:
        case cudaErrorInvalidPc:
        case cudaErrorLaunchFailure: return true;
        default: return false;
    }
}

std::string missing_driver(cudaError_t status) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const auto version = [](int number) {
        return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
    };
    cudaGetLastError();
    if (driver == 0) return "there is no NVIDIA driver; install one, or use another backend";
    if (status == cudaErrorInsufficientDriver)
        return "the NVIDIA driver is for CUDA " + version(driver) + ", and this library needs one for CUDA " +
               version(runtime) + " or newer; install a newer driver";
    return std::string("there is no NVIDIA card that CUDA can use: ") + cudaGetErrorString(status);
}

Device device_of(int number) {
    const auto attribute = [&](cudaDeviceAttr name) {
        int value = 0;
        require(cudaDeviceGetAttribute(&value, name, number), "asking for the device's properties");
        return value;
    };
    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, number), "asking for the device's name");
    return {number,
            properties.name,
            attribute(cudaDevAttrComputeCapabilityMajor),
            attribute(cudaDevAttrComputeCapabilityMinor),
            attribute(cudaDevAttrMultiProcessorCount),
            attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

}  // namespace

std::vector<Device> devices() {
    require_usable();
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) throw CudaError(missing_driver(status));
    std::vector<Device> all;
    for (int i = 0; i < count; ++i) all.push_back(device_of(i));
    return all;
}

std::string broken() {
    const std::lock_guard<std::mutex> lock(Fault::instance().mutex);
    return Fault::instance().text;
}

void require(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // What is reported here must not be reported once more, by the next call.
    std::string text = std::string(what) + " failed: " + cudaGetErrorString(status);
    if (status == cudaErrorMemoryAllocation) text += "; free memory on the card, or use another backend";
    if (breaks_the_process(status)) {
        const std::lock_guard<std::mutex> lock(Fault::instance().mutex);
        if (Fault::instance().text.empty()) Fault::instance().text = text;
        text += "; CUDA takes no more work from this process: start it again, or use another backend";
    }
    throw CudaError(text);
}

void require_usable() {
    const std::string cause = broken();
    if (cause.empty()) return;
    throw CudaError("CUDA takes no more work from this process, because " + cause +
                    "; start it again, or use another backend");
}

void* current_context() {
    void* context = nullptr;
    Driver::instance().get_context(&context);
    return context;
}

OnDevice::OnDevice(int device, void* context) : previous_(current_context()) {
    if (context && previous_ == context) return;
    is_switched_ = true;
    if (const cudaError_t status = cudaSetDevice(device); status != cudaSuccess) {
        Driver::instance().set_context(previous_);
        require(status, "choosing the device");
    }
}

OnDevice::~OnDevice() {
    if (is_switched_) Driver::instance().set_context(previous_);
}

unsigned long long capture_of(cudaStream_t stream) {
    cudaStreamCaptureStatus status{};
    unsigned long long number = 0;
    require(cudaStreamGetCaptureInfo(stream, &status, &number), "asking whether a graph is captured");
    return status == cudaStreamCaptureStatusActive ? number : 0;
}

std::string problem_with(const void* address, int device, void* context) {
    cudaPointerAttributes attributes{};
    require(cudaPointerGetAttributes(&attributes, address), "asking where an address lies");
    if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
        return "found host memory";
    if (attributes.type == cudaMemoryTypeDevice && attributes.device != device)
        return "found memory of device " + std::to_string(attributes.device);
    // Memory of a pool or of a mapping belongs to no context.
    void* owner = nullptr;
    const int status = Driver::instance().pointer_attribute(&owner, kContextOfPointer,
                                                            reinterpret_cast<uintptr_t>(address));
    if (status == 0 && owner && owner != context) return "found memory of another CUDA context";
    return "";
}

CardMemory::CardMemory(size_t bytes, Residence residence) : residence_(residence) {
    if (bytes == 0) return;
    const BesideCaptures beside;
    if (residence == Residence::kDevice)
        require(cudaMalloc(&start_, bytes), "allocating memory on the card");
    else
        require(cudaMallocHost(&start_, bytes), "allocating pinned memory");
}

CardMemory::CardMemory(CardMemory&& other) noexcept
    : start_(std::exchange(other.start_, nullptr)), residence_(other.residence_) {}

CardMemory& CardMemory::operator=(CardMemory&& other) noexcept {
    std::swap(start_, other.start_);
    std::swap(residence_, other.residence_);
    return *this;
}

CardMemory::~CardMemory() {
    if (!start_) return;
    const BesideCaptures beside;
    residence_ == Residence::kDevice ? cudaFree(start_) : cudaFreeHost(start_);
}

}  // namespace mixsynth::card
