#include "cuda/operands.h"

#include <algorithm>
#include <cstring>

#include "pack.h"

namespace mixsynth::card {
namespace {

constexpr int64_t kSide = 16, kApart = 8, kOperand = kSide * kSide;

int64_t whole_tiles(int64_t n) { return (n + kSide - 1) / kSide * kSide; }
int64_t bytes_of_row(int64_t columns, int64_t bytes) { return (whole_tiles(columns) + kApart) * bytes; }
int64_t operand_bytes(Precision precision) { return precision == Precision::kBf16 ? 2 : 4; }

// Hands out offsets in floats, each a multiple of 64 bytes.
class Offsets {
  public:
    explicit Offsets(Precision precision) : operand_bytes_(operand_bytes(precision)) {}
    int take(int64_t floats) {
        const int64_t offset = size_;
        size_ += padded(floats);
        return static_cast<int>(offset);
    }
    // weight [outputs, inputs] as operands, and its bias
    LinearOffsets operands(int64_t inputs, int64_t outputs) {
        const int weight = take(whole_tiles(inputs) * whole_tiles(outputs) * operand_bytes_ / 4);
        return {weight, take(whole_tiles(outputs))};
    }
    LinearOffsets plain(int64_t inputs, int64_t outputs) {
        const int weight = take(inputs * outputs);
        return {weight, take(outputs)};
    }
    int size() const { return static_cast<int>(size_); }

  private:
    const int64_t operand_bytes_;
    int64_t size_ = 0;
};

BranchOffsets take_branch(Offsets& offsets, int inputs, int length, int keys) {
    BranchOffsets branch{};
    branch.dense = offsets.operands(inputs, keys);
    if (keys != length) branch.value_reduce = offsets.operands(length, keys);
    branch.mean = offsets.plain(inputs, 1);
    branch.squeeze = offsets.take(length / 4 * length);
    branch.excite = offsets.take(length / 4 * length);
    return branch;
}

LayerOffsets take_layer(Offsets& offsets, const Sizes& s) {
    LayerOffsets layer{};
    layer.token = take_branch(offsets, s.channels, s.tokens, s.token_keys);
    layer.channel = take_branch(offsets, s.tokens, s.channels, s.channel_keys);
    layer.reweight1 = offsets.plain(s.tokens, s.tokens / 4);
    layer.reweight2 = offsets.plain(s.tokens / 4, s.tokens);
    layer.proj = offsets.operands(s.channels, s.channels);
    layer.ff1 = offsets.operands(s.channels, s.hidden);
    layer.ff2 = offsets.operands(s.hidden, s.channels);
    layer.norm1 = offsets.plain(1, s.channels);
    layer.norm2 = offsets.plain(1, s.channels);
    return layer;
}

// Copies weights to the places that Offsets gave them.
class Packer {
  public:
    Packer(Precision precision, float* packed) : precision_(precision), packed_(packed) {}

    void plain(const float* from, int64_t count, int offset) const { std::copy(from, from + count, packed_ + offset); }
    void plain(const Linear& from, int64_t inputs, int64_t outputs, const LinearOffsets& to) const {
        plain(from.weight, inputs * outputs, to.weight);
        plain(from.bias, outputs, to.bias);
    }
    void norm(const Linear& from, int64_t width, const LinearOffsets& to) const { plain(from, 1, width, to); }

    // Each pair of 8 outputs and each 16 inputs form an operand: eight numbers a lane, four of each 8 outputs.
    void operands(const Linear& from, int64_t inputs, int64_t outputs, const LinearOffsets& to) const {
        pack_row(from.bias, packed_ + to.bias, outputs);
        for (int64_t first = 0; first < outputs; first += kSide)
            for (int64_t k = 0; k < inputs; k += kSide)
                for (int64_t half = 0; half < 2; ++half)
                    for (int64_t lane = 0; lane < 32; ++lane)
                        for (int64_t i = 0; i < 4; ++i) {
                            const int64_t output = first + 8 * half + lane / 4;
                            const int64_t input = k + i / 2 * 8 + lane % 4 * 2 + i % 2;
                            const bool is_real = output < outputs && input < inputs;
                            const float number = is_real ? from.weight[output * inputs + input] : 0.0f;
                            const int64_t tile = (first / kSide * (whole_tiles(inputs) / kSide) + k / kSide) * kOperand;
                            const int64_t index = precision_ == Precision::kBf16 ? tile + lane * 8 + half * 4 + i
                                                                   : tile + half * 128 + lane * 4 + i;
                            write(number, packed_ + to.weight, index);
                        }
    }

