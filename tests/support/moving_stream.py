"""MovingStream: what a view needs of a live Stream, with one person whose place is known at any time."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from support.fakes import FakeFrame, standing_pose

from mixsynth_stream.pipeline.forecast.self_score import METHODS, NETWORK
from mixsynth_stream.pipeline.ledger import Latency
from mixsynth_stream.pipeline.motion import Expected, Forecast, Motion, Origin
from mixsynth_stream.pipeline.stats import StreamStats

WIDTH, HEIGHT = 640, 480


def x_px(time_s: float) -> float:
    """Where the person's shoulders are: there and back in four seconds."""
    return 320.0 + 150.0 * math.sin(math.pi * time_s / 2)


class MovingStream:
    """`write_for` gives a view its Motions at 30 Hz. The finals come three frames later."""

    def __init__(self) -> None:
        self.info: Any = SimpleNamespace(source="rtsp://me:secret@camera/1", live=True)
        self.live, self.skeleton = True, "BlazePose-33"
        self.stats = StreamStats()
        errors = dict(zip(METHODS, (0.04, 0.08, 0.06, 0.05), strict=True))
        self.score: Any = SimpleNamespace(
            method=NETWORK, errors=lambda: {0.1: errors, 0.2: {name: 2 * e for name, e in errors.items()}}
        )
        self._start_s = time.perf_counter()
        self._index = 0

    @property
    def now_s(self) -> float:
        return time.perf_counter() - self._start_s

    def at(self, time_s: float) -> Expected:
        return Expected(ids=np.array([7]), **self._arrays(time_s, Origin.FORECAST))

    def motion(self, index: int, time_s: float, *, final: bool = False) -> Motion:
        frame: Any = FakeFrame(index, time_s, WIDTH, HEIGHT, picture(index))
        return Motion(
            index=index,
            time_s=time_s,
            final=final,
            keyframe=False,
            ids=np.array([7]),
            measured=None,
            frame=frame,
            _forecaster=lambda: self._forecast(time_s),
            latency=None if final else Latency(0.001, 0.001, 0.002, 0.1),
            **self._arrays(time_s, Origin.FILLED if final else Origin.TRACKED),
        )

    def write_for(self, view: Any, seconds: float) -> None:
        """The frames of some seconds, at their pace."""
        end_s = self.now_s + seconds
        while (now_s := self.now_s) < end_s:
            self.stats.frames += 1
            view.write(self.motion(self._index, now_s))
            if self._index >= 3:
                view.write(self.motion(self._index - 3, now_s - 0.1, final=True))
            self._index += 1
            time.sleep(max(0.0, 1 / 30 - (self.now_s - now_s)))

    def _forecast(self, time_s: float) -> Forecast:
        times_s = time_s + np.arange(1, 13) / 30
        moments = [self._arrays(float(later_s), Origin.FORECAST) for later_s in times_s]
        return Forecast(time_s=times_s, **{name: np.stack([one[name] for one in moments], 1) for name in moments[0]})

    def _arrays(self, time_s: float, origin: Origin) -> dict[str, np.ndarray]:
        pose = standing_pose(x_px(time_s), 150.0, 90.0)[None]
        joints = pose.shape[:2]
        return {
            "poses": pose,
            "world": np.zeros((*joints, 3)),
            "scores": np.full(joints, 0.9),
            "origin": np.full(joints, origin, np.uint8),
            "sigma": np.full(joints, 6.0),
        }


def picture(index: int) -> np.ndarray:  # -> [480, 640, 3] uint8
    """A grey picture with a darker stripe that moves."""
    rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    rgb[:, (5 * index) % WIDTH :][:, :20] = 60
    return rgb
