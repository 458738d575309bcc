#include "cuda/launch.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "cuda/kernel.cuh"

namespace mixsynth::card {
namespace {

// Windows that pass through pinned memory at once.
constexpr int64_t kMostStaged = 4096;

void require(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // What is reported here must not be reported once more, by the next call.
    throw CudaError(std::string(what) + " failed: " + cudaGetErrorString(status));
}

// Makes `device` the current one while it lives.
class OnDevice {
  public:
    explicit OnDevice(int device) {
        require(cudaGetDevice(&previous_), "asking for the current device");
        require(cudaSetDevice(device), "choosing the device");
    }
    ~OnDevice() { cudaSetDevice(previous_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    int previous_ = 0;
};

enum class Residence { kDevice, kPinned };

// Memory of the current device, or host memory that it copies from and to without a detour.
class CardMemory {
  public:
    CardMemory() = default;
    CardMemory(size_t bytes, Residence residence) : residence_(residence) {
        if (bytes == 0) return;
        require(residence == Residence::kDevice ? cudaMalloc(&start_, bytes) : cudaMallocHost(&start_, bytes),
                residence == Residence::kDevice ? "allocating device memory" : "allocating pinned memory");
    }
    CardMemory(CardMemory&& other) noexcept : start_(other.start_), residence_(other.residence_) { other.start_ = nullptr; }
    CardMemory& operator=(CardMemory&& other) noexcept {
        std::swap(start_, other.start_);
        std::swap(residence_, other.residence_);
        return *this;
    }
    ~CardMemory() {
        if (start_) residence_ == Residence::kDevice ? cudaFree(start_) : cudaFreeHost(start_);
    }
    float* floats() const { return static_cast<float*>(start_); }
    char* bytes() const { return static_cast<char*>(start_); }

  private:
    void* start_ = nullptr;
    Residence residence_ = Residence::kDevice;
};

// What one call from the host needs, for up to `windows` windows.
struct Staging {
    Staging(int64_t count, size_t in_bytes, size_t out_bytes)
        : windows(count), in(in_bytes, Residence::kDevice), out(out_bytes, Residence::kDevice),
          pinned_in(in_bytes, Residence::kPinned), pinned_out(out_bytes, Residence::kPinned) {
        require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
    }
    ~Staging() { cudaStreamDestroy(stream); }
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;

    const int64_t windows;
    CardMemory in, out, pinned_in, pinned_out;
    cudaStream_t stream = nullptr;
};

std::string missing_driver(cudaError_t status) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const auto version = [](int number) {
        return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
    };
    cudaGetLastError();
    if (driver == 0) return "there is no NVIDIA driver; install one, or use another backend";
    if (driver < runtime)
        return "the NVIDIA driver is for CUDA " + version(driver) + ", and this library needs one for CUDA " +
               version(runtime) + " or newer; install a newer driver";
    return std::string("there is no NVIDIA card that CUDA can use: ") + cudaGetErrorString(status);
}

Device device_of(int number) {
    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, number), "asking for the device's properties");
    return {number,           properties.name, properties.major, properties.minor, properties.multiProcessorCount,
            static_cast<int>(properties.sharedMemPerBlockOptin)};
}

}  // namespace

std::vector<Device> devices() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) throw CudaError(missing_driver(status));
    std::vector<Device> all;
    for (int i = 0; i < count; ++i) all.push_back(device_of(i));
    return all;
}

struct Encoder::State {
    Dimensions dims;
    Sizes sizes;
    Precision precision;
    Device device;
    NetworkOffsets offsets;
    CardMemory packed;
    std::vector<Buffers> buffers;  // for one window a block, for two, and so on
    Kernel kernel{};
    std::mutex mutex;
    std::map<cudaStream_t, CardMemory> workspaces;
    std::vector<std::unique_ptr<Staging>> free_stagings;

    int64_t in_size() const { return dims.keyframes() * dims.joint_dim; }
    int64_t out_size() const { return dims.tokens() * dims.joint_dim; }

    // As many windows a block as leave no multiprocessor without work.
    const Buffers& buffers_for(int64_t batch) const {
        const auto most = static_cast<int64_t>(buffers.size());
        const int64_t windows = std::clamp<int64_t>(batch / device.multiprocessors, 1, most);
        return buffers[static_cast<size_t>(windows - 1)];
    }

    char* workspace_of(cudaStream_t stream, size_t bytes) {
        if (bytes == 0) return nullptr;
        const std::lock_guard<std::mutex> lock(mutex);
        auto place = workspaces.find(stream);
        if (place == workspaces.end()) place = workspaces.emplace(stream, CardMemory(bytes, Residence::kDevice)).first;
        return place->second.bytes();
    }

    std::unique_ptr<Staging> take_staging(int64_t windows) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            for (std::unique_ptr<Staging>& staging : free_stagings)
                if (staging->windows >= windows) {
                    std::swap(staging, free_stagings.back());
                    std::unique_ptr<Staging> fitting = std::move(free_stagings.back());
                    free_stagings.pop_back();
                    return fitting;
                }
        }
        // Powers of two, so that a slowly growing batch does not allocate each time.
        int64_t count = 1;
        while (count < windows) count *= 2;
        const auto bytes = [&](int64_t size) { return static_cast<size_t>(count * size) * sizeof(float); };
        return std::make_unique<Staging>(count, bytes(in_size()), bytes(out_size()));
    }
};

