"""Packages and the native extensions; everything else is in pyproject.toml.

MIXSYNTH_CUDA=1 builds the CUDA encoder or fails, 0 leaves it out, auto (the default) builds it where nvcc is.
MIXSYNTH_ARCH="80 90" builds it for those compute capabilities, "all" for all, "one" for the cards of this machine or
9.0 where it has none; by default those of this machine, or all. PTX of the last is for newer ones.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup
from setuptools.errors import CompileError

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

# A file of each extension on each core.
ParallelCompile(default=0).install()

ARCHS = ("80", "86", "89", "90", "100", "120")
OLDEST_NVCC = (12, 8)  # the first that knows compute capability 12.0


def toolkit() -> Path | None:
    """The CUDA toolkit to build with, or None where the CUDA encoder is left out, which a line says."""
    choice = os.environ.get("MIXSYNTH_CUDA", "auto")
    if choice not in ("0", "1", "auto"):
        raise SystemExit(f"MIXSYNTH_CUDA must be 0, 1 or auto, found {choice!r}")
    if choice == "0":
        return None
    homes = [f"{os.environ[name]}/bin" for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    nvcc = shutil.which("nvcc", path=os.pathsep.join([*homes, os.environ.get("PATH", "")]))
    problem = "there is no nvcc on the PATH"
    if nvcc:
        version = _output(nvcc, "--version")
        release = re.search(r"release (\d+)\.(\d+)", version)
        if release and (int(release[1]), int(release[2])) >= OLDEST_NVCC:
            root = re.search(r"_HERE_=(.*)", _output(nvcc, "--dryrun", "-x", "cu", os.devnull))
            return Path(root[1].strip()).parent if root else Path(nvcc).resolve().parent.parent
        problem = f"nvcc is {release[1] + '.' + release[2] if release else 'of unknown version'}, but 12.8 is needed"
    if choice == "1":
        raise SystemExit(f"MIXSYNTH_CUDA=1, but {problem}")
    sys.stderr.write(f"the CUDA encoder is left out: {problem}\n")
    return None


def _output(*command: str) -> str:
    """What a program prints, on either stream; empty where there is no such program."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout + process.stderr


def _archs_here() -> list[str]:
    """For each card of this machine the architecture that runs on it best."""
    capabilities = re.findall(r"^(\d+)\.(\d+)$", _output("nvidia-smi", "--query-gpu=compute_cap", "--format=csv"), re.M)
    # Code runs on later minor versions of its major version only.
    known = [[arch for arch in ARCHS if arch[:-1] == major and arch[-1] <= minor] for major, minor in capabilities]
    return sorted({archs[-1] for archs in known if archs}, key=int)


def architectures() -> list[str]:
    """nvcc's options for MIXSYNTH_ARCH: machine code for each, and PTX of the last."""
    request = os.environ.get("MIXSYNTH_ARCH", "").replace(",", " ").replace(";", " ").split()
    if request in ([], ["one"]):
        chosen = _archs_here() or (["90"] if request else list(ARCHS))
    else:
        chosen = list(ARCHS) if request == ["all"] else request
    if not set(chosen) <= set(ARCHS):
        raise SystemExit(
            f"MIXSYNTH_ARCH must be all, one, or list some of {' '.join(ARCHS)}, found {' '.join(chosen)!r}"
        )
    options = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in chosen]
    return [*options, f"-gencode=arch=compute_{chosen[-1]},code=compute_{chosen[-1]}"]


COMPILE = ("-std=c++17", "-O3", "-Icsrc", "-Xcompiler", "-fPIC")


