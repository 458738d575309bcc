// Product: matrix products of a block's warps, and products of small matrices with vectors.
#pragma once

#include "cuda/group.h"

namespace mixsynth::card {

// sums [16, 16 kPairs] += left [16, 16 depth] weight [16 depth, 16 kPairs], where left(k) is an operand and the weight's
// operands lie from `first` on, `depth` of them for each 16 columns. `pairs` of the columns' operands exist. The compiler
// loads several operands in bf16 at a time; wider ones are fetched one turn before they are needed, because they come from afar.
template <class Precision, int kPairs, class Left>
MIXSYNTH_CARD void multiply_packed(float (&sums)[2 * kPairs][4], int depth, const float* weight, int first, int pairs,
                                   Left left) {
    using Operands = typename Precision::Fragment[kPairs];
    const float* columns[kPairs];
    MIXSYNTH_UNROLL
    for (int p = 0; p < kPairs; ++p)
        // One that does not exist repeats the first.
        columns[p] = weight + (first + (p && first + p < pairs ? p : 0)) * depth * Precision::kOperandFloats;
    const auto fetch = [&](Operands& right, int k) {
        MIXSYNTH_UNROLL
        for (int p = 0; p < kPairs; ++p) right[p] = Precision::packed(columns[p], k);
    };
    const auto multiply = [&](const Operands& right, int k) {
        const typename Precision::Fragment operand = left(k);
        MIXSYNTH_UNROLL
        for (int p = 0; p < kPairs; ++p)
            if (p == 0 || first + p < pairs) Precision::multiply(sums[2 * p], sums[2 * p + 1], operand, right[p]);
    };
    if constexpr (!Precision::kFetchesAhead) {
        for (int k = 0; k < depth; ++k) {
            Operands right;
            fetch(right, k);
            multiply(right, k);
        }
    } else {
        Operands even, odd;
        fetch(even, 0);
        for (int k = 0; k < depth; k += 2) {
            fetch(odd, k + 1 < depth ? k + 1 : k);
            multiply(even, k);
            if (k + 1 >= depth) break;
            fetch(even, k + 2 < depth ? k + 2 : k);
            multiply(odd, k + 1);
        }
    }
}

// write(row, column, low, high) for each two neighbours of sums [16, 16 kPairs] that this lane holds
template <int kPairs, class Write>
MIXSYNTH_CARD void for_pairs(const float (&sums)[2 * kPairs][4], int row, int column, Write write) {
    MIXSYNTH_UNROLL
    for (int half = 0; half < 2; ++half)
        MIXSYNTH_UNROLL
        for (int p = 0; p < 2 * kPairs; ++p)
            write(row + first_row() + 8 * half, column + 8 * p + first_column(), sums[p][2 * half],
                  sums[p][2 * half + 1]);
}

template <class Precision, int kPairs, class Left, class Add, class Write>
MIXSYNTH_CARD void linear_units(int rows, int inputs, int outputs, const float* weight, Left left, Add add, Write write,
                                Share& share) {
    const int heights = tiles_of(rows), depth = tiles_of(inputs), pairs = tiles_of(outputs);
    const int units = heights * ((pairs + kPairs - 1) / kPairs);
    for (int unit = share.first(units); unit < units; unit += warps()) {
        const int row = unit % heights * kSide, first = unit / heights * kPairs;
        float sums[2 * kPairs][4] = {};
        multiply_packed<Precision, kPairs>(sums, depth, weight, first, pairs,
                                           [&](int k) { return left(row, k * kSide); });
        add(sums, row, first * kSide);
        for_pairs<kPairs>(sums, row, first * kSide, [&](int i, int column, float low, float high) {
            if (column < pairs * kSide) write(i, column, low, high);
        });
    }
}

// Adds nothing to a unit's sums.
struct Nothing {
    template <int kHalves>
    MIXSYNTH_CARD void operator()(float (&)[kHalves][4], int, int) const {}
};

// x [rows, inputs] -> write(row, column, low, high) of x W^T, for whole operands of 16 x 16: rows and columns beyond the last
// come, too. left(row, column) is an operand of x; add(sums, row, column) may add to the sums of a unit. In kernels of known
// sizes a warp takes two operands at a time, which loads less, where there is work enough for all warps.
template <class Precision, bool kFixed, class Left, class Write, class Add = Nothing>
MIXSYNTH_CARD void linear(int rows, int inputs, int outputs, const float* weight, Left left, Write write,
                          Share share = {}, Add add = {}) {
    if (kFixed && tiles_of(rows) * tiles_of(outputs) >= 2 * warps())
        linear_units<Precision, 2>(rows, inputs, outputs, weight, left, add, write, share);
    else
        linear_units<Precision, 1>(rows, inputs, outputs, weight, left, add, write, share);
}

// write(window, i, sum of weight(i, k) * in(window, k)) for all windows and outputs; eight lanes make a sum
template <class Write>
MIXSYNTH_CARD void multiply_vectors(int windows, int inputs, int outputs, const float* weight, const Vector& in,
                                    Write write, Share& share) {
    const int items = windows * outputs, units = (items + 3) / 4;
    for (int unit = share.first(units); unit < units; unit += warps()) {
        const int item = unit * 4 + lane() / 8;
        const int window = item / (outputs > 0 ? outputs : 1), i = item - window * outputs;
        float sum = 0.0f;
        if (item < items)
            for (int k = lane() % 8; k < inputs; k += 8) sum += load_constant(weight + i * inputs + k) * in.get(window, k);
        sum = sum_of_eight(sum);
        if (item < items && lane() % 8 == 0) write(window, i, sum);
    }
}

}  // namespace mixsynth::card
