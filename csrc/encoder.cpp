// Chooses the functions for this processor.
#include "layout.h"
#include "train_layout.h"

namespace mixsynth {

// In forward_128.cpp, forward_256.cpp and forward_512.cpp: the same code, made of other instructions.
using Forward = void(const Dimensions&, const float*, const float*, int64_t, float*, float*);
using Train = void(const Dimensions&, const float*, const float*, const float*, int64_t, float*, float*, float*);
Forward forward_128;
Train train_128;
#if defined(__x86_64__)
Forward forward_256, forward_512;
Train train_256, train_512;
#endif

static Train* train_for([[maybe_unused]] int bits) {
#if defined(__x86_64__)
    if (bits >= 256) return bits >= 512 ? train_512 : train_256;
#endif
    return train_128;
}

int simd_bits([[maybe_unused]] int most_bits) {
#if defined(__x86_64__)
    if (most_bits >= 512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return 512;
    if (most_bits >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 256;
#endif
    return 128;
}

size_t workspace_size(const Dimensions& dims) {
    Cursor at(nullptr);
    take_workspace(at, dims);
    return at.used();
}

void forward(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
             float* workspace, [[maybe_unused]] int bits) {
    Forward* chosen = forward_128;
#if defined(__x86_64__)
    if (bits >= 256) chosen = bits >= 512 ? forward_512 : forward_256;
#endif
    chosen(dims, packed, keyframes, batch, motion, workspace);
}

size_t layer_workspace_size(const Dimensions& dims) {
    Cursor at(nullptr);
    take_layer_state(at, dims);
    return at.used();
}

void layer_forward(const Dimensions& dims, const float* packed, const float* x, int64_t batch, float* out,
                   float* workspace, int bits) {
    train_for(bits)(dims, packed, x, nullptr, batch, out, nullptr, workspace);
}

void layer_backward(const Dimensions& dims, const float* packed, const float* x, const float* d_out, int64_t batch,
                    float* d_x, float* gradients, float* workspace, int bits) {
    train_for(bits)(dims, packed, x, d_out, batch, d_x, gradients, workspace);
}

}  // namespace mixsynth
