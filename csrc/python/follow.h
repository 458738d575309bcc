// The classes of a glance: Pyramid and Body.
#pragma once

#include "python/arguments.h"

namespace mixsynth::python {

void add_glance(py::module_& module);

}  // namespace mixsynth::python
