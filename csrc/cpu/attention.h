// Attention: the two branches of mixed synthetic attention and their mixture. Shapes are those of one window; with a
// parameter `windows`, that many lie one after the other.
#pragma once

#include "cpu/product.h"

namespace mixsynth {
namespace {

// x [rows, inputs] -> out [rows, outputs], plus `more` [rows, outputs] unless it is nullptr
template <typename Simd>
inline void linear(const Packed<const float>& layer, const float* x, float* out, int64_t rows, int64_t inputs,
                   int64_t outputs, const float* more = nullptr) {
    multiply<Simd>(Product(rows, inputs, outputs)
                       .left(x, padded(inputs))
                       .right(as_panels(layer.weight, inputs))
                       .to(out, padded(outputs))
                       .plus_column_bias(layer.bias)
                       .plus(more));
}

// numbers = function(numbers); `floats` is a multiple of kLanes.
template <typename Simd, typename Vector = typename Simd::Vector>
inline void for_each(float* numbers, int64_t floats, Vector function(Vector)) {
    for (int64_t i = 0; i < floats; i += kWidth<Vector>) store(numbers + i, function(load<Vector>(numbers + i)));
}

// Squeeze-excite: w.pooled [windows, length] -> w.gate [windows, length]
template <typename Simd>
void squeeze_excite(const PackedAttention<const float>& attention, const Workspace& w, int64_t windows,
                    int64_t length) {
    using Vector = typename Simd::Vector;
    const int64_t squeezed = length / 4;
    linear<Simd>({attention.squeeze, nullptr}, w.pooled, w.squeezed, windows, length, squeezed);
    for_each<Simd>(w.squeezed, windows * padded(squeezed), relu<Vector>);
    linear<Simd>({attention.excite, nullptr}, w.squeezed, w.gate, windows, squeezed, length);
    for_each<Simd>(w.gate, windows * padded(length), sigmoid<Vector>);
}

// energies [kRows, padded keys] -> softmax of gate [kRows] * energies, in place. The largest energy stays the largest,
// because a gate is positive; csrc/README.md (Numbers) says why it is subtracted before the gate multiplies.
template <typename Simd, int kRows>
__attribute__((flatten)) inline void softmax_rows(float* energies, int64_t stride, const float* gate) {
    using Vector = typename Simd::Vector;
    Vector maxima[kRows], total[kRows];
    unroll<kRows>([&](int r) {
        maxima[r] = load<Vector>(energies + r * stride);
        total[r] = Vector{};
    });
    for (int64_t k = kWidth<Vector>; k < stride; k += kWidth<Vector>)
        unroll<kRows>([&](int r) { maxima[r] = larger(maxima[r], load<Vector>(energies + r * stride + k)); });
    float factor[kRows], largest[kRows];
    unroll<kRows>([&](int r) {
        factor[r] = gate[r] * kLog2e;
        largest[r] = largest_of_lanes(maxima[r]);
    });
    for (int64_t k = 0; k < stride; k += kWidth<Vector>)
        unroll<kRows>([&](int r) {
            float* energy = energies + r * stride + k;
            const Vector weight = power_of_two(factor[r] * (load<Vector>(energy) - largest[r]));
            store(energy, weight);
            total[r] += weight;
        });
    float scale[kRows];
    unroll<kRows>([&](int r) { scale[r] = 1.0f / sum_of_lanes(total[r]); });
    for (int64_t k = 0; k < stride; k += kWidth<Vector>)
        unroll<kRows>([&](int r) {
            float* weight = energies + r * stride + k;
            store(weight, load<Vector>(weight) * scale[r]);
        });
}

// out [rows] = scale * the sum of read(row, column) over the columns + bias
template <typename Simd, typename Read>
__attribute__((flatten)) inline void sum_rows(int64_t rows, int64_t columns, Read read, float scale, float bias,
                                              float* out) {
    using Vector = typename Simd::Vector;
    in_fours(rows, [&](int64_t i, auto count) {
        constexpr int kRows = count;
        Vector sum[kRows];
        unroll<kRows>([&](int r) { sum[r] = Vector{}; });
        for (int64_t j = 0; j < columns; j += kWidth<Vector>) unroll<kRows>([&](int r) { sum[r] += read(i + r, j); });
        unroll<kRows>([&](int r) { out[i + r] = scale * sum_of_lanes(sum[r]) + bias; });
    });
}

// w.x [windows, T, C] -> w.token_out [windows, T, C]
template <typename Simd>
void token_attention(const Dimensions& d, const PackedAttention<const float>& attention, const Workspace& w,
                     int64_t windows) {
    using Vector = typename Simd::Vector;
    const int64_t T = d.tokens(), C = d.emb_dim, keys = d.token_keys(), stride = padded(keys), x_stride = padded(C);
    linear<Simd>(attention.dense, w.x, w.token_energies, windows * T, C, keys);
    for (int64_t b = 0; b < windows; ++b)
        sum_rows<Simd>(
            T, x_stride,
            [&](int64_t i, int64_t j) {
                return load<Vector>(w.x + (b * T + i) * x_stride + j) * load<Vector>(attention.mean.weight + j);
            },
            1.0f, attention.mean.bias[0], w.pooled + b * padded(T));
    squeeze_excite<Simd>(attention, w, windows, T);
    for (int64_t b = 0; b < windows; ++b) {
        float* energies = w.token_energies + b * T * stride;
        in_fours(T, [&](int64_t i, auto count) {
            softmax_rows<Simd, count>(energies + i * stride, stride, w.gate + b * padded(T) + i);
        });
        const float *x = w.x + b * T * x_stride, *values = x;
        if (d.reduce_token > 1) {
            multiply<Simd>(Product(keys, T, C)
                               .left(attention.value_reduce.weight, T)
                               .right(as_rows(x, x_stride))
                               .to(w.token_values, x_stride)
                               .plus_row_bias(attention.value_reduce.bias));
            values = w.token_values;
        }
        multiply<Simd>(Product(T, keys, C)
                           .left(energies, stride)
                           .right(as_rows(values, x_stride))
                           .to(w.token_out + b * T * x_stride, x_stride));
    }
}

// energies [keys, width], one column a channel -> exp(gate * (energies - the column's largest)), in place, and scale
// [width], with which a column sums to 1.
template <typename Simd>
__attribute__((flatten)) inline void softmax_columns(float* energies, int64_t keys, int64_t width, const float* gate,
                                                     float* scale) {
    using Vector = typename Simd::Vector;
    for (int64_t j = 0; j < width; j += kWidth<Vector>) {
        float* column = energies + j;
        Vector largest = load<Vector>(column + (keys - 1) * width);
        // Two rows at a time halve the wait for earlier results.
        for (int64_t k = 0; k + 1 < keys; k += 2) {
            const float* rows = column + k * width;
            largest = larger(largest, larger(load<Vector>(rows), load<Vector>(rows + width)));
        }
        const Vector factor = load<Vector>(gate + j) * kLog2e;
        Vector total{};
        for (int64_t k = 0; k < keys; ++k) {
            const Vector weight = power_of_two(factor * (load<Vector>(column + k * width) - largest));
            store(column + k * width, weight);
            total += weight;
        }
        store(scale + j, 1.0f / total);
    }
}

// w.x [windows, T, C] -> w.channel_out [windows, T, C], still to be multiplied with w.channel_scale [windows, C].
// Nothing is transposed: energies of a block of channels are columns, used before those of the next block.
template <typename Simd>
void channel_attention(const Dimensions& d, const PackedAttention<const float>& attention, const Workspace& w,
                       int64_t windows) {
    const int64_t T = d.tokens(), C = d.emb_dim, keys = d.channel_keys(), stride = padded(C);
    for (int64_t b = 0; b < windows; ++b)
        multiply<Simd>(Product(1, T, C)
                           .left(attention.mean.weight, T)
                           .right(as_rows(w.x + b * T * stride, stride))
                           .to(w.pooled + b * stride, stride)
                           .plus_row_bias(attention.mean.bias));
    squeeze_excite<Simd>(attention, w, windows, C);
    const float* values = w.x;
    if (d.reduce_channel > 1) {
        linear<Simd>(attention.value_reduce, w.x, w.channel_values, windows * T, C, keys);
        values = w.channel_values;
    }
    const int64_t value_stride = padded(keys), block = channel_block(d);
    for (int64_t b = 0; b < windows; ++b)
        for (int64_t j = 0; j < stride; j += block) {
            const int64_t width = stride - j < block ? stride - j : block, offset = b * T * stride + j;
            multiply<Simd>(Product(keys, T, width)
                               .left(attention.dense.weight, T)
                               .right(as_rows(w.x + offset, stride))
                               .to(w.channel_energies, width)
                               .plus_row_bias(attention.dense.bias));
            softmax_columns<Simd>(w.channel_energies, keys, width, w.gate + b * stride + j,
                                  w.channel_scale + b * stride + j);
            multiply<Simd>(Product(T, keys, width)
                               .left(values + b * T * value_stride, value_stride)
                               .right(as_rows(w.channel_energies, width))
                               .to(w.channel_out + offset, stride));
        }
}

// w.token_out, w.channel_out [windows, T, C] -> their mixture, token by token, in w.token_out
template <typename Simd>
void mix_branches(const Dimensions& d, const PackedLayer<const float>& layer, const Workspace& w, int64_t windows) {
    using Vector = typename Simd::Vector;
    const int64_t T = d.tokens(), C = d.emb_dim, stride = padded(C);
    // A padded channel has attention, too, so the padding of channel_out is not zero and must not enter the mean.
    const float* real = layer.norm1.real;
    for (int64_t b = 0; b < windows; ++b)
        sum_rows<Simd>(
            T, stride,
            [&](int64_t i, int64_t j) {
                const int64_t offset = (b * T + i) * stride + j;
                const Vector c = load<Vector>(w.channel_out + offset) * load<Vector>(w.channel_scale + b * stride + j);
                return (load<Vector>(w.token_out + offset) + c) * load<Vector>(real + j);
            },
            1.0f / static_cast<float>(C), 0.0f, w.pooled + b * padded(T));
    linear<Simd>(layer.reweight1, w.pooled, w.squeezed, windows, T, T / 4);
    for_each<Simd>(w.squeezed, windows * padded(T / 4), gelu<Vector>);
    linear<Simd>(layer.reweight2, w.squeezed, w.gate, windows, T / 4, T);
    // The softmax of two scores is the sigmoid of their difference.
    for_each<Simd>(w.gate, windows * padded(T), sigmoid<Vector>);
    for (int64_t b = 0; b < windows; ++b)
        for (int64_t i = 0; i < T; ++i) {
            const int64_t row = (b * T + i) * stride;
            const float a_t = w.gate[b * padded(T) + i], a_c = 1.0f - a_t;
            for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
                const Vector c = load<Vector>(w.channel_out + row + j) * load<Vector>(w.channel_scale + b * stride + j);
                store(w.token_out + row + j, a_t * load<Vector>(w.token_out + row + j) + a_c * c);
            }
        }
}

}  // namespace
}  // namespace mixsynth
