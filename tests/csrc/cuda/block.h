// Block: the threads of one emulated block, one at a time. A thread runs until it waits for others: lanes of a warp wait
// for each other at a warp's instruction, and all threads at a barrier.
//
// Whoever comes last to a warp's instruction carries it out for all lanes. A fault is found and named: lanes of one warp
// at different instructions, threads that end while others wait, and whatever Memory finds.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "fiber.h"
#include "memory.h"

namespace mixsynth::card {

// In which order threads take turns: what a kernel computes must not depend on it.
enum class Order { kForward, kBackward };

class Block {
  public:
    explicit Block(int warps, Order order = Order::kForward)
        : order_(order), threads_(static_cast<size_t>(warps * kLanesOfWarp)), warps_(static_cast<size_t>(warps)) {}

    // Memory that the threads share. Reads and writes of it are checked until the next run.
    void watch(void* start, size_t bytes) { memories_.emplace_back().watch(start, bytes); }

    // Runs `body` in every thread, as block `index` of `count`.
    void run(int index, int count, std::function<void()> body) {
        index_ = index, count_ = count, body_ = std::move(body);
        for (ThreadState& thread : threads_) thread.state = State::kReady, thread.fiber.prepare(enter);
        current() = this;
        running_ = first();
        program_.switch_to(threads_[static_cast<size_t>(running_)].fiber);
        current() = nullptr;
        memories_.clear();
    }

    static Block*& current() {
        static Block* block = nullptr;
        return block;
    }
    int thread() const { return running_; }
    int warp_count() const { return static_cast<int>(warps_.size()); }
    int index() const { return index_; }
    int count() const { return count_; }
    Results* results = nullptr;
    int64_t conflicts = 0;  // of banks, in what load_matrices() read
    int64_t barriers = 0;

    void block_barrier(const Place& place) {
        threads_[index_of(running_)].place = place;
        wait(State::kAtBarrier);
    }
    void warp_barrier(const Place& place) {
        const char none = 0;
        together<char, char>(place, none, [&](const char*, char*) { ++warp().turn; });
    }

    // One instruction of a warp: operate(operands of all lanes, results of all lanes) -> this lane's result.
    template <typename Operand, typename Result, typename Operate>
    Result together(const Place& place, const Operand& operand, Operate operate) {
        static_assert(sizeof(Operand) <= kSlot && sizeof(Result) <= kSlot);
        Warp& warp = this->warp();
        const size_t lane = index_of(running_ % kLanesOfWarp);
        std::memcpy(warp.operands + lane * kSlot, &operand, sizeof operand);
        ThreadState& thread = threads_[index_of(running_)];
        thread.place = place;
        if (warp.arrived == 0) warp.place = place;
        if (place.line != warp.place.line || std::strcmp(place.file, warp.place.file) != 0)
            fault(place, "lanes of one warp are at different instructions, others at " + text(warp.place));
        if (++warp.arrived < kLanesOfWarp) {
            wait(State::kAtInstruction);
        } else {
            std::vector<Operand> operands(kLanesOfWarp);
            std::vector<Result> results(kLanesOfWarp);
            for (size_t i = 0; i < kLanesOfWarp; ++i)
                std::memcpy(&operands[i], warp.operands + i * kSlot, sizeof(Operand));
            operate(operands.data(), results.data());
            for (size_t i = 0; i < kLanesOfWarp; ++i)
                std::memcpy(warp.results + i * kSlot, &results[i], sizeof(Result));
            warp.arrived = 0;
            release(State::kAtInstruction, running_ / kLanesOfWarp);
        }
        Result result;
        std::memcpy(&result, warp.results + lane * kSlot, sizeof result);
        return result;
    }

    void on_read(const void* address, size_t bytes, const Place& place) { read_by(running_, address, bytes, place); }
    void read_by(int thread, const void* address, size_t bytes, const Place& place) {
        memory_of(address, bytes, place).on_read(address, bytes, stamp(thread), place);
    }
    void on_write(const void* address, size_t bytes, const Place& place) {
        memory_of(address, bytes, place).on_write(address, bytes, stamp(running_), place);
    }

