// Training of one encoder layer: a forward pass that keeps everything, and the backward pass, op by op as in
// kernels/training/ref.py. Shapes are those of one window, and d_x is the gradient of x.
// The padding of a matrix is zero, unless a comment says that it is never read.
#pragma once

#include "cpu/dropout.h"
#include "cpu/forward.h"
#include "train_layout.h"

namespace mixsynth {
namespace {

// out [rows, columns] = a [rows, depth] b [depth, columns] + more
template <typename Simd>
inline void product(const float* a, const float* b, float* out, int64_t rows, int64_t depth, int64_t columns,
                    const float* more = nullptr) {
    const int64_t stride = padded(columns);
    multiply<Simd>(
        Product(rows, depth, columns).left(a, padded(depth)).right(as_rows(b, stride)).to(out, stride).plus(more));
}

// out [rows, columns] = a^T b + more, where a is [depth, rows] and b [depth, columns]
template <typename Simd>
inline void transposed_product(const float* a, const float* b, float* out, int64_t rows, int64_t depth, int64_t columns,
                               const float* more = nullptr) {
    if (!rows) return;  // the middle of squeeze-excite is empty where n < 4
    const int64_t stride = padded(columns);
    multiply<Simd, true>(
        Product(rows, depth, columns).left(a, padded(rows)).right(as_rows(b, stride)).to(out, stride).plus(more));
}

// to [columns] += the sum of the rows of x [rows, columns]
template <typename Simd>
inline void add_rows(const float* x, int64_t rows, int64_t columns, float* to) {
    using Vector = typename Simd::Vector;
    const int64_t stride = padded(columns);
    for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
        Vector sum = load<Vector>(to + j);
        for (int64_t i = 0; i < rows; ++i) sum += load<Vector>(x + i * stride + j);
        store(to + j, sum);
    }
}

// Adds the gradients of a Linear's weight and bias; x [rows, inputs], d_y [rows, outputs]
template <typename Simd>
inline void add_linear_gradients(const float* x, const float* d_y, const Packed<float>& to, int64_t rows,
                                 int64_t inputs, int64_t outputs) {
    transposed_product<Simd>(d_y, x, to.weight, outputs, rows, inputs, to.weight);
    add_rows<Simd>(d_y, rows, outputs, to.bias);
}

// x [rows, inputs] -> y [rows, outputs]
template <typename Simd>
inline void trained_linear(const TrainedLinear<const float>& layer, const float* x, float* y, int64_t rows,
                           const float* more = nullptr) {
    linear<Simd>(layer.columns, x, y, rows, layer.inputs, layer.outputs, more);
}

// d_y [rows, outputs] -> d_x [rows, inputs]
template <typename Simd>
inline void linear_backward(const TrainedLinear<const float>& layer, const float* d_y, float* d_x, int64_t rows,
                            const float* more = nullptr) {
    product<Simd>(d_y, layer.rows, d_x, rows, layer.outputs, layer.inputs, more);
}

// from [rows, columns] -> to [columns, rows]
inline void transpose(const float* from, float* to, int64_t rows, int64_t columns) {
    const int64_t from_stride = padded(columns), to_stride = padded(rows);
    for (int64_t j = 0; j < columns; ++j) {
        float* row = to + j * to_stride;
        for (int64_t i = 0; i < rows; ++i) row[i] = from[i * from_stride + j];
        for (int64_t i = rows; i < to_stride; ++i) row[i] = 0.0f;
    }
}

// out = f(inputs...), register by register; `floats` is a multiple of kLanes
template <typename Simd, typename Function, typename... Inputs>
inline void map(float* out, int64_t floats, Function f, const Inputs*... inputs) {
    using Vector = typename Simd::Vector;
    for (int64_t i = 0; i < floats; i += kWidth<Vector>) store(out + i, f(load<Vector>(inputs + i)...));
}

// x [n, width] -> s.out [n, width]
template <typename Simd>
void branch_forward(const TrainedAttention<const float>& a, const float* x, BranchState& s) {
    using Vector = typename Simd::Vector;
    const int64_t n = a.n, m = a.m, stride = padded(m);
    trained_linear<Simd>(a.dense, x, s.energies, n);
    // A padded key has the energy minus infinity, and so no attention. In sums its energy is zero.
    std::memcpy(s.attention, s.energies, static_cast<size_t>(n * stride) * sizeof(float));
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = m; j < stride; ++j) s.energies[i * stride + j] = 0.0f;
    sum_rows<Simd>(
        n, stride, [&](int64_t i, int64_t j) { return load<Vector>(s.energies + i * stride + j); },
        1.0f / static_cast<float>(m), 0.0f, s.pooled);
    trained_linear<Simd>(a.squeeze, s.pooled, s.squeezed, 1);
    for_each<Simd>(s.squeezed, padded(n / 4), relu<Vector>);
    trained_linear<Simd>(a.excite, s.squeezed, s.gate, 1);
    for_each<Simd>(s.gate, padded(n), sigmoid<Vector>);
    in_fours(n, [&](int64_t i, auto count) {
        softmax_rows<Simd, count>(s.attention + i * stride, stride, s.gate + i);
    });
    const float* values = x;
    if (a.reduced()) {
        const int64_t columns = padded(a.width);
        multiply<Simd>(Product(m, n, a.width)
                           .left(a.value_reduce.rows, padded(n))
                           .right(as_rows(x, columns))
                           .to(s.values, columns)
                           .plus_row_bias(a.value_reduce.columns.bias));
        // The bias of a row is in its padding, too.
        for (int64_t i = 0; i < m; ++i)
            for (int64_t j = a.width; j < columns; ++j) s.values[i * columns + j] = 0.0f;
        transpose(s.values, s.values_transposed, m, a.width);
        values = s.values;
    }
    product<Simd>(s.attention, values, s.out, n, m, a.width);
}

