// MixSynthFormer in C++17: no Python, no global state, and no allocation in a call.
//
//     const mixsynth::Dimensions dims{10, 4, 28, 51, 64, 4, 2, 4, 1};  // N, Q, H, D, C, L, then the factors
//     if (const char* problem = mixsynth::check(dims)) throw std::invalid_argument(problem);
//     std::vector<float> packed(mixsynth::packed_size(dims));
//     mixsynth::pack(dims, weights, packed.data());  // once; `weights` points at the published tensors
//
//     std::vector<float> workspace(mixsynth::workspace_size(dims));  // one for each call that runs at once
//     std::vector<float> motion(batch * dims.tokens() * dims.joint_dim);  // from keyframes [batch, Q+1, D]
//     mixsynth::forward(dims, packed.data(), keyframes, batch, motion.data(), workspace.data());
//
// Memory may begin anywhere, but on a boundary of 64 bytes a call takes 4 to 24 % less time.
// Names and maths are those of mixsynth_stream/network.py; csrc/README.md says how they are computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mixsynth {

// The paper's N, Q and our H, then D, C, L and the factors. They are valid where check() finds no problem.
struct Dimensions {
    int64_t sample_interval, step, horizon, joint_dim, emb_dim, num_encoder_layers;
    int64_t expansion_factor, reduce_token, reduce_channel;

    int64_t keyframes() const { return step + 1; }                           // Q + 1
    int64_t tokens() const { return sample_interval * step + 1 + horizon; }  // T
    int64_t hidden() const { return emb_dim * expansion_factor; }            // width of the feed-forward layer
    int64_t token_keys() const { return tokens() / reduce_token; }
    int64_t channel_keys() const { return emb_dim / reduce_channel; }
};

// Weights as published: a weight is [outputs, inputs], row-major.
struct Linear {
    const float* weight;
    const float* bias;
};

struct SyntheticAttention {  // n = T for the token branch, C for the channel branch
    Linear dense;
    const float* squeeze;  // se.fc.0 [n / 4, n]
    const float* excite;   // se.fc.2 [n, n / 4]
    Linear value_reduce;   // may be null where the reduce factor is 1
};

struct Layer {
    SyntheticAttention synth_token, synth_channel;
    Linear reweight1, reweight2, proj, ff1, ff2;
    Linear norm1, norm2;
};

struct Weights {
    Linear l_interp, encoder_emb, norm, fc;
    const Layer* layers;  // [L]
};

// nullptr, or why a network of these dimensions is refused (one is out of range, or it needs more than 1 GiB).
const char* check(const Dimensions& dims);

// Bits of the widest registers that this processor has and `most_bits` allows: 512 (AVX-512), 256 (AVX2, FMA) or 128.
int simd_bits(int most_bits = 512);

// Multiplications and additions a second that this core does in registers of `bits`; measuring takes about 0.1 s.
double fma_peak(int bits = simd_bits());

// Floats that pack() writes, and floats of scratch memory that one forward() needs.
size_t packed_size(const Dimensions& dims);
size_t workspace_size(const Dimensions& dims);

// Copies the weights into the order and layout in which forward() reads them. `weights` may be freed afterwards.
void pack(const Dimensions& dims, const Weights& weights, float* packed);

// keyframes [B, Q+1, D] -> motion [B, T, D], in registers of `bits`, which are at most simd_bits(). The workspace may
// hold anything.
void forward(const Dimensions& dims, const float* packed, const float* keyframes, int64_t batch, float* motion,
             float* workspace, int bits = simd_bits());

// Training works on one encoder layer. Call pack_layer() after every change of the weights, because both passes read what
// it packed. Calls that run at the same time need layer_workspace_size() floats each.

// What a layer's three dropouts leave out. It follows from the seed, the number of a window and the place in it alone,
// so that both passes leave out the same, in any number of threads.
struct Dropout {
    float share = 0.0f;        // 0 <= share < 1
    uint64_t seed = 0;         // another one for each layer and step
    int64_t first_window = 0;  // the number of the call's first window in its batch
};

// nullptr, or why a layer of these dimensions is refused.
const char* check_training(const Dimensions& dims);
size_t packed_layer_size(const Dimensions& dims);
size_t layer_gradients_size(const Dimensions& dims);
size_t layer_workspace_size(const Dimensions& dims);
void pack_layer(const Dimensions& dims, const Layer& layer, float* packed);

// x [B, T, C] -> out [B, T, C]
void layer_forward(const Dimensions& dims, const float* packed, const float* x, int64_t batch, float* out,
                   float* workspace, int bits = simd_bits(), const Dropout& dropout = {});

// x and d_out, the gradient of out -> d_x, the gradient of x, all [B, T, C]. The gradients of the weights are added to
// `gradients`, which holds zeros before the first call. `dropout` is that of the forward pass.
void layer_backward(const Dimensions& dims, const float* packed, const float* x, const float* d_out, int64_t batch,
                    float* d_x, float* gradients, float* workspace, int bits = simd_bits(),
                    const Dropout& dropout = {});

// The gradient of one weight: [rows, columns], `stride` floats from row to row. A vector has kVector columns.
constexpr int64_t kVector = -1;
struct Gradient {
    std::string name;  // as in the published file, after the layer's prefix
    int64_t rows, columns, stride;
    const float* numbers;
};

// Where in `gradients` the gradient of each weight lies, for the weights that are used.
std::vector<Gradient> gradients_by_name(const Dimensions& dims, float* gradients);

}  // namespace mixsynth