Encoder::Encoder(const Dimensions& dims, const Weights& weights, Precision precision, int device)
    : state_(std::make_unique<State>()) {
    const std::vector<Device> all = devices();
    if (device < 0 || device >= static_cast<int>(all.size()))
        throw CudaError("device must be from 0 to " + std::to_string(all.size() - 1) + ", found " +
                        std::to_string(device));
    State& s = *state_;
    s.dims = dims, s.sizes = sizes_of(dims), s.precision = precision;
    s.device = all[static_cast<size_t>(device)];
    const OnDevice on(device);
    const int most = most_windows(s.sizes, precision, s.device.shared_limit);
    for (int windows = 1; windows <= most; ++windows)
        s.buffers.push_back(buffers_of(s.sizes, precision, windows, s.device.shared_limit));
    s.kernel = kernel_for(s.sizes, precision, s.buffers[0].workspace_bytes == 0);
    const auto* function = reinterpret_cast<const void*>(s.kernel.function);
    cudaFuncAttributes attributes{};
    if (cudaFuncGetAttributes(&attributes, function) == cudaErrorNoKernelImageForDevice) {
        cudaGetLastError();
        throw CudaError("this library holds no code for " + s.device.name + " (compute capability " +
                        std::to_string(s.device.major) + "." + std::to_string(s.device.minor) +
                        "); build it with MIXSYNTH_ARCH=" + std::to_string(10 * s.device.major + s.device.minor));
    }
    require(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, s.device.shared_limit),
            "asking for shared memory");
    s.offsets = offsets_of(s.sizes, precision);
    std::vector<float> packed(static_cast<size_t>(s.offsets.size));
    pack(dims, weights, precision, packed.data());
    s.packed = CardMemory(packed.size() * sizeof(float), Residence::kDevice);
    require(cudaMemcpy(s.packed.floats(), packed.data(), packed.size() * sizeof(float), cudaMemcpyHostToDevice),
            "copying the weights");
}

Encoder::~Encoder() = default;

void Encoder::forward(const float* keyframes, int64_t batch, float* motion, void* stream) {
    if (batch == 0) return;
    State& s = *state_;
    const OnDevice on(s.device.number);
    const Buffers& buffers = s.buffers_for(batch);
    const int64_t groups = (batch + buffers.windows - 1) / buffers.windows;
    const auto blocks = static_cast<unsigned>(std::min<int64_t>(groups, s.device.multiprocessors));
    const auto queue = static_cast<cudaStream_t>(stream);
    const auto all_bytes = static_cast<size_t>(buffers.workspace_bytes) * static_cast<size_t>(s.device.multiprocessors);
    Forward call{s.sizes, s.offsets, buffers, s.packed.floats(), keyframes, motion, batch,
                 s.workspace_of(queue, all_bytes)};
    void* arguments[] = {&call};
    require(cudaLaunchKernel(reinterpret_cast<const void*>(s.kernel.function), dim3(blocks),
                             dim3(32, static_cast<unsigned>(s.kernel.warps)), arguments,
                             static_cast<size_t>(buffers.shared_bytes), queue),
            "launching the encoder");
}

void Encoder::forward_on_host(const float* keyframes, int64_t batch, float* motion) {
    State& s = *state_;
    const OnDevice on(s.device.number);
    for (int64_t first = 0; first < batch; first += kMostStaged) {
        const int64_t count = std::min(batch - first, kMostStaged);
        const auto in_bytes = static_cast<size_t>(count * s.in_size()) * sizeof(float);
        const auto out_bytes = static_cast<size_t>(count * s.out_size()) * sizeof(float);
        std::unique_ptr<Staging> staging = s.take_staging(count);
        std::memcpy(staging->pinned_in.floats(), keyframes + first * s.in_size(), in_bytes);
        require(cudaMemcpyAsync(staging->in.floats(), staging->pinned_in.floats(), in_bytes, cudaMemcpyHostToDevice,
                                staging->stream),
                "copying keyframes");
        forward(staging->in.floats(), count, staging->out.floats(), staging->stream);
        require(cudaMemcpyAsync(staging->pinned_out.floats(), staging->out.floats(), out_bytes, cudaMemcpyDeviceToHost,
                                staging->stream),
                "copying motion");
        require(cudaStreamSynchronize(staging->stream), "the encoder");
        std::memcpy(motion + first * s.out_size(), staging->pinned_out.floats(), out_bytes);
        const std::lock_guard<std::mutex> lock(s.mutex);
        s.free_stagings.push_back(std::move(staging));
    }
}

const Device& Encoder::device() const { return state_->device; }

std::string Encoder::problem_with(const void* address) const {
    cudaPointerAttributes attributes{};
    require(cudaPointerGetAttributes(&attributes, address), "asking where an address lies");
    if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
        return "found host memory";
    if (attributes.type == cudaMemoryTypeDevice && attributes.device != state_->device.number)
        return "found memory of device " + std::to_string(attributes.device);
    return "";
}

}  // namespace mixsynth::card