def key_of(made_of: Path, options: list[str]) -> str:
    """What an object is made of: nvcc, its options, and the text of our sources, which it has listed in `made_of`.

    It is the same on every machine, because objects travel to one with a card.
    """
    release = re.search(r"release [\d.]+", _output(str(cuda / "bin/nvcc"), "--version"))
    sources = [Path(word) for word in made_of.read_text().split() if word.startswith("csrc/")]
    texts = [source.read_text() if source.is_file() else "" for source in sources]
    parts = [release[0] if release else "", *COMPILE, *options, *texts]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class BuildWithCuda(build_ext):
    """Compiles the .cu files with nvcc, all at once, unless their objects are made of the same."""

    def build_extension(self, ext) -> None:
        units = [source for source in ext.sources if source.endswith(".cu")]
        ext.sources = [source for source in ext.sources if not source.endswith(".cu")]
        if units:
            options = architectures()
            names = re.findall(r"sm_\d+", " ".join(options))
            sys.stderr.write(f"the CUDA encoder is built for {' '.join(names)}, which MIXSYNTH_CUDA=0 leaves out\n")
            # Not the folder of the build, which pip makes anew each time.
            folder = Path("build", "cuda", "-".join(names))
            folder.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(len(units)) as pool:
                ext.extra_objects += pool.map(lambda unit: self._compiled(unit, folder, options), units)
        super().build_extension(ext)

    @staticmethod
    def _compiled(unit, folder, options) -> str:
        out, made_of, key = (folder / f"{Path(unit).stem}{suffix}" for suffix in (".o", ".d", ".key"))
        if out.is_file() and key.is_file() and made_of.is_file() and key.read_text() == key_of(made_of, options):
            return str(out)
        threads = max(1, (os.cpu_count() or 1) // 2)  # for each of the two large files
        command = [str(cuda / "bin/nvcc"), *COMPILE, *options, f"--threads={threads}"]
        command += ["-MMD", "-MF", str(made_of), "-c", unit, "-o", str(out)]
        if code := subprocess.run(command, check=False).returncode:
            raise CompileError(f"nvcc ended with code {code} on {unit}")
        key.write_text(key_of(made_of, options))
        return str(out)


extensions = [native]
if cuda := toolkit():
    extensions.append(
        Pybind11Extension(
            "mixsynth_stream._cuda",
            [*sorted(glob("csrc/cuda/*.cu")), *sorted(glob("csrc/cuda/*.cpp")), "csrc/pack.cpp"],
            depends=sorted([*glob("csrc/*.h"), *glob("csrc/cuda/*.h"), "csrc/python/arguments.h"]),
            include_dirs=["csrc", str(cuda / "include")],
            # Static, so that no CUDA library is needed; it looks for a driver when it is first asked for a card.
            libraries=["cudart_static", "dl", "rt", "pthread"],
            library_dirs=[str(cuda / folder) for folder in ("lib64", "lib")],
            cxx_std=17,
            # Where nobody asked for it, nvcc's failure must not be that of the whole package.
            optional=os.environ.get("MIXSYNTH_CUDA") != "1",
        )
    )

setup(
    ext_modules=extensions,
    cmdclass={"build_ext": BuildWithCuda},
    packages=[
        "mixsynth_stream",
        "mixsynth_stream.archive",
        "mixsynth_stream.archive.ray",
        "mixsynth_stream.bench",
        "mixsynth_stream.bench.encoder",
        "mixsynth_stream.bench.kernels",
        "mixsynth_stream.bench.live",
        "mixsynth_stream.commands",
        "mixsynth_stream.data",
        "mixsynth_stream.draw",
        "mixsynth_stream.evaluate",
        "mixsynth_stream.export",
        "mixsynth_stream.forecast",
        "mixsynth_stream.job",
        "mixsynth_stream.kernels",
        "mixsynth_stream.kernels.blocks",
        "mixsynth_stream.kernels.inference",
        "mixsynth_stream.kernels.training",
        "mixsynth_stream.pipeline",
        "mixsynth_stream.pipeline.estimators",
        "mixsynth_stream.pipeline.estimators.onnx",
        "mixsynth_stream.pipeline.forecast",
        "mixsynth_stream.pipeline.glance",
        "mixsynth_stream.pipeline.several",
        "mixsynth_stream.pipeline.sources",
        "mixsynth_stream.pipeline.sources.live",
        "mixsynth_stream.pipeline.sources.media",
        "mixsynth_stream.pipeline.sources.pixels",
        "mixsynth_stream.pipeline.sources.recording",
        "mixsynth_stream.pipeline.sources.sparse",
        "mixsynth_stream.pipeline.sources.timing",
        "mixsynth_stream.send",
        "mixsynth_stream.train",
        "mixsynth_stream.viewer",
        "mixsynth_stream.viewer.web",
    ],
    # The checkout keeps kernels/ and pipeline/ at the top level; installed, they live inside the package.
    package_dir={"mixsynth_stream.kernels": "kernels", "mixsynth_stream.pipeline": "pipeline"},
    package_data={"mixsynth_stream": ["py.typed", "assets/*"], "mixsynth_stream.viewer.web": ["static/*"]},
)