  private:
    enum class State { kReady, kAtInstruction, kAtBarrier, kDone };
    static constexpr size_t kSlot = 64;

    struct ThreadState {
        Fiber fiber;
        State state = State::kDone;
        Place place{"", 0};
    };
    struct Warp {
        uint32_t turn = 0;
        int arrived = 0;
        Place place{"", 0};
        char operands[kLanesOfWarp * kSlot], results[kLanesOfWarp * kSlot];
    };

    static size_t index_of(int i) { return static_cast<size_t>(i); }
    static std::string text(const Place& place) { return std::string(place.file) + ":" + std::to_string(place.line); }
    Warp& warp() { return warps_[index_of(running_ / kLanesOfWarp)]; }
    Thread stamp(int thread) const {
        return {thread, static_cast<uint32_t>(barriers), warps_[index_of(thread / kLanesOfWarp)].turn};
    }
    Memory& memory_of(const void* address, size_t bytes, const Place& place) {
        if (reinterpret_cast<uintptr_t>(address) % bytes)
            fault(place, "an address is no multiple of the " + std::to_string(bytes) + " bytes that it names");
        for (Memory& memory : memories_)
            if (memory.holds(address, bytes)) return memory;
        fault(place, "thread " + std::to_string(running_) + " leaves the memory of its block");
    }

    static void enter() {
        Fiber::begin();
        Block& block = *current();
        block.body_();
        block.wait(State::kDone);
    }

    int first() const { return order_ == Order::kForward ? 0 : static_cast<int>(threads_.size()) - 1; }
    // The `i`th thread after the running one, in the order of turns: its warp first.
    int after(int i, int threads, int base) const {
        const int step = order_ == Order::kForward ? i : threads - i;
        return base + (running_ - base + step) % threads;
    }

    void release(State state, int only_warp) {
        const size_t begin = only_warp < 0 ? 0 : index_of(only_warp * kLanesOfWarp);
        const size_t end = only_warp < 0 ? threads_.size() : begin + kLanesOfWarp;
        for (size_t i = begin; i < end; ++i)
            if (threads_[i].state == state) threads_[i].state = State::kReady;
    }

    // The running thread gives way in `state`; returns when it is ready again.
    void wait(State state) {
        const int from = running_;
        threads_[index_of(from)].state = state;
        const int next = next_ready();
        if (next == from) return;
        running_ = next;
        threads_[index_of(from)].fiber.switch_to(next < 0 ? program_ : threads_[index_of(next)].fiber);
    }

    int next_ready() {
        const int base = running_ / kLanesOfWarp * kLanesOfWarp, all = static_cast<int>(threads_.size());
        const auto is_ready = [&](int thread) { return threads_[index_of(thread)].state == State::kReady; };
        for (int i = 1; i < kLanesOfWarp; ++i)
            if (const int next = after(i, kLanesOfWarp, base); is_ready(next)) return next;
        for (int i = 1; i < all; ++i)
            if (const int next = after(i, all, 0); is_ready(next)) return next;
        return pass_barrier();
    }

    // Nobody is ready: all have come to the barrier, or all have ended, or something is wrong.
    int pass_barrier() {
        int counts[4] = {};
        const ThreadState* stuck = nullptr;
        for (const ThreadState& thread : threads_) {
            ++counts[static_cast<int>(thread.state)];
            if (thread.state == State::kAtInstruction) stuck = &thread;
            if (thread.state == State::kAtBarrier && !stuck) stuck = &thread;
        }
        const int all = static_cast<int>(threads_.size());
        if (counts[static_cast<int>(State::kDone)] == all) return -1;
        if (stuck->state == State::kAtInstruction)
            fault(stuck->place, "an instruction of a warp that not all of its lanes reach");
        if (counts[static_cast<int>(State::kAtBarrier)] != all)
            fault(stuck->place, "a barrier that not all threads reach");
        ++barriers;
        release(State::kAtBarrier, -1);
        return first();
    }

    const Order order_;
    Fiber program_;
    std::vector<ThreadState> threads_;
    std::vector<Warp> warps_;
    std::vector<Memory> memories_;
    std::function<void()> body_;
    int running_ = 0, index_ = 0, count_ = 1;
};

}  // namespace mixsynth::card
