"""Plot: trajectories of a few joints of the main person, with keyframes as dots and forecasts as fans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.draw.canvas import Canvas, Casing, Color
from mixsynth_stream.draw.chart import INK, Axes, draw_key
from mixsynth_stream.draw.png import png_bytes
from mixsynth_stream.export.header import Header, made_by
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.files import PartFile, make_folder
from mixsynth_stream.pipeline.fit import Fit
from mixsynth_stream.pipeline.motion import Motion, Origin, forecast_of

# Those that the skeleton has; a head stands in where it has no nose.
JOINTS = ("nose", "left_wrist", "right_wrist", "left_ankle")
_COLORS: tuple[Color, ...] = ((31, 119, 210), (26, 160, 60), (245, 124, 0), (150, 80, 190), (200, 40, 80), (90, 90, 90))
_WIDTH, _HEIGHT = 1600, 900
_LEFT, _RIGHT = 108, 1568
_MAX_SAMPLES = 4096
_MAX_FANS = 512
# The line breaks where there is no pose for longer than this, in seconds and in usual steps between samples.
_BREAK_S, _BREAK_STEPS = 0.3, 2.5


class PlotSink(SinkBase):
    """A PNG with x and y of a few joints over time. Long streams are thinned out, so that memory stays bounded.

    The main person is the tallest one in view, and stays so until that person has gone. Frames of another size than the
    first are laid over its picture, so that nobody jumps.
    """

    def __init__(self, path: Path, header: Header, *, joints: Sequence[str] | None = None) -> None:
        super().__init__(path)
        make_folder(path)
        self._path = path
        self._header = header
        skeleton = header.skeleton
        if joints is None:
            joints = [name if name in skeleton.joints else "head" for name in JOINTS]
        self._joints = [skeleton.index(name) for name in joints]
        self._names = [name.replace("_", " ") for name in joints]
        self._person: int | None = None
        self._size: tuple[int, int] | None = None  # width and height of the first frame
        self._line = _EvenSample(_MAX_SAMPLES)
        self._dots = _EvenSample(_MAX_FANS)
        self._fans = _EvenSample(_MAX_FANS)

    def write(self, motion: Motion) -> None:
        """Take the joints, if the Motion is final."""
        if not motion.final:
            return
        fit = self._fit(motion)
        if not len(motion.ids):
            return
        if self._person not in motion.ids.tolist():
            self._person = int(motion.ids[int(np.argmax([_tallness(pose) for pose in motion.poses]))])
        p = motion.ids.tolist().index(self._person)
        pose = _placed(motion.poses[p][self._joints], fit)  # [J, 2]
        if not np.isfinite(pose).any():
            return
        ahead = np.isin(motion.origin[p][self._joints], (Origin.FORECAST, Origin.HELD))  # [J]
        self._line.add(np.concatenate([[motion.time_s], pose.ravel(), ahead, [self._person]]))
        if not motion.keyframe:
            return
        measured = motion.origin[p][self._joints] == Origin.MEASURED
        self._dots.add(np.concatenate([[motion.time_s], np.where(measured[:, None], pose, np.nan).ravel()]))
        forecast = forecast_of(motion)
        if forecast is not None:
            fan = _placed(forecast.poses[p][:, self._joints], fit).reshape(len(forecast.time_s), -1)  # [F, 2 J]
            rows = np.concatenate([forecast.time_s[:, None], fan], axis=1)
            self._fans.add(np.concatenate([[[motion.time_s, *pose.ravel()]], rows]))

    def _fit(self, motion: Motion) -> Fit:
        """Where the frame lies over the picture of the first one."""
        if motion.frame is None:
            return Fit()
        size = motion.frame.width, motion.frame.height
        self._size = self._size or size
        return Fit.of(size, self._size)

    def _finish(self) -> None:
        PartFile(self._path, png_bytes(self._draw(), software=made_by())).finish()

    def _draw(self) -> np.ndarray:  # -> [H, W, 3] uint8
        canvas = Canvas(np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8))
        name = shown(Path(self._header.source).name) if self._header.source else "stream"
        canvas.text(_LEFT, 34, f"Joint trajectories, {name}", 24, INK)
        if not self._line.items:
            canvas.text(_WIDTH / 2, _HEIGHT / 2, "no person was seen", 28, INK, anchor="middle")
            return canvas.rgb
        joints = len(self._joints)
        line = _with_gaps(np.array(self._line.items))  # [N, 1 + 2 J + J + 1]
        dots = np.array(self._dots.items).reshape(-1, 1 + 2 * joints)
        fans = self._fans.items
        all_times = np.concatenate([line[:, :1], *(fan[:, :1] for fan in fans)])
        times = float(np.nanmin(all_times)), float(np.nanmax(all_times))
        times = times if times[1] > times[0] else (times[0] - 0.5, times[0] + 0.5)
        for axis, (top, bottom) in enumerate(((104, 434), (484, 814))):
            columns = slice(1 + axis, 1 + 2 * joints, 2)
            values = _value_range(line[:, columns], [fan[:, columns] for fan in fans])
            axes = Axes(canvas, _LEFT, top, _RIGHT, bottom, times, values, up_is_less=axis == 1)
            axes.frame("time (s)" if axis else None, ("x (pixels, to the right)", "y (pixels, downwards)")[axis])
            for j in range(joints):
                ahead = line[:, 1 + 2 * joints + j] > 0
                self._draw_joint(axes, 1 + axis + 2 * j, _COLORS[j % len(_COLORS)], line, ahead, dots)
        draw_key(canvas, _RIGHT, 74, list(zip(self._names, _COLORS, strict=False)), bool(fans))
        return canvas.rgb

    def _draw_joint(
        self,
        axes: Axes,
        column: int,
        color: Color,
        line: np.ndarray,  # [N, 1 + 2 J + J + 1]
        ahead: np.ndarray,  # [N] bool, forecast or held
        dots: np.ndarray,  # [K, 1 + 2 J]
    ) -> None:
        for fan in self._fans.items:
            axes.line(fan[:, 0], fan[:, column], color, 1.5, opacity=0.4)
        values = line[:, column]
        # The step from the last filled pose to the first one of the forecast is drawn like the forecast.
        filled = ~ahead | np.isnan(values)
        pale = ahead | np.append(ahead[1:], False)
        axes.line(line[:, 0], np.where(pale, values, np.nan), color, 1.5, opacity=0.4)
        axes.line(line[:, 0], np.where(filled, values, np.nan), color, 2.2)
        points = axes.points(dots[:, 0], dots[:, column])
        axes.canvas.discs(points, color, 7, casing=Casing(1.2, (255, 255, 255)))


def _placed(points: np.ndarray, fit: Fit) -> np.ndarray:  # [..., 2] -> [..., 2]
    return points * fit.scale + [fit.left, fit.top]


def _tallness(pose: np.ndarray) -> float:  # [33, 2]
    y = pose[np.isfinite(pose).all(1), 1]
    return float(np.ptp(y)) if len(y) else 0.0


class _EvenSample:
    """At most `most` items, evenly spread over all that `add` gets."""

    def __init__(self, most: int) -> None:
        self.items: list[np.ndarray] = []
        self._most = most
        self._every = 1
        self._count = 0

    def add(self, item: np.ndarray) -> None:
        if self._count % self._every == 0:
            self.items.append(item)
        self._count += 1
        if len(self.items) > self._most:
            self.items = self.items[::2]
            self._every *= 2


def _with_gaps(line: np.ndarray) -> np.ndarray:  # [N, C] -> [N + gaps, C]
    """Add a row of NaN in every pause, and wherever the person (last column) changes."""
    steps = np.diff(line[:, 0])
    if not len(steps):
        return line
    pause = steps > max(_BREAK_S, _BREAK_STEPS * float(np.median(steps)))
    gaps = np.flatnonzero(pause | (np.diff(line[:, -1]) != 0)) + 1
    filler = np.full((len(gaps), line.shape[1]), np.nan)
    filler[:, 0] = line[gaps, 0]
    return np.insert(line, gaps, filler, axis=0)


def _value_range(
    line: np.ndarray,  # [N, J]
    fans: list[np.ndarray],  # each [F + 1, J]
) -> tuple[float, float]:
    """The range of the line with a margin, and of the fans as far as they stay near the line."""
    low, high = np.nanmin(line), np.nanmax(line)
    reach = 0.25 * (high - low)
    for fan in fans:
        if np.isfinite(fan).any():
            low, high = min(low, np.nanmin(fan)), max(high, np.nanmax(fan))
    low, high = max(low, np.nanmin(line) - reach), min(high, np.nanmax(line) + reach)
    margin = max(0.04 * (high - low), 1.0)
    return float(low - margin), float(high + margin)
