// Check of the CUDA encoder without a card: its kernel runs in the emulation, in every precision, and is held to the
// paper's formulas in double precision. A race, a barrier that a thread misses or an address out of bounds ends it.
//
//     encoder_check N Q H D C L E RT RC BATCH WINDOWS WARPS SHARED    dimensions, batch, windows a block, warps, bytes
//
// Prints a line for each precision: its name, the largest error, and the largest number of the result. Compiled with
// -DMIXSYNTH_FIXED it runs, in bf16, the kernel that knows the sizes, which must give the bits of the general one.
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
    Results results(result.motion.data(), result.motion.size());
    for (int i = 0; i < blocks; ++i) {
        Block block(c.warps, order);
        block.results = &results;
        char* own = workspace.get() + workspace_bytes * static_cast<size_t>(i);
        // All bits set are NaN in fp32 and in bf16.
        std::memset(shared.get(), 0xff, shared_bytes);
        std::memset(own, 0xff, workspace_bytes);
        block.watch(shared.get(), shared_bytes);
        block.watch(own, workspace_bytes);
        block.run(i, blocks, [&] { kernel(call, sizes, shared.get()); });
        result.barriers += block.barriers, result.conflicts += block.conflicts;
    }
    results.check_complete({__FILE__, __LINE__});
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

std::vector<float> random_keyframes(const Case& c) {
    std::normal_distribution<float> normal;
    std::vector<float> keyframes;
    for (int64_t i = 0; i < c.batch * c.dims.keyframes() * c.dims.joint_dim; ++i) keyframes.push_back(normal(generator));
    return keyframes;
}

void require_same(const char* name, const Run& a, const Run& b, const char* what) {
    if (std::memcmp(a.motion.data(), b.motion.data(), a.motion.size() * sizeof(float)) == 0) return;
    std::printf("%s: %s the result\n", name, what);
    std::exit(1);
}

void print(const char* name, const Case& c, const mixsynth::Weights& weights, const std::vector<float>& keyframes,
           const Run& run) {
    const auto [error, scale] = largest_error(c, weights, keyframes, run.motion);
    std::printf("%s error %g scale %g barriers %ld conflicts %ld shared %d workspace %d\n", name, error, scale,
                long(run.barriers), long(run.conflicts), run.buffers.shared_bytes, run.buffers.workspace_bytes);
}

// What is not finite in one window must not reach another, of its block or of a later turn of the block.
template <class Kernel>
void require_isolation(const char* name, const Case& c, const mixsynth::Weights& weights, std::vector<float> keyframes,
                       Precision precision, const Run& expected, Kernel kernel) {
    if (c.windows < 2 || c.batch < 2) return;
    const size_t in = keyframes.size() / static_cast<size_t>(c.batch), out = expected.motion.size() / static_cast<size_t>(c.batch);
    std::fill_n(keyframes.begin() + static_cast<std::ptrdiff_t>(in), in, INFINITY);
    Run result = run(c, weights, keyframes, precision, Order::kForward, kernel);
    for (size_t i = out; i < 2 * out; ++i)
        if (!std::isnan(std::exchange(result.motion[i], expected.motion[i]))) {
            std::printf("%s: a window of infinities gives finite motion\n", name);
            std::exit(1);
        }
    require_same(name, expected, result, "a window that is not finite changes others of");
}

template <template <bool> class In>
void general_kernel(const Forward& call, const Sizes& sizes, char* shared) {
    if (call.buffers.workspace_bytes)
        forward<In<false>>(call, sizes, shared);
    else
        forward<In<true>>(call, sizes, shared);
}

template <template <bool> class In>
void check(const char* name, const Case& c, Precision precision) {
    const RandomWeights random(c.dims);
    const std::vector<float> keyframes = random_keyframes(c);
    const Run result = run(c, random.weights, keyframes, precision, Order::kForward, general_kernel<In>);
    const Run again = run(c, random.weights, keyframes, precision, Order::kBackward, general_kernel<In>);
    require_same(name, result, again, "the order of threads changes");
    require_isolation(name, c, random.weights, keyframes, precision, result, general_kernel<In>);
    print(name, c, random.weights, keyframes, result);
}

#ifdef MIXSYNTH_FIXED
// With as many of the windows a block as its memory holds.
void check_fixed(Case c) {
    c.windows = std::min(c.windows, most_windows(sizes_of(c.dims), Precision::kBf16, c.shared_limit));
    const RandomWeights random(c.dims);
    const std::vector<float> keyframes = random_keyframes(c);
    const bool is_known = KnownSizes::use_fitting(sizes_of(c.dims), [&](auto fixed) {
        const auto kernel = [&](const Forward& call, const Sizes&, char* shared) { forward<Bf16<true>>(call, fixed, shared); };
        const Run result = run(c, random.weights, keyframes, Precision::kBf16, Order::kForward, kernel);
        const Run again = run(c, random.weights, keyframes, Precision::kBf16, Order::kBackward, kernel);
        const Run general = run(c, random.weights, keyframes, Precision::kBf16, Order::kForward, general_kernel<Bf16>);
        require_same("fixed", result, again, "the order of threads changes");
        require_same("fixed", result, general, "knowing the sizes changes");
        require_isolation("fixed", c, random.weights, keyframes, Precision::kBf16, result, kernel);
        print("bf16", c, random.weights, keyframes, result);
    });
    if (is_known) return;
    std::printf("no kernel knows these sizes\n");
    std::exit(2);
}
#endif

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
#ifdef MIXSYNTH_FIXED
    check_fixed(c);
#else
    check<Strict>("strict", c, Precision::kStrict);
    check<Tf32>("tf32", c, Precision::kTf32);
    check<Bf16>("bf16", c, Precision::kBf16);
#endif
    return 0;
}