// s.d_energies [n, m], the gradient of the attention -> that of the energies times their gate, in place, and
// s.d_excited [n], that of the gate before its sigmoid. The padding of s.d_energies is never read.
template <typename Simd>
void softmax_backward(int64_t n, int64_t m, BranchState& s) {
    using Vector = typename Simd::Vector;
    const int64_t stride = padded(m);
    float* row_sums = s.d_pooled;  // which is free until branch_backward() writes it
    const auto at = [&](const float* matrix, int64_t i, int64_t j) { return load<Vector>(matrix + i * stride + j); };
    sum_rows<Simd>(
        n, stride, [&](int64_t i, int64_t j) { return at(s.attention, i, j) * at(s.d_energies, i, j); }, 1.0f, 0.0f,
        row_sums);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < stride; j += kWidth<Vector>)
            store(s.d_energies + i * stride + j, at(s.attention, i, j) * (at(s.d_energies, i, j) - row_sums[i]));
    sum_rows<Simd>(
        n, stride, [&](int64_t i, int64_t j) { return at(s.d_energies, i, j) * at(s.energies, i, j); }, 1.0f, 0.0f,
        s.d_excited);
    for (int64_t i = 0; i < n; ++i) s.d_excited[i] *= s.gate[i] * (1.0f - s.gate[i]);
}

// x [n, width], x_transposed [width, n], s.d_out [n, width] -> s.d_x [n, width]; gradients of weights are added to `to`
template <typename Simd>
void branch_backward(const TrainedAttention<const float>& a, const float* x, const float* x_transposed, BranchState& s,
                     const AttentionGradients& to) {
    using Vector = typename Simd::Vector;
    const int64_t n = a.n, m = a.m, stride = padded(m), width = a.width;
    product<Simd>(s.d_out, a.reduced() ? s.values_transposed : x_transposed, s.d_energies, n, width, m);
    transposed_product<Simd>(s.attention, s.d_out, s.d_values, m, n, width);
    softmax_backward<Simd>(n, m, s);
    linear_backward<Simd>(a.excite, s.d_excited, s.d_squeezed, 1);
    map<Simd>(
        s.d_squeezed, padded(n / 4), [](Vector d, Vector y) { return where_positive(y, d); }, s.d_squeezed, s.squeezed);
    transposed_product<Simd>(s.d_excited, s.squeezed, to.excite, n, 1, n / 4, to.excite);
    transposed_product<Simd>(s.d_squeezed, s.pooled, to.squeeze, n / 4, 1, n, to.squeeze);
    linear_backward<Simd>(a.squeeze, s.d_squeezed, s.d_pooled, 1);
    // The pool is a mean of energies, so its gradient joins theirs.
    const float share = 1.0f / static_cast<float>(m);
    for (int64_t i = 0; i < n; ++i) {
        float* row = s.d_energies + i * stride;
        const float gate = s.gate[i], pooled = s.d_pooled[i] * share;
        map<Simd>(row, stride, [=](Vector d) { return gate * d + pooled; }, row);
    }
    add_linear_gradients<Simd>(x, s.d_energies, to.dense, n, width, m);
    linear_backward<Simd>(a.dense, s.d_energies, s.d_x, n, a.reduced() ? nullptr : s.d_values);
    if (!a.reduced()) return;
    transposed_product<Simd>(a.value_reduce.rows, s.d_values, s.d_x, n, m, width, s.d_x);
    product<Simd>(s.d_values, x_transposed, to.value_reduce.weight, m, width, n, to.value_reduce.weight);
    const int64_t columns = padded(width);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < width; ++j) to.value_reduce.bias[i] += s.d_values[i * columns + j];
}

