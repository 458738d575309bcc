"""Preset score: the errors that papers print for a preset, of the network and of the methods beside it.

Folders of estimates: a sequence is stitched from windows that overlap, each N frames after the one before, by the mean
of their poses; every frame counts once. `input` is the estimator on every frame, `linear` joins the keyframes by lines.
Prediction: errors at a horizon (the field's convention) and averaged up to it (STSGCN's and the paper's).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mixsynth_stream.backend import Forward
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data import h36m
from mixsynth_stream.data.deciwatch import LAYOUTS, Pair, load_pairs
from mixsynth_stream.data.sequences import PoseSequence
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.baselines import constant_velocity, hold, linear
from mixsynth_stream.metrics import accel_error, mpjpe, pck
from mixsynth_stream.presets import PREDICTIONS
from mixsynth_stream.rotations import geodesic_error, matrix_from_6d

# More errors of a sequence: from its number and its estimated poses to metric -> [frames].
MoreErrors = Callable[[int, np.ndarray], dict[str, np.ndarray]]
HORIZONS_MS = (80, 160, 320, 400)
# A window of the prediction test starts at every fifth frame of a file.
_PREDICTION_STRIDE = 5


def open_score(
    preset: str, folder: Path, config: ModelConfig, more: MoreErrors | None = None
) -> PredictionScore | FolderScore:
    """The score of a preset on its test data; `SourceError` where these cannot be used."""
    if preset not in PREDICTIONS:
        return FolderScore(load_pairs(folder, preset, "test"), config, LAYOUTS[preset].kind, more)
    sets = {split: h36m.load_split(folder, split) for split in ("validation", "test")}
    try:
        return PredictionScore(sets, config)
    except ValueError as error:
        raise SourceError(f"{folder}: {error}") from error


def stitch(forward: Forward, poses: np.ndarray, config: ModelConfig) -> np.ndarray:  # [F, D] -> [F, D]
    """A whole sequence from windows. A sequence shorter than a window is filled up with its last pose."""
    length, window = len(poses), config.seq_len
    last = max(length - window, 0)
    starts = np.unique([*range(0, last + 1, config.sample_interval), last])
    frames = starts[:, None] + np.arange(window)
    padded = np.minimum(frames, length - 1)
    keyframes = poses[padded[:, : config.newest + 1 : config.sample_interval]]
    output = forward(np.ascontiguousarray(keyframes, np.float32))
    total, count = np.zeros((last + window, poses.shape[1])), np.zeros((last + window, 1))
    np.add.at(total, frames, output)
    np.add.at(count, frames, 1.0)
    return np.asarray((total / count)[:length])


class FolderScore:
    """Errors on the sequences of a test split. `counts` has the number of poses and of sequences of each set."""

    def __init__(self, pairs: Sequence[Pair], config: ModelConfig, kind: str, more: MoreErrors | None = None) -> None:
        self._pairs, self._config, self._kind, self._more = pairs, config, kind, more
        self.counts = {"test": (sum(len(pair.truth) for pair in pairs), len(pairs))}

        def lines(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
            return linear(keyframes[:, :, None], config.sample_interval, np.arange(config.seq_len))[:, :, 0]

        self._baseline_errors = {f"input/{name}": value for name, value in self._errors(None).items()}
        self._baseline_errors |= {f"linear/{name}": value for name, value in self._errors(lines).items()}

    def measure(self, forward: Forward) -> dict[str, float]:
        """`method/metric` -> error."""
        return {f"network/{name}": value for name, value in self._errors(forward).items()} | self._baseline_errors

    def score(self, errors: Mapping[str, float]) -> float:
        """One number to choose the best weights by: lower is better."""
        if self._kind == "2d":
            return 1 - errors["network/pck_05"]
        return errors["network/mpjpe_mm" if self._kind == "3d" else "network/geodesic_deg"]

    def _errors(self, forward: Forward | None) -> dict[str, float]:
        """`metric` -> error of the network, or without one of the estimator on every frame."""
        values: dict[str, list[np.ndarray]] = {}
        for number, pair in enumerate(self._pairs):
            estimates = pair.estimates.reshape(len(pair.estimates), -1)
            poses = estimates if forward is None else stitch(forward, estimates, self._config)
            poses = poses.reshape(pair.truth.shape)
            more = self._more(number, poses) if self._more else {}
            for name, value in (_frame_errors(pair, poses, self._kind) | more).items():
                values.setdefault(name, []).append(value)
        return {name: float(np.concatenate(parts).mean()) for name, parts in values.items()}


def _frame_errors(pair: Pair, poses: np.ndarray, kind: str) -> dict[str, np.ndarray]:  # -> [frames] each
    if kind == "2d":
        assert pair.frame_px is not None and pair.size_px is not None
        pixels, truth = poses * pair.frame_px, pair.truth * pair.frame_px
        thresholds = {"pck_20": 0.2, "pck_10": 0.1, "pck_05": 0.05}
        return {name: pck(pixels, truth, pair.size_px, threshold) for name, threshold in thresholds.items()}
    if kind == "smpl":
        error = geodesic_error(matrix_from_6d(poses), matrix_from_6d(pair.truth))
        return {"geodesic_deg": np.degrees(error).mean(axis=-1)}
    errors = {"mpjpe_mm": 1000 * mpjpe(poses, pair.truth)}
    if len(poses) > 2:
        errors["accel_mm"] = 1000 * accel_error(poses, pair.truth)
    return errors


class PredictionScore:
    """Errors in millimetres over all joints, of the network and of two predictions without one.

    `all_joints` makes all joints of a skeleton [..., J, 3] of those that the network predicts, in millimetres.
    """

    def __init__(
        self,
        sets: Mapping[str, Sequence[PoseSequence]],
        config: ModelConfig,
        all_joints: Callable[[np.ndarray], np.ndarray] = h36m.all_joints,
    ) -> None:
        self._config, self._all_joints = config, all_joints
        self._sets = {name: _prediction_windows(sequences, config) for name, sequences in sets.items()}
        self.counts = {name: (len(self._sets[name][0]), len(sequences)) for name, sequences in sets.items()}
        self._baseline_errors: dict[str, float] = {}
        for name, (keyframes, truth) in self._sets.items():
            for method, predict in (("last_pose", hold), ("constant_velocity", constant_velocity)):
                poses = predict(keyframes[:, :, None], config.sample_interval, np.arange(config.seq_len))[:, :, 0]
                self._baseline_errors |= self._errors(f"{name}/{method}", poses, truth)

    def measure(self, forward: Forward) -> dict[str, float]:
        """`set/method_at_MS` and `set/method_to_MS` -> millimetres."""
        errors: dict[str, float] = {}
        for name, (keyframes, truth) in self._sets.items():
            errors |= self._errors(f"{name}/network", forward(keyframes.astype(np.float32)), truth)
        return errors | self._baseline_errors

    def score(self, errors: Mapping[str, float]) -> float:
        """Mean error at the four horizons on the validation subject: lower is better."""
        return float(np.mean([errors[f"validation/network_at_{ms}"] for ms in HORIZONS_MS]))

    def _errors(self, label: str, poses: np.ndarray, truth: np.ndarray) -> dict[str, float]:  # [B, T, D]
        joints = (*poses.shape[:2], -1, 3)
        poses_mm, truth_mm = (self._all_joints(1000 * p.reshape(joints)) for p in (poses, truth))
        by_frame = mpjpe(poses_mm, truth_mm)[:, self._config.newest + 1 :].mean(axis=0)
        errors = {}
        for ms in HORIZONS_MS:
            frames = round(ms * h36m.PROTOCOL_RATE_HZ / 1000)
            errors[f"{label}_at_{ms}"] = float(by_frame[frames - 1])
            errors[f"{label}_to_{ms}"] = float(by_frame[:frames].mean())
        return errors


def _prediction_windows(
    sequences: Sequence[PoseSequence], config: ModelConfig
) -> tuple[np.ndarray, np.ndarray]:  # [B, Q+1, D], [B, T, D]
    windows = [
        np.lib.stride_tricks.sliding_window_view(s.poses.reshape(len(s.poses), -1), config.seq_len, axis=0)
        for s in sequences
        if len(s.poses) >= config.seq_len
    ]
    if not windows:
        raise ValueError(f"no file of the split has {config.seq_len} frames at {h36m.PROTOCOL_RATE_HZ:g} Hz")
    truth = np.concatenate([w[::_PREDICTION_STRIDE].transpose(0, 2, 1) for w in windows])
    return truth[:, : config.newest + 1 : config.sample_interval], truth
