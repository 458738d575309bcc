// The classes of poses over time: Curve and Glimpses.
#pragma once

#include "python/arguments.h"

namespace mixsynth::python {

void add_poses(py::module_& module);

}  // namespace mixsynth::python
