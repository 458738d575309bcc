// Network: where its packed weights lie, and where the buffers of a block lie. The host works both out, once.
#pragma once

#include "cuda/sizes.h"

namespace mixsynth::card {

// Offsets in floats. The weight of a product is packed as operands of 16 x 16 (csrc/cuda/precision.h), in the precision of
// the products; everything else is fp32 and lies as published.
struct LinearOffsets {
    int weight, bias;
};

struct BranchOffsets {
    LinearOffsets dense, value_reduce;
    LinearOffsets mean;  // of dense over its outputs: it gives the mean energies without the energies
    int squeeze, excite;
};

struct LayerOffsets {
    BranchOffsets token, channel;
    LinearOffsets reweight1, reweight2;  // reweight2 gives the difference of a token's two scores
    LinearOffsets proj, ff1, ff2, norm1, norm2;
};

struct NetworkOffsets {
    LinearOffsets l_interp, encoder_emb, norm, fc;
    int emb_sum;  // [C]: the sum of encoder_emb over its inputs, with which the bias of l_interp is embedded
    LayerOffsets layer;             // in the first layer
    int layer_stride;
    int size;  // of all packed weights
};

// Offsets in bytes, in shared memory or in the block's part of the workspace.
struct Buffer {
    int offset;
    bool is_shared;
};

// G windows of a block lie one after the other, without gaps. All buffers but `x` and `operands` are used for a part of a
// layer only; `mixed` holds token_out and channel_out, then the feed-forward's hidden numbers, and before the
// first layer the embedded keyframes and the keyframes as operands.
struct Buffers {
    int windows;          // G
    Buffer vectors;       // [G, ...]: gates, pooled numbers, the mixture's weights
    Buffer operands;      // [G T, C] x as operands; in fp32 it is x itself
    Buffer x;             // [G T, C] in fp32
    Buffer token_values;  // [G, T / reduce_token, C] where the factor is not 1
    Buffer channel_values;  // [G T, C / reduce_channel] where the factor is not 1
    Buffer mixed;
    int channel_out, embedded;  // within `mixed`, in bytes
    int shared_bytes, workspace_bytes;
};

// One forward of a network: the arguments of a kernel.
struct Forward {
    Sizes sizes;
    NetworkOffsets offsets;
    Buffers buffers;
    const float* packed;
    const float* keyframes;  // [B, Q + 1, D]
    float* motion;           // [B, T, D]
    int64_t batch;           // B
    char* workspace;         // workspace_bytes for each block
};

}  // namespace mixsynth::card
