// Shapes: kernels for the published and shipped networks, whose sizes the compiler knows. They are in bf16, which is what
// asks for speed; other precisions take a general kernel.
#include "cuda/kernel.cuh"

namespace mixsynth::card {
namespace {

// 168 registers for each of 384 threads: h36m's eleven units of attention, which take longest, need a warp each.
constexpr int kWarps = 12;

// Calls use(sizes) for each of `Fixed` that fits.
template <class... Fixed>
Kernel first_fit(const Sizes& sizes, Kernel otherwise) {
    Kernel kernel = otherwise;
    ((Fixed::fit(sizes) ? void(kernel = {fixed_encoder_kernel<Bf16<true>, Fixed, kWarps>, kWarps}) : void()), ...);
    return kernel;
}

}  // namespace

Kernel kernel_for(const Sizes& sizes, Precision precision, bool all_shared) {
    const Kernel general = general_kernel(precision, all_shared);
    if (precision != Precision::kBf16 || !all_shared) return general;
    return first_fit<FixedSizes<11, 128, 2, 128, 256>,    // jhmdb
                     FixedSizes<101, 64, 25, 64, 128>,    // h36m
                     FixedSizes<51, 32, 12, 32, 64>,      // 3dpw, 3dpw-pare
                     FixedSizes<51, 64, 12, 64, 128>,     // 3dpw-smpl
                     FixedSizes<101, 128, 25, 128, 256>,  // aist, aist-smpl
                     FixedSizes<44, 64, 11, 64, 128>,     // image-n5, world-n5
                     FixedSizes<69, 64, 17, 64, 128>,     // image-n10, world-n10
                     FixedSizes<94, 64, 23, 64, 128>      // image-n15, world-n15
                     >(sizes, general);
}

}  // namespace mixsynth::card
