// Machine: what the fake CUDA runtime believes to run on, two cards in host memory and their streams.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "cuda_runtime_api.h"

namespace fake {

constexpr int kMultiprocessors = 4;

struct Stream {
    std::deque<std::function<void()>> queue, graph;  // the graph is what was captured last
    size_t queued = 0, done = 0;
    unsigned long long capture = 0;  // its number while there is one

    void add(std::function<void()> work) {
        if (capture) return graph.push_back(std::move(work));
        queue.push_back(std::move(work));
        ++queued;
    }
    void run(size_t until) {
        while (done < until) {
            const std::function<void()> work = std::move(queue.front());
            queue.pop_front();
            ++done;
            work();
        }
    }
};

struct Event {
    Stream* stream = nullptr;
    size_t until = 0;
};

struct Block {
    size_t bytes;
    cudaMemoryType type;
    int device;
    void* context;
};

struct Failure {
    cudaError_t status;
    int times;
};

struct Machine {
    std::recursive_mutex mutex;
    unsigned long long captures = 0;
    const void* workspace = nullptr;  // of the last launch, as `windows` a block
    int windows = 0;
    int devices = 2, major = 9, minor = 0, driver = 13000, shared_limit = 227 * 1024, launches = 0;
    cudaError_t last = cudaSuccess, broken = cudaSuccess;
    std::map<std::string, Failure> failures;
    std::map<uintptr_t, Block> blocks;
    std::map<cudaStream_t, std::unique_ptr<Stream>> streams;
    std::map<cudaEvent_t, std::unique_ptr<Event>> events;
    char primary[8] = {}, foreign = 0;
    uintptr_t next_handle = 1000;

    Stream* stream(cudaStream_t handle) {
        const bool is_default = handle == nullptr || handle == cudaStreamPerThread;
        if (is_default && !streams.count(handle)) streams[handle] = std::make_unique<Stream>();
        const auto place = streams.find(handle);
        return place == streams.end() ? nullptr : place->second.get();
    }
    void run_all() {
        for (auto& [handle, stream] : streams) stream->run(stream->queued);
    }
    const Block* block(const void* address, size_t bytes = 0) const {
        auto place = blocks.upper_bound(reinterpret_cast<uintptr_t>(address));
        if (place == blocks.begin()) return nullptr;
        --place;
        return reinterpret_cast<uintptr_t>(address) + bytes <= place->first + place->second.bytes &&
                       reinterpret_cast<uintptr_t>(address) < place->first + place->second.bytes
                   ? &place->second
                   : nullptr;
    }
};

inline Machine& machine() {
    static Machine instance;
    return instance;
}
inline thread_local void* context = nullptr;
inline thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

using Lock = std::lock_guard<std::recursive_mutex>;

inline cudaError_t ended(cudaError_t status) {
    if ((status >= cudaErrorIllegalAddress && status <= cudaErrorLaunchFailure) || status == cudaErrorECCUncorrectable) machine().broken = status;
    return machine().last = status;
}

inline cudaError_t allocate(void** start, size_t bytes, cudaMemoryType type, int device, void* owner) {
    *start = std::malloc(bytes);
    std::memset(*start, 0xff, bytes);  // NaN
    machine().blocks[reinterpret_cast<uintptr_t>(*start)] = {bytes, type, device, owner};
    return cudaSuccess;
}
inline int device_of(const void* of_context) {
    return of_context ? static_cast<int>(static_cast<const char*>(of_context) - machine().primary) : 0;
}

}  // namespace fake
