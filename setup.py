"""Packages and the native extension; everything else is in pyproject.toml."""

import sys
from glob import glob

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

# No -march and no -ffast-math: one build runs on every machine of its architecture, with NaN and infinity as they are.
# The two flags give up floating-point exception flags and errno only; without them no exponential is vectorised.
flags = ["-O3", "-fno-trapping-math", "-fno-math-errno", "-pthread"]
msvc = sys.platform == "win32"
# The folders of csrc/ that make mixsynth_stream._C: the core of another device is a folder and an extension of its own.
folders = ("csrc", "csrc/cpu", "csrc/python")
native = Pybind11Extension(
    "mixsynth_stream._C",
    sorted(source for folder in folders for source in glob(f"{folder}/*.cpp")),
    depends=sorted(header for folder in folders for header in glob(f"{folder}/*.h")),
    include_dirs=["csrc"],
    cxx_std=17,
    extra_compile_args=[] if msvc else flags,
    extra_link_args=[] if msvc else ["-pthread"],
)

setup(
    ext_modules=[native],
    packages=[
        "mixsynth_stream",
        "mixsynth_stream.bench",
        "mixsynth_stream.bench.encoder",
        "mixsynth_stream.bench.kernels",
        "mixsynth_stream.commands",
        "mixsynth_stream.data",
        "mixsynth_stream.draw",
        "mixsynth_stream.evaluate",
        "mixsynth_stream.export",
        "mixsynth_stream.job",
        "mixsynth_stream.kernels",
        "mixsynth_stream.kernels.blocks",
        "mixsynth_stream.kernels.inference",
        "mixsynth_stream.kernels.training",
        "mixsynth_stream.pipeline",
        "mixsynth_stream.pipeline.estimators",
        "mixsynth_stream.pipeline.glance",
        "mixsynth_stream.pipeline.sources",
        "mixsynth_stream.pipeline.sources.media",
        "mixsynth_stream.pipeline.sources.pixels",
        "mixsynth_stream.pipeline.sources.sparse",
        "mixsynth_stream.pipeline.sources.timing",
        "mixsynth_stream.train",
        "mixsynth_stream.viewer",
    ],
    # The checkout keeps kernels/ and pipeline/ at the top level; installed, they live inside the package.
    package_dir={"mixsynth_stream.kernels": "kernels", "mixsynth_stream.pipeline": "pipeline"},
    package_data={"mixsynth_stream": ["py.typed", "assets/*"]},
)
