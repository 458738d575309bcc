// The core for processors with AVX2 and FMA.
#include "cpu/processor.h"

#if defined(__x86_64__)
MIXSYNTH_BEGIN("avx2,fma")
#include "cpu/core.h"
const mixsynth::Processor mixsynth::kProcessor256 = mixsynth::kCore<mixsynth::Simd256>;
MIXSYNTH_END
#endif