// What dropout keeps of a window, for both passes. Without dropout nothing reads it.
inline void fill_factors(const Dimensions& d, const Dropout& dropout, int64_t window, const LayerState& s) {
    if (!dropout.share) return;
    const int64_t T = d.tokens(), numbers = T * padded(d.emb_dim);
    dropout_factors(dropout, window, DropoutPlace::kProj, numbers, s.keep_proj);
    dropout_factors(dropout, window, DropoutPlace::kHidden, T * padded(d.hidden()), s.keep_hidden);
    dropout_factors(dropout, window, DropoutPlace::kOut, numbers, s.keep_out);
}

// out = dropout(x W^T + b) + more
template <typename Simd>
inline void dropped_linear(const TrainedLinear<const float>& layer, const float* x, float* out, int64_t rows,
                           const float* more, const float* factors, bool drops) {
    using Vector = typename Simd::Vector;
    trained_linear<Simd>(layer, x, out, rows, drops ? nullptr : more);
    if (!drops) return;
    map<Simd>(
        out, rows * padded(layer.outputs), [](Vector y, Vector factor, Vector z) { return y * factor + z; }, out,
        factors, more);
}

// The gradient before a dropout from that behind it, in `d_kept`, or behind it itself where nothing is dropped.
template <typename Simd>
inline const float* before_dropout(const float* d_out, const float* factors, float* d_kept, int64_t floats,
                                   bool drops) {
    using Vector = typename Simd::Vector;
    if (!drops) return d_out;
    map<Simd>(d_kept, floats, [](Vector d, Vector factor) { return d * factor; }, d_out, factors);
    return d_kept;
}

// s.x [T, C] -> s.out [T, C]
template <typename Simd>
void trained_layer_forward(const Dimensions& d, const TrainedLayer<const float>& layer, LayerState& s, bool drops) {
    using Vector = typename Simd::Vector;
    const int64_t T = d.tokens(), C = d.emb_dim, stride = padded(C);
    transpose(s.x, s.x_transposed, T, C);
    branch_forward<Simd>(layer.token, s.x, s.token);
    branch_forward<Simd>(layer.channel, s.x_transposed, s.channel);
    transpose(s.channel.out, s.c, C, T);
    const float* t = s.token.out;
    sum_rows<Simd>(
        T, stride,
        [&](int64_t i, int64_t j) { return load<Vector>(t + i * stride + j) + load<Vector>(s.c + i * stride + j); },
        1.0f / static_cast<float>(C), 0.0f, s.mean);
    trained_linear<Simd>(layer.reweight1, s.mean, s.mix_before_gelu, 1);
    map<Simd>(s.mix_hidden, padded(T / 4), gelu<Vector>, s.mix_before_gelu);
    trained_linear<Simd>(layer.difference, s.mix_hidden, s.a_t, 1);
    for_each<Simd>(s.a_t, padded(T), sigmoid<Vector>);
    for (int64_t i = 0; i < T; ++i) {
        const float a_t = s.a_t[i], a_c = 1.0f - a_t;
        map<Simd>(
            s.mixed + i * stride, stride, [=](Vector t, Vector c) { return a_t * t + a_c * c; }, t + i * stride,
            s.c + i * stride);
    }
    dropped_linear<Simd>(layer.proj, s.mixed, s.summed1, T, s.x, s.keep_proj, drops);
    layer_norm<Simd>(layer.norm1, s.summed1, s.y, T, C);
    trained_linear<Simd>(layer.ff1, s.y, s.before_gelu, T);
    const int64_t hidden = T * padded(d.hidden());
    map<Simd>(s.hidden, hidden, gelu<Vector>, s.before_gelu);
    if (drops)
        map<Simd>(s.hidden, hidden, [](Vector x, Vector factor) { return x * factor; }, s.hidden, s.keep_hidden);
    dropped_linear<Simd>(layer.ff2, s.hidden, s.summed2, T, s.y, s.keep_out, drops);
    layer_norm<Simd>(layer.norm2, s.summed2, s.out, T, C);
}

