#include "cuda/launch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "cuda/kernel.h"

namespace mixsynth::card {
namespace {

// Motion that passes through pinned memory at once, and how many such pieces are under way in a call or kept for later.
constexpr int64_t kStagedBytes = int64_t{16} << 20;
constexpr size_t kUnderWay = 2, kMostKept = 4;

// A stream of our own, which waits for no other. What is queued on it is done when it goes.
class OwnStream {
  public:
    OwnStream() {
        const BesideCaptures beside;
        require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
    }
    ~OwnStream() { cudaStreamSynchronize(stream_), cudaStreamDestroy(stream_); }
    OwnStream(const OwnStream&) = delete;
    OwnStream& operator=(const OwnStream&) = delete;
    operator cudaStream_t() const { return stream_; }

  private:
    cudaStream_t stream_ = nullptr;
};

// What one call from the host needs, for up to `windows` windows.
struct Staging {
    Staging(int64_t count, size_t in_bytes, size_t out_bytes, size_t workspace_bytes)
        : windows(count), in(in_bytes, Residence::kDevice), out(out_bytes, Residence::kDevice),
          workspace(workspace_bytes, Residence::kDevice), pinned_in(in_bytes, Residence::kPinned),
          pinned_out(out_bytes, Residence::kPinned) {}

    const int64_t windows;
    CardMemory in, out, workspace, pinned_in, pinned_out;
    // The last, so that it goes first: the memory may still be in use where a call has failed half way.
    OwnStream stream;
};

// A part of a batch on its way.
struct Piece {
    std::unique_ptr<Staging> staging;
    int64_t first = 0, count = 0;
};

// A stream, or one while a graph is captured: the graph may run later beside all else that the stream does. The default
// stream of each thread has one name for all.
using StreamKey = std::tuple<cudaStream_t, std::thread::id, unsigned long long>;

StreamKey key_of(cudaStream_t stream) {
    const bool is_threads_own = stream == cudaStreamPerThread;
    return {stream, is_threads_own ? std::this_thread::get_id() : std::thread::id(), capture_of(stream)};
}

cudaEvent_t new_event() {
    cudaEvent_t event = nullptr;
    require(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
    return event;
}

}  // namespace

struct Encoder::State {
    Dimensions dims;
    Sizes sizes;
    Precision precision;
    Device device;
    void* context = nullptr;
    NetworkOffsets offsets;
    CardMemory packed;
    std::vector<Buffers> buffers;  // for one window a block, for two, and so on
    Kernel kernel{};
    std::mutex mutex;
    std::map<StreamKey, CardMemory> workspaces;
    std::vector<std::unique_ptr<Staging>> free_stagings;
    std::vector<cudaEvent_t> free_events;

    int64_t in_size() const { return dims.keyframes() * dims.joint_dim; }
    int64_t out_size() const { return dims.tokens() * dims.joint_dim; }
    int64_t most_staged() const {
        return std::max<int64_t>(1, kStagedBytes / (out_size() * static_cast<int64_t>(sizeof(float))));
    }

    // Blocks take as few turns as they can, and as few windows a turn as that allows.
    const Buffers& buffers_for(int64_t batch) const {
        const auto most = static_cast<int64_t>(buffers.size());
        const auto parts = [](int64_t all, int64_t of) { return (all + of - 1) / of; };
        const int64_t turns = parts(batch, most * device.multiprocessors);
        return buffers[static_cast<size_t>(parts(batch, turns * device.multiprocessors) - 1)];
    }

    // A block for each multiprocessor; only networks whose blocks take one window each have one.
    size_t workspace_bytes() const {
        return static_cast<size_t>(buffers[0].workspace_bytes) * static_cast<size_t>(device.multiprocessors);
    }
    char* workspace_of(cudaStream_t stream) {
        const size_t bytes = workspace_bytes();
        if (bytes == 0) return nullptr;
        const StreamKey key = key_of(stream);
        const std::lock_guard<std::mutex> lock(mutex);
        auto place = workspaces.find(key);
        if (place == workspaces.end()) place = workspaces.emplace(key, CardMemory(bytes, Residence::kDevice)).first;
        return place->second.bytes();
    }

