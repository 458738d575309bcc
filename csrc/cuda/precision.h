// Precision: operands of 16 x 16 numbers in a warp's registers, and the product of two of them, summed in fp32.
//
// A lane holds, of a left operand, rows g and g + 8 and columns p, p + 1, p + 8, p + 9 (g = lane / 4, p = 2 (lane % 4)); of
// a right one, columns g and g + 8 and the same four rows; of a result, two 16 x 8 halves with rows g and g + 8 and
// columns p, p + 1 each. So a result becomes the left operand of the next product where it is.
#pragma once

#include "cuda/tile.h"

namespace mixsynth::card {

MIXSYNTH_CARD int first_row() { return lane() / 4; }
MIXSYNTH_CARD int first_column() { return 2 * (lane() % 4); }

// bf16, one instruction for a product of 16 x 16 by 16 x 8. kEverythingFits: no buffer lies in the workspace, which lets the
// compiler use instructions for shared memory only.
template <bool kEverythingFits>
struct Bf16 {
    static constexpr bool kAllShared = kEverythingFits, kFetchesAhead = false;
    static constexpr int kOperandFloats = kSide * kSide / 2;  // of a packed one
    using Operand = uint16_t;
    struct Fragment {
        uint32_t word[4];
    };

    static MIXSYNTH_CARD Fragment left(const Tile<Operand>& tile, int row, int column, MIXSYNTH_HERE) {
        return matrices(tile, row, column, false, false, place);
    }
    // The tile holds the operand's transpose: its row `column`, its column `row`.
    static MIXSYNTH_CARD Fragment left_of_transposed(const Tile<Operand>& tile, int row, int column, MIXSYNTH_HERE) {
        return matrices(tile, column, row, true, true, place);
    }
    // The operand's column is a row of the tile.
    static MIXSYNTH_CARD Fragment right_of_transposed(const Tile<Operand>& tile, int row, int column, MIXSYNTH_HERE) {
        return matrices(tile, column, row, true, false, place);
    }
    static MIXSYNTH_CARD Fragment right(const Tile<Operand>& tile, int row, int column, MIXSYNTH_HERE) {
        return matrices(tile, row, column, false, true, place);
    }
    static MIXSYNTH_CARD Fragment packed(const float* weight, int index) {
        const Words words = load_constant(reinterpret_cast<const Words*>(weight) + index * 32 + lane());
        return {{words.word[0], words.word[1], words.word[2], words.word[3]}};
    }
    static MIXSYNTH_CARD Fragment left_of_sums(const float (&low)[4], const float (&high)[4]) {
        return {{bf16_pair(low[0], low[1]), bf16_pair(low[2], low[3]), bf16_pair(high[0], high[1]),
                 bf16_pair(high[2], high[3])}};
    }
    // A left operand's columns from `columns` on become zero, and a right one's rows from `rows` on.
    static MIXSYNTH_CARD void cut_left(Fragment& fragment, int columns) {
        MIXSYNTH_UNROLL
        for (int i = 0; i < 4; ++i) cut_pair(fragment.word[i], first_column() + i / 2 * 8, columns);
    }
    static MIXSYNTH_CARD void cut_right(Fragment& fragment, int rows) {
        MIXSYNTH_UNROLL
        for (int i = 0; i < 4; ++i) cut_pair(fragment.word[i], first_column() + i % 2 * 8, rows);
    }
    // share * a + (1 - share) * b, with a share for each of the two rows
    static MIXSYNTH_CARD Fragment mixed(const Fragment& a, const Fragment& b, const float (&share)[2]) {
        Fragment result;
        MIXSYNTH_UNROLL
        for (int i = 0; i < 4; ++i) {
            const float of_a = share[i % 2], of_b = 1.0f - of_a;
            result.word[i] = bf16_pair(of_a * low_of(a.word[i]) + of_b * low_of(b.word[i]),
                                       of_a * high_of(a.word[i]) + of_b * high_of(b.word[i]));
        }
        return result;
    }
    static MIXSYNTH_CARD void multiply(float (&low)[4], float (&high)[4], const Fragment& left, const Fragment& right,
                                       MIXSYNTH_HERE) {
        multiply_bf16(low, left.word, right.word[0], right.word[1], place);
        multiply_bf16(high, left.word, right.word[2], right.word[3], place);
    }