// x, d_out [rows, columns] -> d_x [rows, columns]; gradients of weight and bias are added to `to`
template <typename Simd>
__attribute__((flatten)) void layer_norm_backward(const PackedNorm<const float>& norm, const float* x,
                                                  const float* d_out, float* d_x, const Packed<float>& to, int64_t rows,
                                                  int64_t columns) {
    using Vector = typename Simd::Vector;
    const int64_t stride = padded(columns);
    const float share = 1.0f / static_cast<float>(columns);
    for (int64_t i = 0; i < rows; ++i) {
        const float *row = x + i * stride, *d_row = d_out + i * stride;
        Vector sum{}, squares{};
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) sum += load<Vector>(row + j);
        const float mean = sum_of_lanes(sum) * share;
        const auto centred = [&](int64_t j) { return load<Vector>(row + j) - mean * load<Vector>(norm.real + j); };
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) squares += centred(j) * centred(j);
        const float scale = inverse_root(sum_of_lanes(squares) * share + kNormEpsilon);
        Vector sum_d_unit{}, sum_along{};
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
            const Vector d = load<Vector>(d_row + j), unit = scale * centred(j);
            const Vector d_unit = d * load<Vector>(norm.weight + j);
            sum_d_unit += d_unit;
            sum_along += d_unit * unit;
            store(to.weight + j, load<Vector>(to.weight + j) + d * unit);
            store(to.bias + j, load<Vector>(to.bias + j) + d);
        }
        const float d_mean = sum_of_lanes(sum_d_unit) * share;
        const float along = sum_of_lanes(sum_along) * share * scale;
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
            const Vector d_unit = load<Vector>(d_row + j) * load<Vector>(norm.weight + j);
            store(d_x + i * stride + j, scale * (d_unit - d_mean * load<Vector>(norm.real + j) - along * centred(j)));
        }
    }
}

// s.d_summed1 [T, C] -> s.token.d_out [T, C], s.d_c [T, C]; gradients of weights are added to `to`
template <typename Simd>
void mix_backward(const Dimensions& d, const TrainedLayer<const float>& layer, LayerState& s,
                  const LayerGradients& to, bool drops) {
    using Vector = typename Simd::Vector;
    const int64_t T = d.tokens(), C = d.emb_dim, stride = padded(C), squeezed = T / 4;
    const float* t = s.token.out;
    const float* d_proj = before_dropout<Simd>(s.d_summed1, s.keep_proj, s.d_kept, T * stride, drops);
    add_linear_gradients<Simd>(s.mixed, d_proj, to.proj, T, C, C);
    linear_backward<Simd>(layer.proj, d_proj, s.d_mixed, T);
    const auto at = [&](const float* matrix, int64_t i, int64_t j) { return load<Vector>(matrix + i * stride + j); };
    float* d_difference = s.d_mean;  // which is free until it is written below
    sum_rows<Simd>(
        T, stride, [&](int64_t i, int64_t j) { return at(s.d_mixed, i, j) * (at(t, i, j) - at(s.c, i, j)); }, 1.0f,
        0.0f, d_difference);
    for (int64_t i = 0; i < T; ++i) {
        d_difference[i] *= s.a_t[i] * (1.0f - s.a_t[i]);
        s.d_scores[2 * i] = d_difference[i];
        s.d_scores[2 * i + 1] = -d_difference[i];
    }
    add_linear_gradients<Simd>(s.mix_hidden, s.d_scores, to.reweight2, 1, squeezed, 2 * T);
    linear_backward<Simd>(layer.difference, d_difference, s.d_mix_hidden, 1);
    map<Simd>(s.d_mix_hidden, padded(squeezed), gelu_backward<Vector>, s.d_mix_hidden, s.mix_before_gelu);
    add_linear_gradients<Simd>(s.mean, s.d_mix_hidden, to.reweight1, 1, T, squeezed);
    linear_backward<Simd>(layer.reweight1, s.d_mix_hidden, s.d_mean, 1);
    const float share = 1.0f / static_cast<float>(C);
    for (int64_t i = 0; i < T; ++i) {
        const float a_t = s.a_t[i], a_c = 1.0f - a_t, mean = s.d_mean[i] * share;
        for (int64_t j = 0; j < stride; j += kWidth<Vector>) {
            const Vector d_mixed = at(s.d_mixed, i, j), same = mean * load<Vector>(layer.norm1.real + j);
            store(s.token.d_out + i * stride + j, a_t * d_mixed + same);
            store(s.d_c + i * stride + j, a_c * d_mixed + same);
        }
    }
}

