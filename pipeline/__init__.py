"""Video in, Motion out. Each name is loaded when first asked for: video needs av, the estimator needs mediapipe."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.curve import WindowPoses
    from mixsynth_stream.pipeline.estimators.estimator import Estimator
    from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
    from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
    from mixsynth_stream.pipeline.motion import Forecast, Lookahead, Motion, Origin, Person
    from mixsynth_stream.pipeline.several.streams import Streams
    from mixsynth_stream.pipeline.sources.video import VideoReader
    from mixsynth_stream.pipeline.stream import Stream
    from mixsynth_stream.pipeline.window import MotionWindow, push_all

__all__ = [
    "ArrayEstimator",
    "Estimator",
    "Forecast",
    "Lookahead",
    "MediaPipeEstimator",
    "Motion",
    "MotionWindow",
    "Origin",
    "Person",
    "Stream",
    "Streams",
    "VideoReader",
    "WindowPoses",
    "push_all",
]

_HOME = {
    "ArrayEstimator": "estimators.recorded",
    "Estimator": "estimators.estimator",
    "Forecast": "motion",
    "Lookahead": "motion",
    "MediaPipeEstimator": "estimators.mediapipe",
    "Motion": "motion",
    "MotionWindow": "window",
    "Origin": "motion",
    "Person": "motion",
    "Stream": "stream",
    "Streams": "several.streams",
    "VideoReader": "sources.video",
    "WindowPoses": "curve",
    "push_all": "window",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mixsynth_stream.pipeline.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
