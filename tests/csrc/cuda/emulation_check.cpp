// Check of the emulation: small kernels of which all but some are wrong, each in one way.
//
//     emulation_check NAME     runs one of them; a fault ends the program with kFaultExit and one line
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "emulation.h"

using namespace mixsynth::card;

namespace {

constexpr int kThreads = 64;

// What each kernel does with its shared memory.
using Kernel = void (*)(float* shared);

int thread() { return warp() * kLanesOfWarp + lane(); }

void neighbour(float* shared) {
    store(shared + thread(), static_cast<float>(thread()));
    block_barrier();
    const float other = load(shared + (thread() + 1) % kThreads);
    block_barrier();
    store(shared + thread(), other);
}

void neighbour_of_warp(float* shared) {
    const int base = warp() * kLanesOfWarp;
    store(shared + thread(), static_cast<float>(thread()));
    warp_barrier();
    const float other = load(shared + base + (lane() + 1) % kLanesOfWarp);
    warp_barrier();
    store(shared + thread(), other);
}

void sum_of_warp(float* shared) {
    float sum = static_cast<float>(lane());
    for (int mask = 1; mask < kLanesOfWarp; mask *= 2) sum += shuffle_xor(sum, mask);
    store(shared + thread(), sum);
}

void read_without_barrier(float* shared) {
    store(shared + thread(), 1.0f);
    load(shared + (thread() + 1) % kThreads);
}
void read_of_another_warp(float* shared) {
    store(shared + thread(), 1.0f);
    warp_barrier();
    load(shared + (thread() + kLanesOfWarp) % kThreads);
}
void write_after_read(float* shared) {
    load(shared + (thread() + 1) % kThreads);
    store(shared + thread(), 1.0f);
}
void read_after_write(float* shared) {
    if (thread() == 0) store(shared, 1.0f);
    if (thread() == 1) load(shared);
}
void two_writers(float* shared) { store(shared + thread() / 2, 1.0f); }
void half_of_a_barrier(float*) {
    if (warp() == 0) block_barrier();
}
void half_of_a_warp(float*) {
    if (lane() < 16) shuffle_xor(1.0f, 1);
}
void different_instructions(float*) {
    if (lane() < 16)
        shuffle_xor(1.0f, 1);
    else
        shuffle_xor(1.0f, 1);
}
void beyond_the_end(float* shared) { store(shared + thread() + 1, 1.0f); }
void between_numbers(float* shared) { load(reinterpret_cast<float*>(reinterpret_cast<char*>(shared) + 2)); }
// Results [kThreads], which every kernel that writes some must complete.
float results[kThreads];
void a_result_each(float*) { store_result(results + thread(), 1.0f); }
void result_twice(float*) { store_result(results + thread() / 2, 1.0f); }
void result_left_out(float*) {
    if (thread() > 0) store_result(results + thread(), 1.0f);
}
void result_beyond_the_end(float*) { store_result(results + thread() + 1, 1.0f); }
void uninitialised(float* shared) {
    const float number = load(shared + thread());
    if (thread() == 0) std::printf("%f\n", static_cast<double>(number));
}

const std::map<std::string, Kernel> kKernels = {
    {"neighbour", neighbour},
    {"neighbour_of_warp", neighbour_of_warp},
    {"sum_of_warp", sum_of_warp},
    {"read_without_barrier", read_without_barrier},
    {"read_of_another_warp", read_of_another_warp},
    {"write_after_read", write_after_read},
    {"read_after_write", read_after_write},
    {"two_writers", two_writers},
    {"half_of_a_barrier", half_of_a_barrier},
    {"half_of_a_warp", half_of_a_warp},
    {"different_instructions", different_instructions},
    {"beyond_the_end", beyond_the_end},
    {"between_numbers", between_numbers},
    {"a_result_each", a_result_each},
    {"result_twice", result_twice},
    {"result_left_out", result_left_out},
    {"result_beyond_the_end", result_beyond_the_end},
    {"uninitialised", uninitialised},
};

}  // namespace

int main(int count, char** arguments) {
    const auto kernel = kKernels.find(count > 1 ? arguments[1] : "");
    if (kernel == kKernels.end()) {
        std::printf("there is no such kernel\n");
        return 2;
    }
    for (const Order order : {Order::kForward, Order::kBackward}) {
        std::vector<float> shared(kThreads, NAN);
        Block block(kThreads / kLanesOfWarp, order);
        block.watch(shared.data(), shared.size() * sizeof(float));
        Results written(results, kThreads);
        block.results = &written;
        block.run(0, 1, [&] { kernel->second(shared.data()); });
        if (kernel->first.find("result") != std::string::npos) written.check_complete({__FILE__, __LINE__});
        std::printf("%g %g\n", static_cast<double>(shared[0]), static_cast<double>(shared[kThreads - 1]));
    }
    return 0;
}
