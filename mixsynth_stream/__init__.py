"""Human motion from any video with a tenth of the estimator calls and without lag.

    from mixsynth_stream import Stream
    with Stream("clip.mp4") as stream:
        for motion in stream:
            print(motion.time_s, motion.poses.shape)

Importing this package imports none of numpy, torch, av and mediapipe; a public name is loaded at its first use.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixsynth_stream.pipeline import Motion, MotionWindow, Origin, Stream
    from mixsynth_stream.weights import load_model

    __version__: str

__all__ = ["Motion", "MotionWindow", "Origin", "Stream", "__version__", "load_model"]

_HOME = {
    "Motion": "mixsynth_stream.pipeline",
    "MotionWindow": "mixsynth_stream.pipeline",
    "Origin": "mixsynth_stream.pipeline",
    "Stream": "mixsynth_stream.pipeline",
    "load_model": "mixsynth_stream.weights",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mixsynth-stream")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _refuse_a_bare_checkout() -> None:
    """Raise `ImportError` in a checkout that is not installed.

    pipeline/ and kernels/ lie beside this folder in a checkout and inside it in an installed package. After a plain
    `pip install .`, Python that runs inside the checkout finds the checkout's folder first, which is half a package.
    """
    if importlib.util.find_spec("mixsynth_stream.pipeline") is not None:
        return
    checkout = Path(__file__).parent.parent
    message = (
        f"mixsynth_stream was found in the checkout {checkout}, which hides the installed package and is not complete "
        "by itself: run from another folder, or install the checkout with `pip install -e .`"
    )
    # Python sets this while it looks for the module of `python -m mixsynth_stream`, where one sentence is enough.
    if sys.argv[:1] == ["-m"]:
        raise SystemExit(f"mixsynth-stream: {message}")
    raise ImportError(message)


_refuse_a_bare_checkout()
