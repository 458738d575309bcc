// The core for processors with AVX-512.
#include "cpu/processor.h"

#if defined(__x86_64__)
MIXSYNTH_BEGIN("avx512f,avx512vl,avx512dq,avx512bw,fma")
#include "cpu/core.h"
const mixsynth::Processor mixsynth::kProcessor512 = mixsynth::kCore<mixsynth::Simd512>;
MIXSYNTH_END
#endif
