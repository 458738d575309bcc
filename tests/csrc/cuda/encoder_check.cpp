// Check of the CUDA encoder without a card: its kernel runs in the emulation, in every precision, and is held to the
// paper's formulas in double precision. A race, a barrier that a thread misses or an address out of bounds ends it.
//
//     encoder_check N Q H D C L E RT RC BATCH WINDOWS WARPS SHARED    dimensions, batch, windows a block, warps, bytes
//
// Prints a line for each precision: its name, the largest error, and the largest number of the result.
#include <cstdio>
#include <cstdlib>

#include "cuda/encoder.h"
#include "cuda/operands.h"
#include "../paper.h"

using namespace mixsynth::card;

namespace {

struct Case {
    Dimensions dims;
    int batch, windows, warps, shared_limit;
};

struct Run {
    std::vector<float> motion;
    int64_t barriers = 0, conflicts = 0;
    Buffers buffers{};
};

template <class Kernel>
Run run(const Case& c, const mixsynth::Weights& weights, const std::vector<float>& keyframes, Precision precision,
        Order order, Kernel kernel) {
    Run result;
    const Sizes sizes = sizes_of(c.dims);
    Forward call{sizes, offsets_of(sizes, precision), buffers_of(sizes, precision, c.windows, c.shared_limit),
                 nullptr, keyframes.data(), nullptr, c.batch, nullptr};
    // Each buffer begins on a boundary of 128 bytes, as on a card, and ends where its bytes end.
    const auto allocate = [](size_t bytes) {
        return std::unique_ptr<char, decltype(&std::free)>(
            static_cast<char*>(std::aligned_alloc(128, (bytes + 127) / 128 * 128)), &std::free);
    };
    const auto packed = allocate(static_cast<size_t>(call.offsets.size) * sizeof(float));
    pack(c.dims, weights, precision, reinterpret_cast<float*>(packed.get()));
    call.packed = reinterpret_cast<const float*>(packed.get());
    result.motion.assign(static_cast<size_t>(c.batch * c.dims.tokens() * c.dims.joint_dim), NAN);
    call.motion = result.motion.data();
    const int groups = (c.batch + c.windows - 1) / c.windows, blocks = groups > 1 ? groups - 1 : 1;
    const auto shared_bytes = static_cast<size_t>(call.buffers.shared_bytes);
    const auto workspace_bytes = static_cast<size_t>(call.buffers.workspace_bytes);
    const auto workspace = allocate(workspace_bytes * static_cast<size_t>(blocks)), shared = allocate(shared_bytes);
    call.workspace = workspace.get();
    for (int i = 0; i < blocks; ++i) {
        Block block(c.warps, order);
        char* own = workspace.get() + workspace_bytes * static_cast<size_t>(i);
        // All bits set are NaN in fp32 and in bf16.
        std::memset(shared.get(), 0xff, shared_bytes);
        std::memset(own, 0xff, workspace_bytes);
        block.watch(shared.get(), shared_bytes);
        block.watch(own, workspace_bytes);
        block.run(i, blocks, [&] { kernel(call, sizes, shared.get()); });
        result.barriers += block.barriers, result.conflicts += block.conflicts;
    }
    result.buffers = call.buffers;
    return result;
}

// The largest error of motion [B, T, D], and the largest number of the formulas.
std::pair<double, double> largest_error(const Case& c, const mixsynth::Weights& weights,
                                        const std::vector<float>& keyframes, const std::vector<float>& motion) {
    double worst = 0.0, scale = 0.0;
    const float *in = keyframes.data(), *out = motion.data();
    for (int b = 0; b < c.batch; ++b) {
        Matrix window(static_cast<size_t>(c.dims.keyframes()), Row(static_cast<size_t>(c.dims.joint_dim)));
        for (Row& pose : window)
            for (double& number : pose) number = static_cast<double>(*in++);
        for (const Row& pose : reference(c.dims, weights, window))
            for (const double number : pose) {
                const double error = std::fabs(number - static_cast<double>(*out++));
                worst = std::isnan(worst) || worst >= error ? worst : error;
                scale = std::max(scale, std::fabs(number));
            }
    }
    return {worst, scale};
}

template <template <bool> class In>
void check(const char* name, const Case& c, Precision precision) {
    const RandomWeights random(c.dims);
    std::normal_distribution<float> normal;
    std::vector<float> keyframes;
    for (int64_t i = 0; i < c.batch * c.dims.keyframes() * c.dims.joint_dim; ++i) keyframes.push_back(normal(generator));
    const auto kernel = [&](const Forward& call, const Sizes& sizes, char* shared) {
        if (call.buffers.workspace_bytes)
            forward<In<false>>(call, sizes, shared);
        else
            forward<In<true>>(call, sizes, shared);
    };
    const Run result = run(c, random.weights, keyframes, precision, Order::kForward, kernel);
    const Run again = run(c, random.weights, keyframes, precision, Order::kBackward, kernel);
    if (std::memcmp(result.motion.data(), again.motion.data(), result.motion.size() * sizeof(float)) != 0) {
        std::printf("%s: the order of threads changes the result\n", name);
        std::exit(1);
    }
    const auto [error, scale] = largest_error(c, random.weights, keyframes, result.motion);
    std::printf("%s error %g scale %g barriers %ld conflicts %ld shared %d workspace %d\n", name, error, scale,
                long(result.barriers), long(result.conflicts), result.buffers.shared_bytes,
                result.buffers.workspace_bytes);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 14) {
        std::printf("thirteen numbers, please: they are listed at the top of encoder_check.cpp\n");
        return 2;
    }
    std::vector<int> n;
    for (int i = 1; i < count; ++i) n.push_back(std::atoi(arguments[i]));
    const Case c{{n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]}, n[9], n[10], n[11], n[12]};
    if (const char* problem = mixsynth::check(c.dims)) {
        std::printf("%s\n", problem);
        return 2;
    }
    check<Strict>("strict", c, Precision::kStrict);
    check<Tf32>("tf32", c, Precision::kTf32);
    check<Bf16>("bf16", c, Precision::kBf16);
    return 0;
}
