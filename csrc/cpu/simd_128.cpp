// The core for every 64-bit processor.
#include "cpu/core.h"

const mixsynth::Processor mixsynth::kProcessor128 = mixsynth::kCore<mixsynth::Simd128>;
