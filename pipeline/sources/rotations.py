"""RotationReader: recorded rotations of SMPL as a source by themselves."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.pipeline.sources.own_frames import RgbReader
from mixsynth_stream.skeleton import SMPL_24
from mixsynth_stream.spaces import GRID_HZ


class RotationReader(RgbReader):
    """A blank frame at each time of a recording (.npz), and the estimator that replays it: no picture is needed.

    A recording of landmarks is refused, because these are pixels of a video, which has to be the source.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            recording = ArrayEstimator(path)
        except ModelError as error:
            raise SourceError(str(error)) from error
        if recording.skeleton != SMPL_24.name:
            raise SourceError(
                f"{path} holds {recording.skeleton} in pixels of a video: give the video as the source and "
                "the recording as its estimator (--estimates)"
            )
        spacing_s = np.diff(recording.time_s)
        rate_hz = 1 / float(np.median(spacing_s)) if len(spacing_s) else GRID_HZ
        super().__init__(recording.frames())
        self.info = replace(self.info, source=str(path), width=0, height=0, rate_hz=rate_hz)
        self.estimator = recording