    // The mean over the outputs is a Linear with one output.
    void mean(const Linear& from, int64_t inputs, int64_t outputs, const LinearOffsets& to) const {
        for (int64_t k = 0; k < inputs; ++k) packed_[to.weight + k] = mean_of(from.weight + k, outputs, inputs);
        packed_[to.bias] = mean_of(from.bias, outputs, 1);
    }
    // reweight2 gives a token two scores, that of the token branch first. Only their difference is needed.
    void difference(const Linear& from, int64_t inputs, int64_t tokens, const LinearOffsets& to) const {
        for (int64_t i = 0; i < tokens; ++i) {
            const float *first = from.weight + 2 * i * inputs, *second = first + inputs;
            for (int64_t k = 0; k < inputs; ++k) packed_[to.weight + i * inputs + k] = first[k] - second[k];
            packed_[to.bias + i] = from.bias[2 * i] - from.bias[2 * i + 1];
        }
    }
    void branch(const SyntheticAttention& from, int64_t inputs, int64_t length, int64_t keys,
                const BranchOffsets& to) const {
        operands(from.dense, inputs, keys, to.dense);
        if (keys != length) operands(from.value_reduce, length, keys, to.value_reduce);
        mean(from.dense, inputs, keys, to.mean);
        plain(from.squeeze, length / 4 * length, to.squeeze);
        plain(from.excite, length / 4 * length, to.excite);
    }
    void sum_of_inputs(const float* weight, int64_t inputs, int64_t outputs, int offset) const {
        for (int64_t i = 0; i < outputs; ++i) {
            double sum = 0.0;
            for (int64_t k = 0; k < inputs; ++k) sum += static_cast<double>(weight[i * inputs + k]);
            packed_[offset + i] = static_cast<float>(sum);
        }
    }

  private:
    static float mean_of(const float* numbers, int64_t count, int64_t stride) {
        double sum = 0.0;
        for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(numbers[i * stride]);
        return static_cast<float>(sum / static_cast<double>(count));
    }
    void write(float number, float* weight, int64_t index) const {
        uint32_t bits;
        std::memcpy(&bits, &number, sizeof bits);
        if (precision_ == Precision::kBf16) {
            const auto nearest = static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
            std::memcpy(reinterpret_cast<char*>(weight) + 2 * index, &nearest, sizeof nearest);
            return;
        }
        if (precision_ == Precision::kTf32) bits = (bits + 0x1000u) & 0xffffe000u;
        std::memcpy(weight + index, &bits, sizeof bits);
    }