// After trained_layer_forward(): s.d_out [T, C] -> s.d_x [T, C]; gradients of weights are added to `to`
template <typename Simd>
void trained_layer_backward(const Dimensions& d, const TrainedLayer<const float>& layer, LayerState& s,
                            const LayerGradients& to, bool drops) {
    using Vector = typename Simd::Vector;
    const int64_t T = d.tokens(), C = d.emb_dim, hidden = d.hidden();
    layer_norm_backward<Simd>(layer.norm2, s.summed2, s.d_out, s.d_summed2, to.norm2, T, C);
    const float* d_ff2 = before_dropout<Simd>(s.d_summed2, s.keep_out, s.d_kept, T * padded(C), drops);
    add_linear_gradients<Simd>(s.hidden, d_ff2, to.ff2, T, hidden, C);
    linear_backward<Simd>(layer.ff2, d_ff2, s.d_hidden, T);
    if (drops)
        map<Simd>(
            s.d_hidden, T * padded(hidden), [](Vector x, Vector factor) { return x * factor; }, s.d_hidden,
            s.keep_hidden);
    map<Simd>(s.d_hidden, T * padded(hidden), gelu_backward<Vector>, s.d_hidden, s.before_gelu);
    add_linear_gradients<Simd>(s.y, s.d_hidden, to.ff1, T, C, hidden);
    linear_backward<Simd>(layer.ff1, s.d_hidden, s.d_y, T, s.d_summed2);
    layer_norm_backward<Simd>(layer.norm1, s.summed1, s.d_y, s.d_summed1, to.norm1, T, C);
    mix_backward<Simd>(d, layer, s, to, drops);
    branch_backward<Simd>(layer.token, s.x, s.x_transposed, s.token, to.token);
    transpose(s.d_c, s.channel.d_out, T, C);
    branch_backward<Simd>(layer.channel, s.x_transposed, s.x, s.channel, to.channel);
    transpose(s.channel.d_x, s.d_x, C, T);
    map<Simd>(
        s.d_x, T * padded(C), [](Vector a, Vector b, Vector c) { return a + b + c; }, s.d_x, s.d_summed1, s.token.d_x);
}

// Copies rows of `columns` numbers, and pads them with zeros up to `to_stride`.
inline void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows,
                      int64_t columns) {
    for (int64_t i = 0; i < rows; ++i) {
        float* row = to + i * to_stride;
        std::memcpy(row, from + i * from_stride, static_cast<size_t>(columns) * sizeof(float));
        for (int64_t j = columns; j < to_stride; ++j) row[j] = 0.0f;
    }
}

// x [B, T, C] -> out [B, T, C]. With d_out [B, T, C], `out` is d_x [B, T, C], and gradients are added to `gradients`.
template <typename Simd>
void train_windows(const Dimensions& d, const float* packed, const float* x, const float* d_out, int64_t batch,
                   float* out, float* gradients, float* workspace, const Dropout& dropout) {
    const int64_t T = d.tokens(), C = d.emb_dim, stride = padded(C);
    const bool drops = dropout.share > 0.0f;
    Cursor weights_cursor(packed);
    Cursor state_cursor(workspace), gradients_cursor(gradients);
    const TrainedLayer<const float> layer = take_trained_layer(weights_cursor, d);
    LayerState s = take_layer_state(state_cursor, d);
    const LayerGradients to = gradients ? take_gradients(gradients_cursor, d) : LayerGradients{};
    for (int64_t b = 0; b < batch; ++b) {
        copy_rows(x + b * T * C, C, s.x, stride, T, C);
        fill_factors(d, dropout, dropout.first_window + b, s);
        trained_layer_forward<Simd>(d, layer, s, drops);
        if (d_out) {
            copy_rows(d_out + b * T * C, C, s.d_out, stride, T, C);
            trained_layer_backward<Simd>(d, layer, s, to, drops);
        }
        copy_rows(d_out ? s.d_x : s.out, stride, out + b * T * C, C, T, C);
    }
}

}  // namespace
}  // namespace mixsynth
