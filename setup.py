"""Packages and the native extension; everything else is in pyproject.toml."""

import sys
from glob import glob

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

# No -march and no -ffast-math: one build runs on every machine of its architecture, with NaN and infinity as they are.
# The two flags give up floating-point exception flags and errno only; without them no exponential is vectorised.
flags = ["-O3", "-fno-trapping-math", "-fno-math-errno", "-pthread"]
msvc = sys.platform == "win32"
native = Pybind11Extension(
    "mixsynth_stream._C",
    sorted(glob("csrc/*.cpp")),
    depends=sorted(glob("csrc/*.h")),
    include_dirs=["csrc"],
    cxx_std=17,
    extra_compile_args=[] if msvc else flags,
    extra_link_args=[] if msvc else ["-pthread"],
)

setup(
    ext_modules=[native],
    packages=[
        "mixsynth_stream",
        "mixsynth_stream.data",
        "mixsynth_stream.export",
        "mixsynth_stream.kernels",
        "mixsynth_stream.kernels.blocks",
        "mixsynth_stream.kernels.inference",
        "mixsynth_stream.kernels.training",
        "mixsynth_stream.pipeline",
        "mixsynth_stream.viewer",
    ],
    # The checkout keeps kernels/ and pipeline/ at the top level; installed, they live inside the package.
    package_dir={"mixsynth_stream.kernels": "kernels", "mixsynth_stream.pipeline": "pipeline"},
    package_data={"mixsynth_stream": ["py.typed", "assets/*"]},
)
