"""Score: how far off forecasts were from the poses that came, by how far ahead, beside simple methods.

Simple methods forecast twice, from the keyframes of the window whose turn it was, and from every pose. At each horizon
the better of the two counts: it depends on how much a recording trembles. A joint is judged where it was recorded and
every method has an answer.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.evaluate.scores import UNITS, Case, Evaluation, Scores
from mixsynth_stream.forecast.ahead import Moment
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.metrics import joint_errors, mpjpe
from mixsynth_stream.normalise import scale_of, whole_pose
from mixsynth_stream.pipeline.forecast.self_score import METHODS, NETWORK
from mixsynth_stream.pipeline.forecast.simple import COLUMNS, SIMPLE
from mixsynth_stream.pipeline.motion import SPACE_ARRAYS
from mixsynth_stream.pipeline.people import TrackCurves
from mixsynth_stream.spaces import Space, space_of
from mixsynth_stream.weights import Model

_STEP_MS = 100
# A pose counts for a horizon at most so far from it, and at most half a frame.
_NEAR_S = 0.05
_BOUND = 0.9
# Columns of errors: each simple method from keyframes and from every pose, and the network.
_FROM = ("keyframes", "every pose")
_COLUMNS = (*((method, source) for method in SIMPLE for source in _FROM), (NETWORK, ""))
_UNIT_FACTOR = {"image": 1.0, "world": 1000.0}


class HorizonScore:
    """Takes every Moment of a recording; `evaluations` has the errors by space and horizon."""

    def __init__(self, recording: Recording, models: Mapping[str, Model], horizon_s: float) -> None:
        self._recording = recording
        self._models = models
        self._near_s = min(_NEAR_S, 0.5 * recording.spacing_s) + 1e-3
        self._horizons_ms = range(_STEP_MS, round(1000 * horizon_s) + 1, _STEP_MS)
        self._spaces = {name: space_of(name, recording.skeleton) for name in recording.spaces}
        # By space and horizon, in a row for each pose: who it was, and the error of each method.
        self._errors: dict[tuple[str, int], array[float]] = defaultdict(lambda: array("d"))
        self._within: dict[str, list[int]] = {name: [0, 0] for name in self._spaces}  # joints in bounds, joints
        self._bounds = {
            name: None if table is None else table.multiplier("forecast", _BOUND)[space.carrier[space.own_core]]
            for name, space in self._spaces.items()
            for table in (models[name].sigma_table,)
        }

    def take(self, moment: Moment) -> None:
        """Judge what was forecast at one moment."""
        frames = self._frames_ahead(moment)
        for track in moment.scene.tracks:
            rows = [(ms, frame) for ms, frame in frames if track.id in self._recording.people[frame]]
            if rows and all(curve.output is not None for curve in track.curves):
                self._judge(moment, track, rows)

    def _frames_ahead(self, moment: Moment) -> list[tuple[int, int]]:
        """For each horizon, in ms, the frame that lies nearest to it, where one is near."""
        times = self._recording.time_s
        pairs = []
        for horizon_ms in self._horizons_ms:
            at_s = moment.time_s + horizon_ms / 1000
            frame = int(np.searchsorted(times, at_s))
            later = [f for f in (frame - 1, frame) if moment.index < f < len(times)]
            nearest = min(later, key=lambda f: abs(times[f] - at_s), default=None)
            if nearest is not None and abs(times[nearest] - at_s) <= self._near_s:
                pairs.append((horizon_ms, nearest))
        return pairs

    def _judge(self, moment: Moment, track: TrackCurves, rows: list[tuple[int, int]]) -> None:
        times = self._recording.time_s[[frame for _, frame in rows]]
        arrays = track.at(times)
        people = [self._recording.people[frame][track.id] for _, frame in rows]
        simple = {
            (method, source): one.at(method, times)
            for source, one in zip(_FROM, moment.simple[track.id], strict=True)
            for method in SIMPLE
        }
        for name, space in self._spaces.items():
            poses, sigma = SPACE_ARRAYS[name]
            if poses not in arrays:
                continue
            own = space.own_core
            by_method = {method: values[..., COLUMNS[name]][:, own] for method, values in simple.items()}
            by_method[_COLUMNS[-1]] = arrays[poses][:, own]
            recorded = np.array([person.in_space(name) for person in people])  # [M, J, D]
            answers = np.logical_and.reduce(np.isfinite(list(by_method.values())), axis=(0, -1))  # [M, K]
            truth = np.where(answers[..., None], recorded[:, own], np.nan)
            unit = _UNIT_FACTOR[name] / _scale(space, recorded)
            errors = {method: unit * mpjpe(_answered(values, answers), truth) for method, values in by_method.items()}
            for m, (horizon_ms, _) in enumerate(rows):
                if np.isfinite(errors[_COLUMNS[-1]][m]):
                    self._errors[name, horizon_ms].extend([track.id, *(errors[column][m] for column in _COLUMNS)])
            if (bounds := self._bounds[name]) is not None and sigma in arrays:
                off = joint_errors(by_method[_COLUMNS[-1]], truth)
                known = np.isfinite(off) & np.isfinite(arrays[sigma][:, own])
                self._within[name][0] += int((off <= bounds * arrays[sigma][:, own])[known].sum())
                self._within[name][1] += int(known.sum())

    def evaluations(self) -> list[Evaluation]:
        """The errors in each space, with ratios to the best simple method. Without rows where nothing came true."""
        return [self._evaluation(name) for name in self._spaces]

    def _evaluation(self, name: str) -> Evaluation:
        scores = Scores()
        model = f"{name}-n{self._models[name].config.sample_interval}"
        count = 0
        for (space, horizon_ms), judged in sorted(self._errors.items()):
            if space != name:
                continue
            case = Case(
                data=self._recording.name,
                model=model,
                question="ahead",
                target="recorded",
                horizon_ms=horizon_ms,
                metric="mpjpe",
                unit=UNITS[name],
            )
            rows = np.array(judged).reshape(-1, 1 + len(_COLUMNS))
            groups = np.unique(rows[:, 0], return_inverse=True)[1]
            errors = dict(zip(_COLUMNS, rows[:, 1:].T, strict=True))
            scores.add(case, {method: _better(errors, method) for method in METHODS}, groups)
            count += len(rows)
        unit = {"image": "torso lengths", "world": "mm"}[name]
        title = f"{shown(self._recording.name)}, {model}: mean error of {count} forecasts, in {unit}"
        inside, joints = self._within[name]
        if joints:
            title += f"; {100 * inside / joints:.0f} % of joints within the bound of {100 * _BOUND:.0f} %"
        return Evaluation(title, scores.rows())


def _better(errors: Mapping[tuple[str, str], np.ndarray], method: str) -> np.ndarray:
    """The errors of a method, from the source with which it errs less."""
    return min((errors[column] for column in errors if column[0] == method), key=lambda values: float(values.mean()))


def _answered(values: np.ndarray, answers: np.ndarray) -> np.ndarray:  # [M, K, D], [M, K] -> [M, K, D]
    """The poses without numbers that are not finite where nothing is judged."""
    return np.where(answers[..., None], values, 0.0)


def _scale(space: Space, recorded: np.ndarray) -> np.ndarray:  # [M, J, D] -> [M]
    """What an error in the picture is divided by: the body scale of each recorded pose. In metres it is 1."""
    if space.name != "image":
        return np.ones(len(recorded))
    return np.array([max(float(scale_of(whole_pose(pose))), 1.0) for pose in space.core_of(recorded)])
