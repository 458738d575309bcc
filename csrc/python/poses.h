// The class Curve: the poses of one person at any time.
#pragma once

#include "python/arguments.h"

namespace mixsynth::python {

void add_curve(py::module_& module);

}  // namespace mixsynth::python