    const Precision precision_;
    float* const packed_;
};

void pack_layer(const Sizes& s, const Layer& from, const Packer& packer, const LayerOffsets& to) {
    const int64_t T = s.tokens, C = s.channels;
    packer.branch(from.synth_token, C, T, s.token_keys, to.token);
    packer.branch(from.synth_channel, T, C, s.channel_keys, to.channel);
    packer.plain(from.reweight1, T, T / 4, to.reweight1);
    packer.difference(from.reweight2, T / 4, T, to.reweight2);
    packer.operands(from.proj, C, C, to.proj);
    packer.operands(from.ff1, C, s.hidden, to.ff1);
    packer.operands(from.ff2, s.hidden, C, to.ff2);
    packer.norm(from.norm1, C, to.norm1);
    packer.norm(from.norm2, C, to.norm2);
}

}  // namespace

NetworkOffsets offsets_of(const Sizes& s, Precision precision) {
    Offsets offsets(precision);
    NetworkOffsets network{};
    network.layer = take_layer(offsets, s);
    network.layer_stride = offsets.size();
    offsets.take(int64_t{network.layer_stride} * (s.layers - 1));
    network.l_interp = offsets.plain(s.keyframes, s.tokens);
    network.encoder_emb = offsets.operands(s.joint_dim, s.channels);
    network.norm = offsets.plain(1, s.channels);
    network.fc = offsets.operands(s.channels, s.joint_dim);
    network.emb_sum = offsets.take(s.channels);
    network.size = offsets.size();
    return network;
}

void pack(const Dimensions& dims, const Weights& weights, Precision precision, float* packed) {
    const Sizes s = sizes_of(dims);
    const NetworkOffsets to = offsets_of(s, precision);
    std::fill(packed, packed + to.size, 0.0f);
    const Packer ends(precision, packed);
    ends.plain(weights.l_interp, s.keyframes, s.tokens, to.l_interp);
    ends.operands(weights.encoder_emb, s.joint_dim, s.channels, to.encoder_emb);
    ends.sum_of_inputs(weights.encoder_emb.weight, s.joint_dim, s.channels, to.emb_sum);
    ends.norm(weights.norm, s.channels, to.norm);
    ends.operands(weights.fc, s.channels, s.joint_dim, to.fc);
    for (int i = 0; i < s.layers; ++i)
        pack_layer(s, weights.layers[i], Packer(precision, packed + int64_t{i} * to.layer_stride), to.layer);
}

namespace {

// Hands out shared memory while there is some, and then the workspace.
class Places {
  public:
    explicit Places(int64_t shared_limit) : shared_limit_(shared_limit) {}
    Buffer take(int64_t bytes) {
        const int64_t whole = (bytes + 127) / 128 * 128;
        const bool is_shared = shared_ + whole <= shared_limit_;
        int64_t& used = is_shared ? shared_ : workspace_;
        const Buffer buffer{static_cast<int>(used), is_shared};
        used += whole;
        return buffer;
    }
    int shared() const { return static_cast<int>(shared_); }
    int workspace() const { return static_cast<int>(workspace_); }

  private:
    const int64_t shared_limit_;
    int64_t shared_ = 0, workspace_ = 0;
};

}  // namespace

Buffers buffers_of(const Sizes& s, Precision precision, int windows, int shared_limit) {
    const int64_t G = windows, T = s.tokens, C = s.channels, bytes = operand_bytes(precision);
    // Products along time read whole operands from a window's first row on, and those of rows read whole operands.
    const int64_t rows = std::max(whole_tiles(G * T), (G - 1) * T + whole_tiles(T));
    const int64_t poses = whole_tiles(G * s.keyframes), out = rows * bytes_of_row(C, bytes);
    Buffers buffers{};
    Places places(shared_limit);
    buffers.windows = windows;
    buffers.vectors = places.take(G * (T + C) * 3 * 4);
    buffers.operands = places.take(out);
    buffers.x = precision == Precision::kBf16 ? places.take(rows * bytes_of_row(C, 4)) : buffers.operands;
    if (s.token_keys != s.tokens) buffers.token_values = places.take(G * whole_tiles(s.token_keys) * bytes_of_row(C, bytes));
    if (s.channel_keys != s.channels) buffers.channel_values = places.take(rows * bytes_of_row(s.channel_keys, bytes));
    buffers.channel_out = static_cast<int>(out);
    buffers.embedded = static_cast<int>(poses * bytes_of_row(s.joint_dim, bytes));
    const int64_t hidden = whole_tiles(G * T) * bytes_of_row(s.hidden, bytes);
    buffers.mixed = places.take(std::max({2 * out, hidden, buffers.embedded + poses * bytes_of_row(C, 4)}));
    buffers.shared_bytes = places.shared();
    buffers.workspace_bytes = places.workspace();
    return buffers;
}

int most_windows(const Sizes& sizes, Precision precision, int shared_limit) {
    constexpr int kMostRows = 176;
    int windows = 1;
    while ((windows + 1) * sizes.tokens <= kMostRows &&
           buffers_of(sizes, precision, windows + 1, shared_limit).workspace_bytes == 0)
        ++windows;
    return windows;
}

}  // namespace mixsynth::card
