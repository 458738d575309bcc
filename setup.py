"""Packages and the native extension; everything else is in pyproject.toml."""

from setuptools import setup

setup(
    packages=[
        "mixsynth_stream",
        "mixsynth_stream.data",
        "mixsynth_stream.export",
        "mixsynth_stream.kernels",
        "mixsynth_stream.pipeline",
    ],
    # The checkout keeps kernels/ and pipeline/ at the top level; installed, they live inside the package.
    package_dir={"mixsynth_stream.kernels": "kernels", "mixsynth_stream.pipeline": "pipeline"},
    package_data={"mixsynth_stream": ["py.typed", "assets/*"]},
)
