#include "cuda/kernel.cuh"

namespace mixsynth::card {
namespace {

// A thread of eight warps has 255 registers, and one of twelve 168, with which most of these kernels would spill.
constexpr int kWide = 8, kNarrow = 12;

template <template <bool> class In, int kWarps>
Kernel choice(bool all_shared) {
    if (all_shared) return {encoder_kernel<In<true>, kWarps>, kWarps};
    return {encoder_kernel<In<false>, kWide>, kWide};
}

}  // namespace

Kernel general_kernel(Precision precision, bool all_shared) {
    if (precision == Precision::kBf16) return choice<Bf16, kNarrow>(all_shared);
    return precision == Precision::kTf32 ? choice<Tf32, kWide>(all_shared) : choice<Strict, kWide>(all_shared);
}

}  // namespace mixsynth::card
