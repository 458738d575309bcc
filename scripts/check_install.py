"""Import every module of the checkout from where it is installed, and fail on one that is missing there.

    python scripts/check_install.py        # outside the checkout, with the Python of the environment to check

A folder that setup.py does not list works in the checkout and is missing from the wheel. Modules of an extra that this
environment lacks (torch, triton, ...) are looked for and not run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# What the extras of pyproject.toml bring.
EXTRAS = {
    "torch",
    "triton",
    "tqdm",
    "matplotlib",
    "threadpoolctl",
    "ezc3d",
    "smplx",
    "onnx",
    "onnxruntime",
    "openvino",
    "pyarrow",
    "ray",
    "pythonosc",
    "websockets",
}


# Where the code lies in the checkout, and its name once installed.
FOLDERS = {"mixsynth_stream": "", "kernels": ".kernels", "pipeline": ".pipeline"}


def modules() -> Iterator[str]:
    """Full names of all modules that ship, as the checkout has them."""
    for folder, name in FOLDERS.items():
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            parts = path.relative_to(CHECKOUT / folder).with_suffix("").parts
            if parts[-1] != "__main__":
                yield ".".join(("mixsynth_stream" + name, *parts)).removesuffix(".__init__")
    yield "mixsynth_stream._C"


def fault(name: str) -> str:
    """Why a module cannot be imported from where it is installed; an empty string where it can."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        is_there = error.name in EXTRAS and importlib.util.find_spec(name) is not None
        return "" if is_there else str(error)
    path = Path(str(module.__file__)).resolve()
    in_checkout = any(CHECKOUT / folder in path.parents for folder in FOLDERS)
    return "comes from the checkout, not from an installed package" if in_checkout else ""


def main() -> int:
    # Python puts the folder of a script first: what lies there is not what is installed.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in (CHECKOUT, CHECKOUT / "scripts")]
    names = list(modules())
    faults = {name: reason for name in names if (reason := fault(name))}
    for name, reason in faults.items():
        print(f"{name}: {reason}", file=sys.stderr)
    print(f"{len(names) - len(faults)} of {len(names)} modules are installed")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
