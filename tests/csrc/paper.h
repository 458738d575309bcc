// Paper: its formulas in double precision, and random weights for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <random>
#include <vector>

#include "mixsynth.h"

using mixsynth::Dimensions;
using mixsynth::Linear;
using Matrix = std::vector<std::vector<double>>;  // rows
using Row = std::vector<double>;

inline std::mt19937 generator(1);

inline int64_t between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

// Random weights in the published layout, and the memory that holds them.
class RandomWeights {
  public:
    explicit RandomWeights(const Dimensions& d) {
        const int64_t T = d.tokens(), C = d.emb_dim;
        for (int64_t i = 0; i < d.num_encoder_layers; ++i)
            layers_.push_back({attention(C, T, d.reduce_token), attention(T, C, d.reduce_channel), linear(T, T / 4),
                               linear(T / 4, 2 * T), linear(C, C), linear(C, d.hidden()), linear(d.hidden(), C),
                               norm(C), norm(C)});
        weights = {linear(d.keyframes(), T), linear(d.joint_dim, C), norm(C), linear(C, d.joint_dim), layers_.data()};
    }
    mixsynth::Weights weights;

    // The weights of the first layer, in the order of the published file.
    std::vector<std::vector<float>*> first_layer() {
        std::vector<std::vector<float>*> tensors;
        for (size_t i = 0; i < kLayerTensors; ++i) tensors.push_back(&tensors_[i]);
        return tensors;
    }

  private:
    static constexpr size_t kLayerTensors = 26;

    const float* numbers(int64_t count, double spread, double centre = 0.0) {
        std::uniform_real_distribution<double> distribution(centre - spread, centre + spread);
        std::vector<float>& tensor = tensors_.emplace_back();
        for (int64_t i = 0; i < count; ++i) tensor.push_back(static_cast<float>(distribution(generator)));
        return tensor.data();
    }
    const float* matrix(int64_t inputs, int64_t outputs) {
        return numbers(inputs * outputs, std::sqrt(6.0 / static_cast<double>(inputs + outputs)));
    }
    Linear linear(int64_t inputs, int64_t outputs) { return {matrix(inputs, outputs), numbers(outputs, 0.5)}; }
    Linear norm(int64_t width) { return {numbers(width, 0.5, 1.0), numbers(width, 0.5)}; }
    mixsynth::SyntheticAttention attention(int64_t width, int64_t n, int64_t reduce) {
        return {linear(width, n / reduce), matrix(n, n / 4), matrix(n / 4, n), linear(n, n / reduce)};
    }

    std::deque<std::vector<float>> tensors_;  // pointers to its elements stay valid
    std::vector<mixsynth::Layer> layers_;
};

inline Row linear(const float* weight, const float* bias, const Row& x, size_t outputs) {
    Row out(outputs);
    for (size_t i = 0; i < outputs; ++i) {
        out[i] = bias ? static_cast<double>(bias[i]) : 0.0;
        for (size_t k = 0; k < x.size(); ++k) out[i] += static_cast<double>(weight[i * x.size() + k]) * x[k];
    }
    return out;
}

inline Matrix linear(const Linear& layer, const Matrix& x, size_t outputs) {
    Matrix out;
    for (const Row& row : x) out.push_back(linear(layer.weight, layer.bias, row, outputs));
    return out;
}

inline Matrix transposed(const Matrix& x) {
    Matrix out(x[0].size(), Row(x.size()));
    for (size_t i = 0; i < x.size(); ++i)
        for (size_t j = 0; j < x[i].size(); ++j) out[j][i] = x[i][j];
    return out;
}

inline double mean(const Row& x) {
    double sum = 0.0;
    for (double v : x) sum += v;
    return sum / static_cast<double>(x.size());
}

inline double gelu(double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }

