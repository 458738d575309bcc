// Core: all that a Processor does, for registers of one kind. The code lies in headers because each simd_*.cpp compiles
// all of it with other instructions.
#pragma once

#include "cpu/body.h"
#include "cpu/peak.h"
#include "cpu/processor.h"
#include "cpu/pyramid.h"
#include "cpu/train.h"

namespace mixsynth {
namespace {

template <typename Simd>
constexpr Processor kCore{forward_windows<Simd>, train_windows<Simd>, multiply_add<Simd>,
                          fill_pyramid,          flow_of_points,      follow_body};

}  // namespace
}  // namespace mixsynth
