// The C++ core alone, for sanitizers, emulators and other compilers: random shapes against the paper's formulas in
// double precision, in buffers of exactly the size asked for, with three threads that share the weights; and the
// derivatives of a layer. A call that allocates is wrong.
//
//     forward_check [SHAPES] [BITS]     of the registers: 128, 256 or 512, or the widest; prints one line
//
// Exits with 1 where a number is wrong, and with 2 where this processor has no such registers.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>

#include "paper.h"

thread_local int64_t allocations = 0;

// noinline, because GCC calls malloc and delete a mismatch where it sees both.
__attribute__((noinline)) void* operator new(size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, size_t) noexcept { std::free(memory); }

// The largest error of a batch, computed by three threads at once that share the weights.
double check(const Dimensions& d, int64_t batch, int bits) {
    if (const char* problem = mixsynth::check(d)) {
        std::printf("%s\n", problem);
        return INFINITY;
    }
    const RandomWeights random(d);
    std::vector<float> packed(mixsynth::packed_size(d), NAN);
    mixsynth::pack(d, random.weights, packed.data());
    std::vector<float> keyframes;
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < batch * d.keyframes() * d.joint_dim; ++i) keyframes.push_back(normal(generator));
    const size_t size = static_cast<size_t>(batch * d.tokens() * d.joint_dim);
    std::vector<std::vector<float>> motions(3, std::vector<float>(size, NAN));
    std::atomic<int64_t> allocated{0};
    std::vector<std::thread> threads;
    for (std::vector<float>& motion : motions)
        threads.emplace_back([&] {
            std::vector<float> workspace(mixsynth::workspace_size(d), NAN);
            const int64_t before = allocations;
            mixsynth::forward(d, packed.data(), keyframes.data(), batch, motion.data(), workspace.data(), bits);
            allocated += allocations - before;
        });
    for (std::thread& thread : threads) thread.join();
    if (allocated) std::printf("forward() allocated %ld times\n", long(allocated));
    double worst = !allocated && motions[0] == motions[1] && motions[0] == motions[2] ? 0.0 : INFINITY;
    const float *next = keyframes.data(), *found = motions[0].data();
    for (int64_t b = 0; b < batch; ++b) {
        Matrix window(static_cast<size_t>(d.keyframes()), Row(static_cast<size_t>(d.joint_dim)));
        for (Row& pose : window)
            for (double& v : pose) v = static_cast<double>(*next++);
        for (const Row& pose : reference(d, random.weights, window))
            for (double v : pose) {
                const double error = std::fabs(v - static_cast<double>(*found++));
                worst = error <= worst ? worst : error;  // NaN stays
            }
    }
    return worst;
}

// The sum of what a layer makes of x [B, T, C], each number times its weight
double weighted(const Dimensions& d, const mixsynth::Layer& layer, const std::vector<double>& x,
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

// The derivative along a random direction of x and all weights of a layer: how far what layer_backward() says is from
// the difference of the formulas at two points, as a share of what was added up.
double check_training(const Dimensions& d, int64_t batch, int bits) {
    const auto numbers = static_cast<size_t>(batch * d.tokens() * d.emb_dim);
    RandomWeights random(d);
    const mixsynth::Layer& layer = random.weights.layers[0];
    const auto pick = [](float spread) { return std::uniform_real_distribution<float>(-spread, spread)(generator); };
    std::vector<float> packed(mixsynth::packed_layer_size(d), NAN), workspace(mixsynth::layer_workspace_size(d), NAN);
    std::vector<float> gradients(mixsynth::layer_gradients_size(d));
    std::vector<float> x(numbers), d_out(numbers), along(numbers), out(numbers, NAN), d_x(numbers, NAN);
    for (size_t i = 0; i < numbers; ++i) x[i] = pick(2), d_out[i] = pick(1), along[i] = pick(1);
    mixsynth::pack_layer(d, layer, packed.data());
    const int64_t before = allocations;
    mixsynth::layer_forward(d, packed.data(), x.data(), batch, out.data(), workspace.data(), bits);
    mixsynth::layer_backward(d, packed.data(), x.data(), d_out.data(), batch, d_x.data(), gradients.data(),
                             workspace.data(), bits);
    if (allocations > before) return INFINITY;
    double said = 0.0, size = 1e-9;
    const auto add = [&](float derivative, float direction) {
        const double term = static_cast<double>(derivative) * static_cast<double>(direction);
        said += term;
        size += std::fabs(term);
    };
    for (size_t i = 0; i < numbers; ++i) add(d_x[i], along[i]);
    std::vector<std::vector<float>> directions;
    for (const std::vector<float>* weights : random.first_layer())
        for (float& direction : directions.emplace_back(weights->size())) direction = pick(1);
    const std::vector<mixsynth::Gradient> by_name = mixsynth::gradients_by_name(d, gradients.data());
    auto of = by_name.begin();
    for (size_t i = 0; i < directions.size(); ++i) {
        // value_reduce.weight and .bias, of the token branch and of the channel branch
        if (((i == 4 || i == 5) && d.reduce_token == 1) || ((i == 10 || i == 11) && d.reduce_channel == 1)) continue;
        const int64_t columns = of->columns == mixsynth::kVector ? 1 : of->columns;
        for (int64_t k = 0; k < of->rows * columns; ++k)
            add(of->numbers[k / columns * of->stride + k % columns], directions[i][static_cast<size_t>(k)]);
        ++of;
    }
    constexpr double kStep = 1e-3;
    const auto at = [&](double step) {
        std::vector<double> moved(x.begin(), x.end());
        for (size_t i = 0; i < numbers; ++i) moved[i] += step * static_cast<double>(along[i]);
        const auto weights = random.first_layer();
        std::vector<std::vector<float>> kept;
        for (size_t i = 0; i < weights.size(); ++i) {
            kept.push_back(*weights[i]);
            for (size_t k = 0; k < kept[i].size(); ++k) (*weights[i])[k] += static_cast<float>(step) * directions[i][k];
        }
        const double found = weighted(d, layer, moved, d_out);
        for (size_t i = 0; i < weights.size(); ++i) std::copy(kept[i].begin(), kept[i].end(), weights[i]->begin());
        return found;
    };
    return std::fabs(said - (at(kStep) - at(-kStep)) / (2.0 * kStep)) / size;
}

int main(int count, char** arguments) {
    const int64_t shapes = count > 1 ? std::atol(arguments[1]) : 40;
    const int asked = count > 2 ? std::atoi(arguments[2]) : mixsynth::simd_bits(), bits = mixsynth::simd_bits(asked);
    if (bits != asked) {
        std::printf("registers of %d bits asked for, this processor has %d\n", asked, mixsynth::simd_bits());
        return 2;
    }
    double worst = check({10, 1, 0, 30, 128, 2, 2, 4, 1}, 14, bits);
    double steepest = 0.0;
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
        worst = error <= worst ? worst : error;
        const double slope = check_training(d, between(0, 2), bits);
        steepest = slope <= steepest ? steepest : slope;
    }
    std::printf("%d bits, %ld shapes: largest error %g, of a derivative %g of its terms\n", bits, long(shapes) + 1,
                worst, steepest);
    return worst <= 2e-5 && steepest <= 1e-4 ? 0 : 1;
}