inline Matrix branch(const mixsynth::SyntheticAttention& a, const Matrix& x, int64_t reduce) {
    const size_t n = x.size(), keys = n / static_cast<size_t>(reduce);
    const Matrix energies = linear(a.dense, x, keys);
    Row pooled;
    for (const Row& row : energies) pooled.push_back(mean(row));
    Row squeezed = linear(a.squeeze, nullptr, pooled, n / 4);
    for (double& v : squeezed) v = std::max(v, 0.0);
    const Row excited = linear(a.excite, nullptr, squeezed, n);
    const Matrix values = reduce == 1 ? x : transposed(linear(a.value_reduce, transposed(x), keys));
    Matrix out(n, Row(x[0].size()));
    for (size_t i = 0; i < n; ++i) {
        Row attention(keys);
        double total = 0.0;
        const double gate = 1.0 / (1.0 + std::exp(-excited[i]));
        for (size_t k = 0; k < keys; ++k) total += attention[k] = std::exp(gate * energies[i][k]);
        for (size_t k = 0; k < keys; ++k)
            for (size_t j = 0; j < out[i].size(); ++j) out[i][j] += attention[k] / total * values[k][j];
    }
    return out;
}

inline void add_and_norm(const Linear& norm, Matrix& x, const Matrix& update) {
    for (size_t i = 0; i < x.size(); ++i) {
        for (size_t j = 0; j < x[i].size(); ++j) x[i][j] += update[i][j];
        const double centre = mean(x[i]);
        double squares = 0.0;
        for (double v : x[i]) squares += (v - centre) * (v - centre);
        const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x[i].size()) + 1e-5);
        for (size_t j = 0; j < x[i].size(); ++j)
            x[i][j] = (x[i][j] - centre) * scale * static_cast<double>(norm.weight[j]) +
                      static_cast<double>(norm.bias[j]);
    }
}

inline void encoder_layer(const Dimensions& d, const mixsynth::Layer& layer, Matrix& x) {
    const size_t T = x.size(), C = x[0].size();
    const Matrix t = branch(layer.synth_token, x, d.reduce_token);
    const Matrix c = transposed(branch(layer.synth_channel, transposed(x), d.reduce_channel));
    Row pooled(T);
    for (size_t i = 0; i < T; ++i) pooled[i] = mean(t[i]) + mean(c[i]);
    Row hidden = linear(layer.reweight1.weight, layer.reweight1.bias, pooled, T / 4);
    for (double& v : hidden) v = gelu(v);
    const Row scores = linear(layer.reweight2.weight, layer.reweight2.bias, hidden, 2 * T);
    Matrix mixed = t;
    for (size_t i = 0; i < T; ++i) {
        const double a_t = 1.0 / (1.0 + std::exp(scores[2 * i + 1] - scores[2 * i]));
        for (size_t j = 0; j < C; ++j) mixed[i][j] = a_t * t[i][j] + (1.0 - a_t) * c[i][j];
    }
    add_and_norm(layer.norm1, x, linear(layer.proj, mixed, C));
    Matrix wide = linear(layer.ff1, x, static_cast<size_t>(d.hidden()));
    for (Row& row : wide)
        for (double& v : row) v = gelu(v);
    add_and_norm(layer.norm2, x, linear(layer.ff2, wide, C));
}

// keyframes [Q+1, D] -> motion [T, D]
inline Matrix reference(const Dimensions& d, const mixsynth::Weights& w, const Matrix& keyframes) {
    const auto T = static_cast<size_t>(d.tokens());
    Matrix motion = transposed(linear(w.l_interp, transposed(keyframes), T));
    Matrix x = linear(w.encoder_emb, motion, static_cast<size_t>(d.emb_dim));
    for (int64_t i = 0; i < d.num_encoder_layers; ++i) encoder_layer(d, w.layers[i], x);
    add_and_norm(w.norm, x, Matrix(T, Row(x[0].size(), 0.0)));
    const Matrix update = linear(w.fc, x, static_cast<size_t>(d.joint_dim));
    for (size_t i = 0; i < T; ++i)
        for (size_t j = 0; j < motion[i].size(); ++j) motion[i][j] += update[i][j];
    return motion;
}
