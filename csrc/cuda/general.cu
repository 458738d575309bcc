#include "cuda/kernel.cuh"

namespace mixsynth::card {
namespace {

// 65536 registers of a multiprocessor are 255 for each of 256 threads: with fewer, these kernels would spill.
constexpr int kWarps = 8;

template <template <bool> class In>
Kernel choice(bool all_shared) {
    return {all_shared ? encoder_kernel<In<true>, kWarps> : encoder_kernel<In<false>, kWarps>, kWarps};
}

}  // namespace

Kernel general_kernel(Precision precision, bool all_shared) {
    if (precision == Precision::kBf16) return choice<Bf16>(all_shared);
    return precision == Precision::kTf32 ? choice<Tf32>(all_shared) : choice<Strict>(all_shared);
}

}  // namespace mixsynth::card
