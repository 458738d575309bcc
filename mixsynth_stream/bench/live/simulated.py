"""Simulated: a live estimator whose answers take a given time of the clip's own clock, so that figures repeat.

Its answers are those of the dense estimator. So what differs between settings is when it looked, and what was made
of that, not how well it sees.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixsynth_stream.bench.live.shown import Shown
from mixsynth_stream.evaluate.frontier import LIMBS
from mixsynth_stream.evaluate.video import DensePoses
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.pipeline.stream import Stream

_SAME_TIME_S = 1e-6


def simulated(clip: Path, dense: DensePoses, answer_s: float, *, every: int | str, smooth: bool, glance: bool) -> Shown:
    """What a live stream shows of a clip where each look is answered after `answer_s`."""
    shown = Shown.of(len(dense.time_s))
    recording = {"time_s": dense.time_s, "poses": dense.poses, "world": dense.world, "scores": dense.scores}
    with (
        VideoReader(clip) as reader,
        Stream(estimator=ArrayEstimator(recording), every=every, max_people=1, glance=glance, smooth=smooth) as stream,
    ):
        for frame, picture in enumerate(reader):
            before = stream.at(picture.time_s)
            if len(before.ids):
                shown.before[frame] = before.poses[0, LIMBS]
            shown.take(frame, picture.time_s, stream.push(picture.rgb, picture.time_s, answer_s=answer_s))
    return shown


def held_simulated(dense: DensePoses, answer_s: float) -> np.ndarray:  # -> [F, 12, 2]
    """MediaPipe as fast as it goes: it takes the newest frame when it is free, and its newest result is held."""
    poses = np.full((len(dense.time_s), len(LIMBS), 2), np.nan)
    looks_at, newest = None, None
    for frame, time_s in enumerate(dense.time_s):
        if looks_at is not None and time_s >= dense.time_s[looks_at] + answer_s - _SAME_TIME_S:
            newest, looks_at = looks_at, None
        looks_at = frame if looks_at is None else looks_at
        if newest is not None:
            poses[frame] = dense.poses[newest, LIMBS]
    return poses
