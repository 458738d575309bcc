// Packing in training: a layer's weights in the layout of train_layout.h, and its gradients by name.
#include "pack.h"
#include "train_layout.h"

namespace mixsynth {
namespace {

// Rows as published, padded with zeros.
void pack_padded(const float* from, float* to, int64_t inputs, int64_t outputs) {
    for (int64_t i = 0; i < outputs; ++i) pack_row(from + i * inputs, to + i * padded(inputs), inputs);
}

void pack_trained(const Linear& from, const TrainedLinear<float>& to, float padding = 0.0f) {
    pack_panels(from.weight, to.columns.weight, to.inputs, to.outputs);
    pack_padded(from.weight, to.rows, to.inputs, to.outputs);
    // A weight without a bias gets one of zeros.
    std::fill_n(to.columns.bias, padded(to.outputs), 0.0f);
    if (from.bias) pack_row(from.bias, to.columns.bias, to.outputs, padding);
}

void pack_trained(const SyntheticAttention& from, const TrainedAttention<float>& to) {
    pack_trained(from.dense, to.dense, kNoKey);
    pack_trained({from.squeeze, nullptr}, to.squeeze);
    pack_trained({from.excite, nullptr}, to.excite);
    if (to.reduced()) pack_trained(from.value_reduce, to.value_reduce);
}

void pack_trained_difference(const Linear& from, const TrainedLinear<float>& to) {
    const int64_t inputs = to.inputs, tokens = to.outputs;
    pack_difference(from, to.columns, inputs, tokens);
    for (int64_t i = 0; i < tokens; ++i) {
        const float *t = from.weight + 2 * i * inputs, *c = t + inputs;
        float* row = to.rows + i * padded(inputs);
        for (int64_t k = 0; k < padded(inputs); ++k) row[k] = k < inputs ? t[k] - c[k] : 0.0f;
    }
}

}  // namespace

const char* check_training(const Dimensions& dims) {
    if (const char* problem = check(dims)) return problem;
    if (packed_layer_size(dims) + layer_gradients_size(dims) + layer_workspace_size(dims) > kMostFloats)
        return "a layer in training would need more than 1 GiB of memory";
    return nullptr;
}

size_t packed_layer_size(const Dimensions& dims) { return size_of(take_trained_layer<float>, dims); }

size_t layer_gradients_size(const Dimensions& dims) { return size_of(take_gradients, dims); }

size_t layer_workspace_size(const Dimensions& dims) { return size_of(take_layer_state, dims); }

void pack_layer(const Dimensions& dims, const Layer& from, float* packed) {
    Cursor cursor(packed);
    const TrainedLayer<float> to = take_trained_layer(cursor, dims);
    pack_trained(from.synth_token, to.token);
    pack_trained(from.synth_channel, to.channel);
    pack_trained(from.reweight1, to.reweight1);
    pack_trained_difference(from.reweight2, to.difference);
    pack_trained(from.proj, to.proj);
    pack_trained(from.ff1, to.ff1);
    pack_trained(from.ff2, to.ff2);
    pack_norm(from.norm1, to.norm1, dims.emb_dim);
    pack_norm(from.norm2, to.norm2, dims.emb_dim);
}

std::vector<Gradient> gradients_by_name(const Dimensions& dims, float* gradients) {
    const int64_t T = dims.tokens(), C = dims.emb_dim;
    Cursor cursor(gradients);
    const LayerGradients from = take_gradients(cursor, dims);
    std::vector<Gradient> list;
    const auto matrix = [&](const std::string& name, const float* numbers, int64_t outputs, int64_t inputs) {
        list.push_back({name, outputs, inputs, padded(inputs), numbers});
    };
    const auto linear = [&](const std::string& name, const Packed<float>& gradient, int64_t outputs, int64_t inputs) {
        matrix(name + ".weight", gradient.weight, outputs, inputs);
        list.push_back({name + ".bias", outputs, kVector, 1, gradient.bias});
    };
    const auto norm = [&](const std::string& name, const Packed<float>& gradient) {
        list.push_back({name + ".weight", C, kVector, 1, gradient.weight});
        list.push_back({name + ".bias", C, kVector, 1, gradient.bias});
    };
    const auto attention = [&](const std::string& name, const AttentionGradients& branch, int64_t n, int64_t width,
                               int64_t m) {
        linear(name + ".dense", branch.dense, m, width);
        matrix(name + ".se.fc.0.weight", branch.squeeze, n / 4, n);
        matrix(name + ".se.fc.2.weight", branch.excite, n, n / 4);
        if (m < n) linear(name + ".value_reduce", branch.value_reduce, m, n);
    };
    attention("synth_att.synth_token", from.token, T, C, dims.token_keys());
    attention("synth_att.synth_channel", from.channel, C, T, dims.channel_keys());
    linear("synth_att.reweight.fc1", from.reweight1, T / 4, T);
    linear("synth_att.reweight.fc2", from.reweight2, 2 * T, T / 4);
    linear("synth_att.proj", from.proj, C, C);
    linear("ff.fc1", from.ff1, dims.hidden(), C);
    linear("ff.fc2", from.ff2, C, dims.hidden());
    norm("norm1", from.norm1);
    norm("norm2", from.norm2);
    return list;
}

}  // namespace mixsynth
