"""Timeline: which frames are keyframes, and in which order frames leave as Motions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.pipeline.motion import Forecast, Motion, Origin, Person
from mixsynth_stream.pipeline.people import Scene
from mixsynth_stream.spaces import GRID_HZ

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.people import People


class Timeline:
    """Takes frames in order and gives the Motions now due.

    lag 1: each frame once, final, when the keyframe after it is known. lag 0: each frame at once and provisional; when
    a keyframe arrives, the finals of the frames before it come first, then the keyframe itself, provisional.
    """

    def __init__(self, people: People, *, lag: int, horizon_s: float) -> None:
        self._people = people
        self._lag = lag
        self._ahead_s = np.arange(1, round(horizon_s * GRID_HZ) + 1) / GRID_HZ
        self._scene = people.nobody()  # as known after the newest keyframe
        self._keyframe: tuple[Frame, tuple[Person, ...]] | None = None  # the newest one
        self._waiting: list[tuple[Frame, bool]] = []  # (frame, is the newest keyframe), not yet final

    @property
    def last_frame(self) -> Frame | None:
        """The newest frame, unless it already is a keyframe."""
        return self._waiting[-1][0] if self._waiting and not self._waiting[-1][1] else None

    def frame(self, frame: Frame) -> list[Motion]:
        """A frame that no estimator looks at (or has not yet looked at)."""
        self._waiting.append((frame, False))
        return self._motions([frame], self._scene, self._scene, final=False) if self._lag == 0 else []

    def keyframe(self, frame: Frame, people: Sequence[Person]) -> list[Motion]:
        """A frame with what the estimator said of it; newer frames may have come while it was thinking."""
        people = tuple(people)
        before = self._scene
        scene = self._people.observe(people, frame.time_s, frame.height)
        newer = [waiting for waiting in self._waiting if waiting[0].time_s > frame.time_s]
        earlier = [waiting for waiting, _ in self._waiting if waiting.time_s < frame.time_s]
        motions = self._motions(earlier, scene, before, final=True)
        self._scene, self._keyframe = scene, (frame, people)
        self._waiting = [(frame, True), *newer]
        if self._lag == 0:
            motions += self._motions([frame], scene, scene, final=False)
        return motions

    def flush(self) -> list[Motion]:
        """The end: what is still waiting becomes final as it stands."""
        waiting, self._waiting = self._waiting, []
        return self._motions([frame for frame, _ in waiting], self._scene, self._scene, final=True)

    def _motions(self, frames: list[Frame], scene: Scene, known_then: Scene, *, final: bool) -> list[Motion]:
        """Frames read off `scene`; forecasts come from `known_then`, the keyframes up to the frames' own time."""
        read = scene.at([frame.time_s for frame in frames])
        present = (read.origin != Origin.MISSING).any(axis=2)  # [P, M]
        motions = []
        for m, frame in enumerate(frames):
            poses = read.at(m).take(present[:, m])
            ids = read.ids[present[:, m]]
            is_keyframe = self._keyframe is not None and self._keyframe[0] is frame
            motion = Motion(
                index=frame.index,
                time_s=frame.time_s,
                final=final,
                keyframe=is_keyframe,
                ids=ids,
                measured=self._keyframe[1] if is_keyframe and self._keyframe else None,
                frame=frame,
                _forecaster=partial(_forecast, known_then, ids, frame.time_s + self._ahead_s),
                **poses.arrays(),
            )
            motions.append(motion)
        return motions


def _forecast(scene: Scene, ids: np.ndarray, times_s: np.ndarray) -> Forecast:
    """The people `ids` at the given times, in that order; of somebody not known then everything is MISSING."""
    ahead = scene.at(times_s)
    row = {int(track): p for p, track in enumerate(ahead.ids)}
    rows = np.array([row.get(int(track), -1) for track in ids], int)
    return Forecast(time_s=times_s, **ahead.and_nobody().take(rows).arrays())
