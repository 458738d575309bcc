// Check of the C++ core alone, for sanitizers, emulators and other compilers. Networks of random shapes and their
// derivatives are held to the paper's formulas in double precision; buffers have exactly the size that the header
// states, three threads share the weights, and a call must not allocate.
//
//     forward_check [SHAPES] [BITS]     registers of 128, 256 or 512 bits, or the widest; prints one line
//
// Exits with 1 where a number is wrong, and with 2 where this processor has no such registers.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <thread>

#include "paper.h"

thread_local int64_t allocations = 0;

#include "crop_check.h"
#include "glance_check.h"
#include "poses_check.h"

// Not inlined: GCC warns of a mismatch of malloc and delete where it sees both.
__attribute__((noinline)) void* operator new(size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, size_t) noexcept { std::free(memory); }

std::vector<float> random_numbers(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> numbers;
    for (int64_t i = 0; i < count; ++i) numbers.push_back(normal(generator));
    return numbers;
}

// The larger of two errors, or NaN where one of them is NaN.
double worse(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

// The largest difference of motion [B, T, D] and the paper's formulas for keyframes [B, Q+1, D].
double largest_error(const Dimensions& d, const mixsynth::Weights& weights, const std::vector<float>& keyframes,
                     const std::vector<float>& motion) {
    double worst = 0.0;
    const float* next = motion.data();
    for (const float* in = keyframes.data(); in < keyframes.data() + keyframes.size();) {
        Matrix window(static_cast<size_t>(d.keyframes()), Row(static_cast<size_t>(d.joint_dim)));
        for (Row& pose : window)
            for (double& v : pose) v = static_cast<double>(*in++);
        for (const Row& pose : reference(d, weights, window))
            for (double v : pose) worst = worse(worst, std::fabs(v - static_cast<double>(*next++)));
    }
    return worst;
}

// The example that begins mixsynth.h; `make` copies it from there.
std::vector<float> example(const mixsynth::Weights& weights, const float* keyframes, int64_t batch) {
#include "example.inc"
    return motion;
}

// The largest error of the example, whose dimensions are `d`.
double check_example(const Dimensions& d, int64_t batch) {
    const RandomWeights random(d);
    const std::vector<float> keyframes = random_numbers(batch * d.keyframes() * d.joint_dim);
    const std::vector<float> motion = example(random.weights, keyframes.data(), batch);
    if (motion.size() != static_cast<size_t>(batch * d.tokens() * d.joint_dim)) return INFINITY;
    return largest_error(d, random.weights, keyframes, motion);
}

// The largest error of a batch, computed by three threads at once that share the weights.
double check(const Dimensions& d, int64_t batch, int bits) {
    if (const char* problem = mixsynth::check(d)) {
        std::printf("%s\n", problem);
        return INFINITY;
    }
    const RandomWeights random(d);
    std::vector<float> packed(mixsynth::packed_size(d), NAN);
    mixsynth::pack(d, random.weights, packed.data());
    const std::vector<float> keyframes = random_numbers(batch * d.keyframes() * d.joint_dim);
    const size_t size = static_cast<size_t>(batch * d.tokens() * d.joint_dim);
    std::vector<std::vector<float>> motions(3, std::vector<float>(size, NAN));
    std::atomic<int64_t> allocated{0};
    std::vector<std::thread> threads;
    for (std::vector<float>& motion : motions)
        threads.emplace_back([&] {
            std::vector<float> workspace(mixsynth::workspace_size(d), NAN);
            const int64_t allocations_before = allocations;
            mixsynth::forward(d, packed.data(), keyframes.data(), batch, motion.data(), workspace.data(), bits);
            allocated += allocations - allocations_before;
        });
    for (std::thread& thread : threads) thread.join();
    if (allocated) std::printf("forward() allocated %ld times\n", long(allocated));
    if (allocated || motions[0] != motions[1] || motions[0] != motions[2]) return INFINITY;
    return largest_error(d, random.weights, keyframes, motions[0]);
}

// The sum of a layer's output for x [B, T, C], each number times its weight
double weighted_sum(const Dimensions& d, const mixsynth::Layer& layer, const std::vector<double>& x,
                    const std::vector<float>& weights) {
    const auto T = static_cast<size_t>(d.tokens()), C = static_cast<size_t>(d.emb_dim);
    double sum = 0.0;
    for (size_t first = 0; first < x.size(); first += T * C) {
        Matrix window(T, Row(C));
        for (size_t i = 0; i < T * C; ++i) window[i / C][i % C] = x[first + i];
        encoder_layer(d, layer, window);
        for (size_t i = 0; i < T * C; ++i) sum += window[i / C][i % C] * static_cast<double>(weights[first + i]);
    }
    return sum;
}

// The derivative of a layer along a random direction of x and all its weights: the difference between that of
// layer_backward() and that of the formulas at two points, as a share of the sizes of its terms.
double check_training(const Dimensions& d, int64_t batch, int bits) {
    const auto numbers = static_cast<size_t>(batch * d.tokens() * d.emb_dim);
    RandomWeights random(d);
    const mixsynth::Layer& layer = random.weights.layers[0];
    const auto pick = [](float spread) { return std::uniform_real_distribution<float>(-spread, spread)(generator); };
    std::vector<float> packed(mixsynth::packed_layer_size(d), NAN), workspace(mixsynth::layer_workspace_size(d), NAN);
    std::vector<float> gradients(mixsynth::layer_gradients_size(d));
    std::vector<float> x(numbers), d_out(numbers), x_direction(numbers), out(numbers, NAN), d_x(numbers, NAN);
    for (size_t i = 0; i < numbers; ++i) x[i] = pick(2), d_out[i] = pick(1), x_direction[i] = pick(1);
    mixsynth::pack_layer(d, layer, packed.data());
    const int64_t allocations_before = allocations;
    mixsynth::layer_forward(d, packed.data(), x.data(), batch, out.data(), workspace.data(), bits);
    mixsynth::layer_backward(d, packed.data(), x.data(), d_out.data(), batch, d_x.data(), gradients.data(),
                             workspace.data(), bits);
    if (allocations > allocations_before) return INFINITY;
    double derivative = 0.0, size = 1e-9;
    const auto add = [&](float slope, float direction) {
        const double term = static_cast<double>(slope) * static_cast<double>(direction);
        derivative += term;
        size += std::fabs(term);
    };
    for (size_t i = 0; i < numbers; ++i) add(d_x[i], x_direction[i]);
    std::vector<std::vector<float>> directions;
    for (const std::vector<float>* weights : random.first_layer())
        for (float& direction : directions.emplace_back(weights->size())) direction = pick(1);
    const std::vector<mixsynth::Gradient> by_name = mixsynth::gradients_by_name(d, gradients.data());
    auto gradient = by_name.begin();
    for (size_t i = 0; i < directions.size(); ++i) {
        // value_reduce.weight and .bias, of the token branch and of the channel branch
        if (((i == 4 || i == 5) && d.reduce_token == 1) || ((i == 10 || i == 11) && d.reduce_channel == 1)) continue;
        const int64_t columns = gradient->columns == mixsynth::kVector ? 1 : gradient->columns;
        for (int64_t k = 0; k < gradient->rows * columns; ++k)
            add(gradient->numbers[k / columns * gradient->stride + k % columns], directions[i][static_cast<size_t>(k)]);
        ++gradient;
    }
    constexpr double kStep = 1e-3;
    const auto sum_after = [&](double step) {
        std::vector<double> moved(x.begin(), x.end());
        for (size_t i = 0; i < numbers; ++i) moved[i] += step * static_cast<double>(x_direction[i]);
        const auto weights = random.first_layer();
        std::vector<std::vector<float>> originals;
        for (size_t i = 0; i < weights.size(); ++i) {
            originals.push_back(*weights[i]);
            for (size_t k = 0; k < originals[i].size(); ++k)
                (*weights[i])[k] += static_cast<float>(step) * directions[i][k];
        }
        const double sum = weighted_sum(d, layer, moved, d_out);
        for (size_t i = 0; i < weights.size(); ++i)
            std::copy(originals[i].begin(), originals[i].end(), weights[i]->begin());
        return sum;
    };
    return std::fabs(derivative - (sum_after(kStep) - sum_after(-kStep)) / (2.0 * kStep)) / size;
}

// With dropout a batch gives the bits of its windows one by one, and a share of zero those of no dropout. 0 or infinity.
double check_dropout(const Dimensions& d, int bits) {
    constexpr int64_t kBatch = 3;
    const auto numbers = static_cast<size_t>(d.tokens() * d.emb_dim);
    RandomWeights random(d);
    const auto pick = [] { return std::uniform_real_distribution<float>(-1, 1)(generator); };
    std::vector<float> packed(mixsynth::packed_layer_size(d)), workspace(mixsynth::layer_workspace_size(d), NAN);
    std::vector<float> x(kBatch * numbers), d_out(kBatch * numbers), whole(kBatch * numbers), single(kBatch * numbers);
    for (size_t i = 0; i < x.size(); ++i) x[i] = pick(), d_out[i] = pick();
    mixsynth::pack_layer(d, random.weights.layers[0], packed.data());
    std::vector<float> gradients(mixsynth::layer_gradients_size(d));
    const auto same = [&](const mixsynth::Dropout& dropout, auto call) {
        call(x.data(), d_out.data(), kBatch, whole.data(), dropout);
        for (int64_t b = 0; b < kBatch; ++b) {
            const size_t begin = static_cast<size_t>(b) * numbers;
            call(&x[begin], &d_out[begin], 1, &single[begin], {dropout.share, dropout.seed, dropout.first_window + b});
        }
        return whole == single;
    };
    const auto forward = [&](const float* in, const float*, int64_t batch, float* out, const mixsynth::Dropout& dropout) {
        mixsynth::layer_forward(d, packed.data(), in, batch, out, workspace.data(), bits, dropout);
    };
    const auto backward = [&](const float* in, const float* d_in, int64_t batch, float* out,
                              const mixsynth::Dropout& dropout) {
        mixsynth::layer_backward(d, packed.data(), in, d_in, batch, out, gradients.data(), workspace.data(), bits,
                                 dropout);
    };
    const mixsynth::Dropout half{0.5f, 11, 4};
    if (!same(half, forward) || !same(half, backward)) return INFINITY;
    mixsynth::layer_forward(d, packed.data(), x.data(), kBatch, whole.data(), workspace.data(), bits);
    forward(x.data(), nullptr, kBatch, single.data(), {0.0f, 11, 4});
    return whole == single ? 0.0 : INFINITY;
}

int main(int count, char** arguments) {
    const int64_t shapes = count > 1 ? std::atol(arguments[1]) : 40;
    const int bits = count > 2 ? std::atoi(arguments[2]) : mixsynth::simd_bits();
    if (bits != mixsynth::simd_bits(bits)) {
        std::printf("registers of %d bits asked for, this processor has %d\n", bits, mixsynth::simd_bits());
        return 2;
    }
    double worst = check({10, 1, 0, 30, 128, 2, 2, 4, 1}, 14, bits);
    double worst_slope = 0.0;
    for (int64_t i = 0; i < shapes; ++i) {
        Dimensions d{between(1, 8), between(1, 6), between(0, 20), between(1, 70), between(1, 90),
                     between(1, 2), between(1, 3), 1, 1};
        d.reduce_token = between(1, std::min<int64_t>(5, d.tokens()));
        d.reduce_channel = between(1, std::min<int64_t>(5, d.emb_dim));
        const double error = check(d, between(0, 5), bits);
        if (!(error <= 2e-5))
            std::printf("N %ld Q %ld H %ld D %ld C %ld factors %ld %ld: off by %g\n", long(d.sample_interval),
                        long(d.step), long(d.horizon), long(d.joint_dim), long(d.emb_dim), long(d.reduce_token),
                        long(d.reduce_channel), error);
        worst = worse(worst, error);
        worst_slope = worse(worst_slope, check_training(d, between(0, 2), bits));
        // The shapes that follow stay the same.
        const auto state = generator;
        worst_slope = worse(worst_slope, check_dropout(d, bits));
        generator = state;
    }
    const double error = check_example({10, 4, 28, 51, 64, 4, 2, 4, 1}, 2);
    if (!(error <= 2e-5)) std::printf("the example in mixsynth.h is off by %g\n", error);
    worst = worse(worst, error);
    const double followed = std::fmax(check_glance<uint8_t>(97, 131, 1, 8, bits), check_glance<uint16_t>(240, 301, 3, 10, bits));
    if (!(followed <= 0.3)) std::printf("a glance is off by %g pixels\n", followed);
    const double cropped = std::fmax(std::fmax(check_crop(1, 1, 5), check_crop(2, 9, 7)), check_crop(61, 43, 32));
    if (!(cropped <= 3.0)) std::printf("a crop is off by %g levels\n", cropped);
    double posed = 0.0;
    for (int64_t i = 1; i < 6; ++i)
        posed = std::fmax(posed, std::fmax(check_curve(i, 3, i % 2 + 2, i + 1, i), check_glimpses(i, i)));
    if (!(posed <= 1e-9)) std::printf("a curve or a glimpse is off by %g\n", posed);
    std::printf("%d bits, %ld shapes: largest error %g, of a derivative %g of its terms\n", bits, long(shapes) + 2,
                worst, worst_slope);
    return worst <= 2e-5 && worst_slope <= 1e-4 && followed <= 0.3 && cropped <= 3.0 && posed <= 1e-9 ? 0 : 1;
}