  private:
    // Of a pair whose first number is `first`, those from `end` on become zero.
    static MIXSYNTH_CARD void cut_pair(uint32_t& pair, int first, int end) {
        if (first + 1 >= end) pair = first < end ? pair & 0xffffu : 0u;
    }
    // Four 8 x 8 matrices from `row` and `column` of the tile: the second one is below the first or beside it.
    static MIXSYNTH_CARD Fragment matrices(const Tile<Operand>& tile, int row, int column, bool is_beside,
                                           bool is_transposed, const Place& place) {
        Fragment fragment;
        if (kAllShared) {
            const int low = lane() / 8 % 2 * 8, high = lane() / 16 * 8, r = lane() % 8;
            const uint16_t* start = tile.at(row + r + (is_beside ? high : low), column + (is_beside ? low : high));
            load_matrices(fragment.word, start, is_transposed, place);
        } else {
            MIXSYNTH_UNROLL
            for (int m = 0; m < 4; ++m) {
                const int low = m % 2 * 8, high = m / 2 * 8;
                const int i = row + (is_beside ? high : low), j = column + (is_beside ? low : high);
                fragment.word[m] = is_transposed
                                       ? static_cast<uint32_t>(load(tile.at(i + first_column(), j + first_row()), place)) |
                                             static_cast<uint32_t>(
                                                 load(tile.at(i + first_column() + 1, j + first_row()), place))
                                                 << 16
                                       : tile.pair(i + first_row(), j + first_column(), place);
            }
        }
        return fragment;
    }
};

// Operands stay in fp32 until a product takes them: rounded to tf32, or as the sum of two of tf32 (strict), which takes
// three products and loses nothing that fp32 keeps.
template <bool kStrict, bool kEverythingFits>
struct Float {
    // Beside a workspace, which takes registers for addresses, operands fetched ahead would spill.
    static constexpr bool kAllShared = kEverythingFits, kFetchesAhead = kEverythingFits;
    static constexpr int kOperandFloats = kSide * kSide;
    using Operand = float;
    struct Fragment {
        float number[8];  // of the first 8 columns (of a left operand) or rows (of a right one), then of the others
    };

