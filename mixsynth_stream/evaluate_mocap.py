"""Evaluation on motion capture: what a simulated estimator says of a clip goes in, the clip itself is the truth.

Targets: `clean` is the recorded motion; `carried` is the motion with the estimator's slow error on it, which nobody can
take out. The network and the simple methods get the same keyframes, `Windows.keyframes`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mixsynth_stream.baselines import FILLERS, FORECASTERS, TUNED_DAMPING_STEPS, Baseline, baselines
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.evaluate_score import HORIZONS_MS, NETWORK, PCK_THRESHOLD, UNITS, Case, Evaluation, Scores
from mixsynth_stream.metrics import accel_error, mpjpe, p_mpjpe, pck
from mixsynth_stream.normalise import root_and_scale, scale_of
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.weights import Model

# Windows start this many grid steps apart.
_STRIDE = 10
_BATCH = 256
_MIN_SCALE = 0.02
_MM_PER_M = 1000.0


def evaluate_mocap(path: str | Path, name: str, model: Model, *, seed: int = 0) -> Evaluation:
    """Rows for every question, target, method and metric on one file. Raises `SourceError` and `ModelError`."""
    space = model.info.space
    model.expect(CORE_17, space)
    clips = load_clips(path)
    windows = validation_windows(clips, model.config, space, seed=seed, stride=_STRIDE)
    damping = TUNED_DAMPING_STEPS[space]
    scores = Scores()
    case = Case(data=Path(path).name, model=name, question="", target="", horizon_ms=None, metric="", unit="")
    for part in _batches(windows):
        score_windows(scores, case, model, part, baselines(damping))
    used = len(np.unique(windows.clip))
    left_out = "" if used == len(clips) else f" ({len(clips) - used} too short for two keyframes)"
    title = (
        f"{case.data}, {name}: {used} of {len(clips)} clips{left_out}, {len(windows.clip)} windows; mean error in "
        f"{'torso lengths' if space == 'image' else 'mm'}; damped_tuned fades in {damping / model.info.rate_hz:.3f} s"
    )
    return Evaluation(title, scores.rows(seed))


def asked_steps(config: ModelConfig, rate_hz: float) -> dict[tuple[str, int | None], np.ndarray]:
    """Grid steps of each question; those that the window does not reach are left out."""
    n, newest = config.sample_interval, config.newest
    steps: dict[tuple[str, int | None], np.ndarray] = {
        ("filled", None): np.arange(newest - n + 1, newest),
        ("filled_later", None): np.arange(newest - 2 * n + 1, newest - n),
        ("now", None): np.arange(newest + 1, newest + n),
    }
    for horizon_ms in HORIZONS_MS:
        steps["ahead", horizon_ms] = np.array([newest + round(horizon_ms / 1000 * rate_hz)])
    return {key: s for key, s in steps.items() if len(s) and s[0] >= 0 and s[-1] < config.seq_len}


def predictions(
    model: Model,
    keyframes: np.ndarray,  # [B, Q+1, 17, D] what the estimator said; the first `oldest` repeat the next one
    oldest: int,
    methods: dict[str, Baseline],
) -> dict[str, np.ndarray]:
    """Poses [B, T, 17, D] by method, NaN where a method has no answer. Simple methods see real keyframes only."""
    config = model.config
    min_scale = _MIN_SCALE * FRAME_HEIGHT_PX if model.info.space == "image" else 0.0
    root, scale = root_and_scale(keyframes, model.info.normalisation, min_scale)
    inputs = ((keyframes - root) / scale).reshape(len(keyframes), config.num_keyframes, config.joint_dim)
    output = model(inputs.astype(np.float32)).reshape(len(keyframes), config.seq_len, *keyframes.shape[2:])
    poses = {NETWORK: output * scale + root}
    steps = np.arange(config.seq_len) - oldest * config.sample_interval
    for name, method in methods.items():
        poses[name] = method(keyframes[:, oldest:], config.sample_interval, steps)
    return poses


def score_windows(
    scores: Scores,
    case: Case,
    model: Model,
    windows: Windows,  # all with the same oldest real keyframe
    methods: dict[str, Baseline],
) -> None:
    """Add every question about these windows to `scores`."""
    config, space = model.config, model.info.space
    grid = slice(0, config.newest + 1, config.sample_interval)
    oldest = int(np.argmax(windows.valid[0, grid]))
    poses = predictions(model, windows.keyframes, oldest, methods)
    torso = np.median(scale_of(windows.clean[:, grid]), axis=1)[:, None]
    per_unit = 1 / torso if space == "image" else np.array([[_MM_PER_M]])
    for target in ("clean", "carried"):
        truth = np.where(windows.valid[..., None, None], getattr(windows, target), np.nan)
        for (question, horizon_ms), steps in asked_steps(config, model.info.rate_hz).items():
            about = replace(case, question=question, target=target, horizon_ms=horizon_ms)
            named = (NETWORK, *(FILLERS if question.startswith("filled") else FORECASTERS))
            errors = {m: mpjpe(poses[m][:, steps], truth[:, steps]) * per_unit for m in named}
            scores.add(replace(about, metric="mpjpe", unit=UNITS[space]), errors, windows.clip[:, None])
            if question == "filled":
                _score_more(scores, about, space, poses, truth, steps, torso, per_unit, windows.clip)


def _score_more(
    scores: Scores,
    case: Case,
    space: str,
    poses: dict[str, np.ndarray],  # by method, [B, T, 17, D]
    truth: np.ndarray,  # [B, T, 17, D]
    steps: np.ndarray,  # [M]
    torso: np.ndarray,  # [B, 1]
    per_unit: np.ndarray,  # [B, 1]
    clip: np.ndarray,  # [B]
) -> None:
    """Smoothness over the newest interval, keyframes included; and PCK in images, p_mpjpe in the world."""
    named, unit = (NETWORK, *FILLERS), UNITS[space]
    around = np.concatenate([[steps[0] - 1], steps, [steps[-1] + 1]])
    errors = {m: accel_error(poses[m][:, around], truth[:, around]) * per_unit for m in named}
    scores.add(replace(case, metric="accel_error", unit=f"{unit}/frame^2"), errors, clip[:, None])
    if space == "image":
        errors = {m: pck(poses[m][:, steps], truth[:, steps], torso, PCK_THRESHOLD) for m in named}
        scores.add(replace(case, metric=f"pck@{PCK_THRESHOLD}", unit="1"), errors, clip[:, None])
    else:
        errors = {m: p_mpjpe(poses[m][:, steps], truth[:, steps]) * per_unit for m in named}
        scores.add(replace(case, metric="p_mpjpe", unit=unit), errors, clip[:, None])


def _batches(windows: Windows) -> Iterator[Windows]:
    """Parts of at most _BATCH windows, each with one oldest real keyframe: the first that is valid."""
    first_valid = np.argmax(windows.valid, axis=1)
    for first in np.unique(first_valid):
        chosen = np.flatnonzero(first_valid == first)
        for start in range(0, len(chosen), _BATCH):
            rows = chosen[start : start + _BATCH]
            yield Windows(
                keyframes=windows.keyframes[rows],
                clean=windows.clean[rows],
                carried=windows.carried[rows],
                valid=windows.valid[rows],
                clip=windows.clip[rows],
            )