    // Queues the network on the stream, with a workspace that nothing else uses meanwhile.
    void launch(const float* keyframes, int64_t batch, float* motion, char* workspace, cudaStream_t stream) const {
        const Buffers& of_block = buffers_for(batch);
        const int64_t groups = (batch + of_block.windows - 1) / of_block.windows;
        const auto blocks = static_cast<unsigned>(std::min<int64_t>(groups, device.multiprocessors));
        Forward call{sizes, offsets, of_block, packed.floats(), keyframes, motion, batch, workspace};
        void* arguments[] = {&call};
        require(cudaLaunchKernel(reinterpret_cast<const void*>(kernel.function), dim3(blocks),
                                 dim3(32, static_cast<unsigned>(kernel.warps)), arguments,
                                 static_cast<size_t>(of_block.shared_bytes), stream),
                "launching the encoder");
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
        count = std::max(windows, std::min(count, most_staged()));
        const auto bytes = [&](int64_t size) { return static_cast<size_t>(count * size) * sizeof(float); };
        return std::make_unique<Staging>(count, bytes(in_size()), bytes(out_size()), workspace_bytes());
    }
    // The smallest of too many goes.
    void keep(std::unique_ptr<Staging> staging) {
        const std::lock_guard<std::mutex> lock(mutex);
        free_stagings.push_back(std::move(staging));
        if (free_stagings.size() <= kMostKept) return;
        const auto is_smaller = [](const auto& a, const auto& b) { return a->windows < b->windows; };
        free_stagings.erase(std::min_element(free_stagings.begin(), free_stagings.end(), is_smaller));
    }

    cudaEvent_t take_event() {
        const std::lock_guard<std::mutex> lock(mutex);
        if (free_events.empty()) return new_event();
        const cudaEvent_t event = free_events.back();
        free_events.pop_back();
        return event;
    }

    ~State() {
        for (const cudaEvent_t event : free_events) cudaEventDestroy(event);
    }
};

namespace {

std::string missing_code(const Device& device) {
    const std::string card = device.name + " (compute capability " + std::to_string(device.major) + "." +
                             std::to_string(device.minor) + ")";
    if (device.major < 8) return "the CUDA encoder needs compute capability 8.0 or newer, found " + card;
    return "this library holds no code for " + card + "; build it on this machine, or with MIXSYNTH_ARCH=all";
}

}  // namespace

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
    s.context = current_context();
    const int most = most_windows(s.sizes, precision, s.device.shared_limit);
    for (int windows = 1; windows <= most; ++windows)
        s.buffers.push_back(buffers_of(s.sizes, precision, windows, s.device.shared_limit));
    s.kernel = kernel_for(s.sizes, precision, s.buffers[0].workspace_bytes == 0);
    const auto* function = reinterpret_cast<const void*>(s.kernel.function);
    cudaFuncAttributes attributes{};
    const cudaError_t status = cudaFuncGetAttributes(&attributes, function);
    if (status == cudaErrorNoKernelImageForDevice) {
        cudaGetLastError();
        throw CudaError(missing_code(s.device));
    }
    require(status, "loading the encoder");
    require(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, s.device.shared_limit),
            "asking for shared memory");
    s.offsets = offsets_of(s.sizes, precision);
    std::vector<float> packed(static_cast<size_t>(s.offsets.size));
    pack(dims, weights, precision, packed.data());
    s.packed = CardMemory(packed.size() * sizeof(float), Residence::kDevice);
    const OwnStream copying;
    // Copies from pageable memory may return before the weights are on the card, and other streams do not wait for them.
    require(cudaMemcpyAsync(s.packed.floats(), packed.data(), packed.size() * sizeof(float), cudaMemcpyHostToDevice,
                            copying),
            "copying the weights");
    require(cudaStreamSynchronize(copying), "copying the weights");
}