    // Number by number: of pairs the products would need copies, because they take numbers of two rows side by side.
    static MIXSYNTH_CARD Fragment left(const Tile<float>& tile, int row, int column, MIXSYNTH_HERE) {
        Fragment fragment;
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8; ++i)
            fragment.number[i] = rounded(tile.get(row + first_row() + i % 2 * 8,
                                                  column + first_column() + i / 2 % 2 + i / 4 * 8, place));
        return fragment;
    }
    static MIXSYNTH_CARD Fragment left_of_transposed(const Tile<float>& tile, int row, int column, MIXSYNTH_HERE) {
        Fragment fragment;
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8; ++i)
            fragment.number[i] = rounded(tile.get(column + first_column() + i / 2 % 2 + i / 4 * 8,
                                                  row + first_row() + i % 2 * 8, place));
        return fragment;
    }
    static MIXSYNTH_CARD Fragment right_of_transposed(const Tile<float>& tile, int row, int column, MIXSYNTH_HERE) {
        Fragment fragment;
        MIXSYNTH_UNROLL
        for (int i = 0; i < 4; ++i) {
            const Floats pair = tile.pair(column + first_row() + i / 2 * 8, row + first_column() + i % 2 * 8, place);
            fragment.number[2 * i] = rounded(pair.low);
            fragment.number[2 * i + 1] = rounded(pair.high);
        }
        return fragment;
    }
    static MIXSYNTH_CARD Fragment right(const Tile<float>& tile, int row, int column, MIXSYNTH_HERE) {
        Fragment fragment;
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8; ++i)
            fragment.number[i] = rounded(tile.get(row + first_column() + i % 2 + i / 2 % 2 * 8,
                                                  column + first_row() + i / 4 * 8, place));
        return fragment;
    }
    static MIXSYNTH_CARD Fragment packed(const float* weight, int index) {
        Fragment fragment;
        MIXSYNTH_UNROLL
        for (int half = 0; half < 2; ++half) {
            const Words words = load_constant(reinterpret_cast<const Words*>(weight) + (index * 2 + half) * 32 + lane());
            MIXSYNTH_UNROLL
            for (int i = 0; i < 4; ++i) fragment.number[4 * half + i] = float_of(words.word[i]);
        }
        return fragment;
    }
    static MIXSYNTH_CARD Fragment left_of_sums(const float (&low)[4], const float (&high)[4]) {
        return {{rounded(low[0]), rounded(low[2]), rounded(low[1]), rounded(low[3]), rounded(high[0]), rounded(high[2]),
                 rounded(high[1]), rounded(high[3])}};
    }
    static MIXSYNTH_CARD void cut_left(Fragment& fragment, int columns) {
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8; ++i)
            if (first_column() + i / 2 % 2 + i / 4 * 8 >= columns) fragment.number[i] = 0.0f;
    }
    static MIXSYNTH_CARD void cut_right(Fragment& fragment, int rows) {
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8; ++i)
            if (first_column() + i % 2 + i / 2 % 2 * 8 >= rows) fragment.number[i] = 0.0f;
    }
    static MIXSYNTH_CARD Fragment mixed(const Fragment& a, const Fragment& b, const float (&share)[2]) {
        Fragment result;
        MIXSYNTH_UNROLL
        for (int i = 0; i < 8; ++i)
            result.number[i] = rounded(share[i % 2] * a.number[i] + (1.0f - share[i % 2]) * b.number[i]);
        return result;
    }
    static MIXSYNTH_CARD void multiply(float (&low)[4], float (&high)[4], const Fragment& left, const Fragment& right,
                                       MIXSYNTH_HERE) {
        MIXSYNTH_UNROLL
        for (int step = 0; step < 2; ++step) {
            uint32_t coarse[4], fine[4];
            MIXSYNTH_UNROLL
            for (int i = 0; i < 4; ++i) split(left.number[4 * step + i], coarse[i], fine[i]);
            half(low, coarse, fine, right.number[2 * step], right.number[2 * step + 1], place);
            half(high, coarse, fine, right.number[4 + 2 * step], right.number[4 + 2 * step + 1], place);
        }
    }

  private:
    static constexpr uint32_t kKeptByTf32 = 0xffffe000u, kHalfOfDropped = 0x1000u;

    static MIXSYNTH_CARD float rounded(float number) { return kStrict ? number : tf32(number); }
    // A product drops the last bits of its operands. So strict takes what is left as the coarse part, and what was dropped,
    // to the nearest, as the fine one. To round both would take more than twice as many instructions.
    static MIXSYNTH_CARD void split(float number, uint32_t& coarse, uint32_t& fine) {
        coarse = kStrict ? bits_of(number) & kKeptByTf32 : bits_of(number);
        fine = kStrict ? bits_of(number - float_of(coarse)) + kHalfOfDropped : 0;
    }
    static MIXSYNTH_CARD void half(float (&sums)[4], const uint32_t (&coarse)[4], const uint32_t (&fine)[4],
                                   float right0, float right1, const Place& place) {
        uint32_t coarse0, coarse1, fine0, fine1;
        split(right0, coarse0, fine0);
        split(right1, coarse1, fine1);
        if (kStrict) {
            multiply_tf32(sums, fine, coarse0, coarse1, place);
            multiply_tf32(sums, coarse, fine0, fine1, place);
        }
        multiply_tf32(sums, coarse, coarse0, coarse1, place);
    }
};

template <bool kEverythingFits>
using Strict = Float<true, kEverythingFits>;
template <bool kEverythingFits>
using Tf32 = Float<false, kEverythingFits>;

}  // namespace mixsynth::card
