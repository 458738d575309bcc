// Shapes: kernels for the published and shipped networks, whose sizes the compiler knows. They are in bf16, which is what
// asks for speed; other precisions take a general kernel.
#include "cuda/kernel.cuh"

namespace mixsynth::card {

Kernel kernel_for(const Sizes& sizes, Precision precision, bool all_shared) {
    const Kernel general = general_kernel(precision, all_shared);
    if (precision != Precision::kBf16 || !all_shared) return general;
    Kernel kernel = general;
    KnownSizes::use_fitting(sizes, [&](auto fixed) {
        kernel = {fixed_encoder_kernel<Bf16<true>, decltype(fixed), kFixedWarps>, kFixedWarps};
    });
    return kernel;
}

}  // namespace mixsynth::card