Encoder::~Encoder() {
    try {
        const OnDevice on(state_->device.number, state_->context);
        state_.reset();
    } catch (const CudaError&) {
        // The device is gone, and its memory with it.
    }
}

void Encoder::forward(const float* keyframes, int64_t batch, float* motion, cudaStream_t stream) {
    require_usable();
    if (batch == 0) return;
    State& s = *state_;
    const OnDevice on(s.device.number, s.context);
    s.launch(keyframes, batch, motion, s.workspace_of(stream), stream);
}

void Encoder::forward_on_host(const float* keyframes, int64_t batch, float* motion) {
    require_usable();
    State& s = *state_;
    const OnDevice on(s.device.number, s.context);
    const auto bytes = [](int64_t count, int64_t size) { return static_cast<size_t>(count * size) * sizeof(float); };
    const auto start = [&](Piece& piece) {
        Staging& staging = *piece.staging;
        const size_t in_bytes = bytes(piece.count, s.in_size()), out_bytes = bytes(piece.count, s.out_size());
        std::memcpy(staging.pinned_in.floats(), keyframes + piece.first * s.in_size(), in_bytes);
        require(cudaMemcpyAsync(staging.in.floats(), staging.pinned_in.floats(), in_bytes, cudaMemcpyHostToDevice,
                                staging.stream),
                "copying keyframes");
        s.launch(staging.in.floats(), piece.count, staging.out.floats(), staging.workspace.bytes(), staging.stream);
        require(cudaMemcpyAsync(staging.pinned_out.floats(), staging.out.floats(), out_bytes, cudaMemcpyDeviceToHost,
                                staging.stream),
                "copying motion");
    };
    const auto finish = [&](Piece& piece) {
        if (!piece.staging) return;
        require(cudaStreamSynchronize(piece.staging->stream), "the encoder");
        std::memcpy(motion + piece.first * s.out_size(), piece.staging->pinned_out.floats(),
                    bytes(piece.count, s.out_size()));
        s.keep(std::move(piece.staging));
    };
    // While the card works on one piece, the host copies another.
    std::array<Piece, kUnderWay> pieces;
    size_t turn = 0;
    for (int64_t first = 0; first < batch; turn = (turn + 1) % kUnderWay) {
        Piece& piece = pieces[turn];
        finish(piece);
        piece.first = first, piece.count = std::min(batch - first, s.most_staged());
        piece.staging = s.take_staging(piece.count);
        start(piece);
        first += piece.count;
    }
    for (size_t i = 0; i < kUnderWay; ++i) finish(pieces[(turn + i) % kUnderWay]);
}

void Encoder::order(cudaStream_t first, cudaStream_t then) {
    if (first == then) return;
    State& s = *state_;
    const OnDevice on(s.device.number, s.context);
    const cudaEvent_t event = s.take_event();
    const cudaError_t recorded = cudaEventRecord(event, first);
    const cudaError_t waits = recorded == cudaSuccess ? cudaStreamWaitEvent(then, event, 0) : recorded;
    {
        const std::lock_guard<std::mutex> lock(s.mutex);
        s.free_events.push_back(event);
    }
    require(waits, "waiting for another stream");
}

std::shared_ptr<CardMemory> Encoder::allocate(size_t bytes) const {
    require_usable();
    const OnDevice on(state_->device.number, state_->context);
    // cudaFree() waits for all that is queued on the device.
    const auto free = [device = state_->device.number, context = state_->context](CardMemory* memory) {
        try {
            const OnDevice on_device(device, context);
            delete memory;
        } catch (const CudaError&) {
            // The device is gone, and its memory with it.
        }
    };
    return {new CardMemory(bytes, Residence::kDevice), free};
}

const Device& Encoder::device() const { return state_->device; }

std::string Encoder::problem_with(const void* address) const {
    return card::problem_with(address, state_->device.number, state_->context);
}

}  // namespace mixsynth::card
