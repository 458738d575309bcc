"""Validation of a preset: the errors that its papers print, of the network and of what it is compared with.

Folders of estimates: the sequence is put together from windows that overlap, each N frames after the one before, whose
poses are averaged; every frame counts once. `input` is the estimator on every frame, `linear` the keyframes joined by
lines. Prediction: errors at a horizon (the field's convention) and averaged up to it (STSGCN's and the paper's).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data import h36m
from mixsynth_stream.data.deciwatch import LAYOUTS, Pair, load_pairs
from mixsynth_stream.data.sequences import PoseSequence
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.baselines import constant_velocity, hold, linear
from mixsynth_stream.metrics import accel_error, mpjpe, pck
from mixsynth_stream.rotations import geodesic_error, matrix_from_6d

Caller = Callable[[np.ndarray], np.ndarray]
# More errors of a sequence: its number and the poses said of it, to metric -> [frames].
MoreErrors = Callable[[int, np.ndarray], dict[str, np.ndarray]]
HORIZONS_MS = (80, 160, 320, 400)
# A window of the prediction test starts at every fifth frame of a file.
_PREDICTION_STRIDE = 5


def open_score(
    preset: str, folder: Path, config: ModelConfig, more: MoreErrors | None = None
) -> PredictionScore | FolderScore:
    """The score of a preset on its test data; `SourceError` where these cannot be used."""
    if preset != "h36m-prediction":
        return FolderScore(load_pairs(folder, preset, "test"), config, LAYOUTS[preset].kind, more)
    sets = {split: h36m.load_split(folder, split) for split in ("validation", "test")}
    try:
        return PredictionScore(sets, config)
    except ValueError as error:
        raise SourceError(f"{folder}: {error}") from error


def put_together(call: Caller, poses: np.ndarray, config: ModelConfig) -> np.ndarray:  # [F, D] -> [F, D]
    """A whole sequence from windows; a sequence shorter than a window goes on with its last pose."""
    length, window = len(poses), config.seq_len
    last = max(length - window, 0)
    starts = np.unique([*range(0, last + 1, config.sample_interval), last])
    frames = starts[:, None] + np.arange(window)
    padded = np.minimum(frames, length - 1)
    said = call(np.ascontiguousarray(poses[padded[:, : config.newest + 1 : config.sample_interval]], np.float32))
    total, count = np.zeros((last + window, poses.shape[1])), np.zeros((last + window, 1))
    np.add.at(total, frames, said)
    np.add.at(count, frames, 1.0)
    return np.asarray((total / count)[:length])


class FolderScore:
    """Errors on the sequences of a test split. `counts`: how many poses and sequences each set has."""

    def __init__(self, pairs: Sequence[Pair], config: ModelConfig, kind: str, more: MoreErrors | None = None) -> None:
        self._pairs, self._config, self._kind, self._more = pairs, config, kind, more
        self.counts = {"test": (sum(len(pair.truth) for pair in pairs), len(pairs))}

        def joined(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
            return linear(keyframes[:, :, None], config.sample_interval, np.arange(config.seq_len))[:, :, 0]

        self._fixed = {f"input/{name}": value for name, value in self._errors(None).items()}
        self._fixed |= {f"linear/{name}": value for name, value in self._errors(joined).items()}

    def measure(self, call: Caller) -> dict[str, float]:
        """`method/metric` -> error."""
        return {f"network/{name}": value for name, value in self._errors(call).items()} | self._fixed

    def score(self, rows: Mapping[str, float]) -> float:
        """Lower is better."""
        return {"2d": lambda: 1 - rows["network/pck_05"], "3d": lambda: rows["network/mpjpe_mm"],
                "smpl": lambda: rows["network/geodesic_deg"]}[self._kind]()  # fmt: skip

    def _errors(self, call: Caller | None) -> dict[str, float]:
        values: dict[str, list[np.ndarray]] = {}
        for number, pair in enumerate(self._pairs):
            detected = pair.detected.reshape(len(pair.detected), -1)
            said = detected if call is None else put_together(call, detected, self._config)
            said = said.reshape(pair.truth.shape)
            more = self._more(number, said) if self._more else {}
            for name, value in (_metrics(pair, said, self._kind) | more).items():
                values.setdefault(name, []).append(value)
        return {name: float(np.concatenate(parts).mean()) for name, parts in values.items()}


def _metrics(pair: Pair, said: np.ndarray, kind: str) -> dict[str, np.ndarray]:  # -> [frames] each
    if kind == "2d":
        assert pair.frame_px is not None and pair.size_px is not None
        pixels, truth = said * pair.frame_px, pair.truth * pair.frame_px
        return {f"pck_{name}": pck(pixels, truth, pair.size_px, threshold)
                for name, threshold in (("20", 0.2), ("10", 0.1), ("05", 0.05))}  # fmt: skip
    if kind == "smpl":
        error = geodesic_error(matrix_from_6d(said), matrix_from_6d(pair.truth))
        return {"geodesic_deg": np.degrees(error).mean(axis=-1)}
    errors = {"mpjpe_mm": 1000 * mpjpe(said, pair.truth)}
    if len(said) > 2:
        errors["accel_mm"] = 1000 * accel_error(said, pair.truth)
    return errors


class PredictionScore:
    """Errors in millimetres over 32 joints, 10 frames seen, of the network and of two predictions without one."""

    def __init__(self, sets: Mapping[str, Sequence[PoseSequence]], config: ModelConfig) -> None:
        self._config = config
        self._sets = {name: _prediction_windows(sequences, config) for name, sequences in sets.items()}
        self.counts = {name: (len(self._sets[name][0]), len(sequences)) for name, sequences in sets.items()}
        self._fixed: dict[str, float] = {}
        for name, (keyframes, truth) in self._sets.items():
            for method, predict in (("last_pose", hold), ("constant_velocity", constant_velocity)):
                said = predict(keyframes[:, :, None], config.sample_interval, np.arange(config.seq_len))[:, :, 0]
                self._fixed |= self._errors(f"{name}/{method}", said, truth)

    def measure(self, call: Caller) -> dict[str, float]:
        """`set/method_at_MS` and `set/method_to_MS` -> millimetres."""
        rows: dict[str, float] = {}
        for name, (keyframes, truth) in self._sets.items():
            rows |= self._errors(f"{name}/network", call(keyframes.astype(np.float32)), truth)
        return rows | self._fixed

    def score(self, rows: Mapping[str, float]) -> float:
        """Mean error at the four horizons, on the subject that validates."""
        return float(np.mean([rows[f"validation/network_at_{ms}"] for ms in HORIZONS_MS]))

    def _errors(self, label: str, said: np.ndarray, truth: np.ndarray) -> dict[str, float]:  # [B, T, D]
        joints = (*said.shape[:2], len(h36m.MOVING), 3)
        poses, wanted = (h36m.all_joints(1000 * p.reshape(joints)) for p in (said, truth))
        error = mpjpe(poses, wanted)[:, self._config.newest + 1 :].mean(axis=0)
        rows = {}
        for ms in HORIZONS_MS:
            frames = round(ms * h36m.PROTOCOL_RATE_HZ / 1000)
            rows[f"{label}_at_{ms}"], rows[f"{label}_to_{ms}"] = float(error[frames - 1]), float(error[:frames].mean())
        return rows


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
