// Workspaces: the scratch memory of calls, and the threads that share a batch.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "python/arguments.h"

namespace mixsynth::python {

// Floats on a boundary of 64 bytes, on which forward() is fastest.
struct Aligned {
    void operator()(float* numbers) const { ::operator delete[](numbers, kLine); }
    static constexpr std::align_val_t kLine{64};
};
using Memory = std::unique_ptr<float[], Aligned>;

inline Memory allocate(size_t floats) {
    return Memory(static_cast<float*>(::operator new[](floats * sizeof(float), Aligned::kLine)));
}

// A pool of scratch memory. A call returns its memory for the next one, so that calls allocate nothing once there is
// enough for all that run at once.
class Workspaces {
  public:
    explicit Workspaces(size_t floats) : floats_(floats) {}
    Memory take() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!free_.empty()) {
                Memory memory = std::move(free_.back());
                free_.pop_back();
                return memory;
            }
        }
        return allocate(floats_);
    }
    void give_back(Memory memory) {
        const std::lock_guard<std::mutex> lock(mutex_);
        free_.push_back(std::move(memory));
    }

  private:
    const size_t floats_;
    std::mutex mutex_;
    std::vector<Memory> free_;
};

// The number of threads that the caller asks for, but at most one a window.
inline int64_t threads_of(const py::object& threads, int64_t batch) {
    constexpr int64_t kMostThreads = 256;
    const int64_t request = whole_number("threads", threads);
    if (request < 1 || request > kMostThreads)
        throw py::value_error("threads must be from 1 to " + std::to_string(kMostThreads) + ", found " +
                              std::to_string(request));
    return std::min(request, std::max<int64_t>(batch, 1));
}

// Cuts a batch into `parts` parts and calls part(i, first window, number of windows, workspace) for each. At most
// `threads` threads work, and the caller's is one of them.
template <typename Part>
void in_threads(int64_t threads, int64_t parts, int64_t batch, Workspaces& pool, Part part) {
    std::vector<Memory> workspaces(static_cast<size_t>(std::max<int64_t>(std::min(threads, parts), 1)));
    for (Memory& workspace : workspaces) workspace = pool.take();
    // A thread takes the next part when it is free: a core with other work delays nobody.
    std::atomic<int64_t> next{0};
    const auto work = [&](float* workspace) {
        for (int64_t i = next++; i < parts; i = next++) {
            const int64_t first = batch * i / parts;
            part(i, first, batch * (i + 1) / parts - first, workspace);
        }
    };
    std::vector<std::thread> others;
    others.reserve(workspaces.size());
    try {
        for (size_t i = 1; i < workspaces.size(); ++i) others.emplace_back(work, workspaces[i].get());
    } catch (const std::system_error&) {  // The system starts no more threads: those that run do all the work.
    }
    work(workspaces[0].get());
    for (std::thread& thread : others) thread.join();
    for (Memory& workspace : workspaces) pool.give_back(std::move(workspace));
}

}  // namespace mixsynth::python
