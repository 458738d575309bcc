"""HorizonPlot: the picture of a forecast's errors by horizon, as one more result of its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.draw.canvas import Color
from mixsynth_stream.draw.horizons import Errors, horizons_picture
from mixsynth_stream.draw.png import png_bytes
from mixsynth_stream.evaluate.scores import NETWORK, Evaluation
from mixsynth_stream.export.header import made_by
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.files import PartFile, make_folder
from mixsynth_stream.forecast.score import HorizonScore
from mixsynth_stream.pipeline.forecast.simple import CONSTANT_VELOCITY, HOLD, KALMAN
from mixsynth_stream.pipeline.motion import Motion

_COLORS: dict[str, Color] = {
    NETWORK: (31, 119, 210),
    HOLD: (150, 150, 150),
    CONSTANT_VELOCITY: (245, 124, 0),
    KALMAN: (26, 160, 60),
}
_LABELS = {"torso": "picture: error, torso lengths", "mm": "metres about the hips: error, mm"}


class HorizonPlot(SinkBase):
    """Writes a PNG with a panel for each space, of what the score knows at the end."""

    def __init__(self, path: Path, score: HorizonScore, name: str) -> None:
        super().__init__(path)
        make_folder(path)
        self._path, self._score, self._name = path, score, name

    def write(self, motion: Motion) -> None:
        """Nothing: the score takes the moments."""

    def _finish(self) -> None:
        panels = {}
        for evaluation in self._score.evaluations():
            lines = _lines(evaluation)
            if lines:
                panels[_LABELS[evaluation.rows[0].unit]] = lines
        picture = horizons_picture(panels, title=f"Error by how far ahead, {shown(self._name)}")
        PartFile(self._path, png_bytes(picture, software=made_by())).finish()


def _lines(evaluation: Evaluation) -> list[Errors]:
    rows = [row for row in evaluation.rows if row.metric == "mpjpe"]
    return [
        Errors(
            name=method.replace("_", " "),
            color=color,
            horizon_ms=np.array([row.horizon_ms for row in rows if row.method == method], np.float64),
            error=np.array([row.value for row in rows if row.method == method]),
            width_px=4.0 if method == NETWORK else 2.2,
        )
        for method, color in _COLORS.items()
        if rows
    ]
