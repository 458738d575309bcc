"""Mocap: evaluation on motion capture. Estimates of a simulated estimator go in, and the clip itself is the truth.

Targets: `clean` is the recorded motion; `carried` is the motion with the estimator's slow error on it, which nobody can
take out. The network and the simple methods get the same keyframes, `Windows.keyframes`, and nothing else; only the
dense estimator, a reference, sees `Windows.estimates`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.baselines import Baseline, Tuned, tuned, tuned_baselines
from mixsynth_stream.evaluate.breakdown import detail_rows, joint_speed
from mixsynth_stream.evaluate.filters import one_euro
from mixsynth_stream.evaluate.questions import Comparison, score_question
from mixsynth_stream.evaluate.ridge import Ridge
from mixsynth_stream.evaluate.scores import DENSE, HORIZONS_MS, NETWORK, RIDGE, Case, Evaluation, Scores
from mixsynth_stream.normalise import root_and_scale, scale_of
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.spaces import scale_floor
from mixsynth_stream.weights import Model

# Grid steps from the start of one window to that of the next.
_STRIDE = 10
_BATCH = 256


def evaluate_mocap(
    path: str | Path, name: str, model: Model, *, data: str = "", seed: int = 0, ridge: Ridge | None = None
) -> Evaluation:
    """Rows for every question, target, method and metric on one file, called `data` in them.

    Raises `SourceError` and `ModelError`.
    """
    space, n = model.info.space, model.config.sample_interval
    model.expect(CORE_17, space)
    clips = load_clips(path)
    try:
        windows = validation_windows(clips, model.config, space, seed=seed, stride=_STRIDE)
    except SourceError as error:
        raise SourceError(f"{path}, {name}: {error}") from error
    methods: dict[str, Baseline] = tuned_baselines(space, n)
    if ridge is not None:
        methods[RIDGE] = ridge
    scores, detail = Scores(), Scores()
    case = Case(data=data or Path(path).name, model=name, question="", target="", horizon_ms=None, metric="", unit="")
    full = windows.valid[:, 0]
    for part in _batches(windows, cold_starts(windows, model.config)):
        score_windows(scores, case, model, part, methods, detail)
    clip_count = len(np.unique(windows.clip))
    short = "" if clip_count == len(clips) else f" ({len(clips) - clip_count} too short for two keyframes)"
    only_cold = clip_count - len(np.unique(windows.clip[full]))
    cold = f" ({only_cold} clips are shorter: cold starts only)" if only_cold else ""
    title = (
        f"{case.data}, {name}: {clip_count} of {len(clips)} clips{short}, {int(full.sum())} full windows{cold}; "
        f"mean error in {'torso lengths' if space == 'image' else 'mm'}\n{parameters(tuned(space, n), ridge)}"
    )
    return Evaluation(title, scores.rows(seed), detail_rows(detail.rows(seed)))


def parameters(values: Tuned, ridge: Ridge | None) -> str:
    """The parameters of the tuned methods in words, for the title of a table."""
    strength = f"ridge {values.ridge_strength:g}" if ridge is not None else "no ridge regression without --train-data"
    return (
        f"tuned on training clips: damping {values.damping_steps:g} steps; Kalman noise {values.kalman_gap_noise:g} "
        f"(gaps), {values.kalman_noise:g} (ahead); "
        f"One-Euro {values.one_euro_cutoff_hz:g} Hz, beta {values.one_euro_beta:g}; {strength}"
    )


def question_steps(config: ModelConfig, rate_hz: float) -> dict[tuple[str, int | None], np.ndarray]:
    """Grid steps of each question that the window reaches, whole steps or not."""
    n, newest = config.sample_interval, config.newest
    steps: dict[tuple[str, int | None], np.ndarray] = {
        ("filled", None): np.arange(newest - n + 1, newest),
        ("filled_later", None): np.arange(newest - 2 * n + 1, newest - n),
        ("now", None): np.arange(newest + 1, newest + n),
    }
    for horizon_ms in HORIZONS_MS:
        ahead = round(horizon_ms / 1000 * rate_hz, 6)
        if ahead <= config.horizon:
            steps["ahead", horizon_ms] = np.array([newest + ahead])
            steps["ahead_mean", horizon_ms] = newest + 1 + np.arange(int(ahead))
    return {key: s for key, s in steps.items() if len(s) and s[0] >= 0 and s[-1] <= config.seq_len - 1}


def cold_starts(windows: Windows, config: ModelConfig) -> Windows:
    """Full windows as they were with two to Q known keyframes, in turn: the oldest known one is repeated."""
    full = np.flatnonzero(windows.valid[:, 0]) if config.step > 1 else np.zeros(0, int)
    cold = take_windows(windows, full)
    oldest = 1 + np.arange(len(full)) % max(config.step - 1, 1)
    slots = np.maximum(np.arange(config.num_keyframes), oldest[:, None])
    keyframes = np.take_along_axis(cold.keyframes, slots[:, :, None, None], axis=1)
    known = np.arange(config.seq_len) >= config.sample_interval * oldest[:, None]
    return replace(cold, keyframes=keyframes, valid=cold.valid & known)


def predictions(
    model: Model,
    keyframes: np.ndarray,  # [B, Q+1, 17, D] estimates; the first `oldest` repeat the next one
    oldest: int,
    methods: dict[str, Baseline],
) -> dict[str, np.ndarray]:
    """Poses [B, T, 17, D] by method, NaN where a method has no answer. Simple methods see real keyframes only."""
    config = model.config
    min_scale = scale_floor(model.info.space, FRAME_HEIGHT_PX)
    root, scale = root_and_scale(keyframes, model.info.normalisation, min_scale)
    inputs = ((keyframes - root) / scale).reshape(len(keyframes), config.num_keyframes, config.joint_dim)
    output = model(inputs.astype(np.float32)).reshape(len(keyframes), config.seq_len, *keyframes.shape[2:])
    poses = {NETWORK: output * scale + root}
    steps = np.arange(config.seq_len) - oldest * config.sample_interval
    for name, method in methods.items():
        poses[name] = method(keyframes[:, oldest:], config.sample_interval, steps)
    return poses


def dense_predictions(model: Model, windows: Windows) -> dict[str, np.ndarray]:
    """The estimator on every step [B, T, 17, D], raw and with One-Euro. Empty where it is not simulated."""
    if windows.estimates is None:
        return {}
    space = model.info.space
    raw = np.where(windows.valid[..., None, None], windows.estimates, np.nan)
    scale = np.median(scale_of(windows.keyframes), axis=1) if space == "image" else np.ones(len(raw))
    unit = scale[:, None, None, None]
    values = tuned(space, model.config.sample_interval)
    smooth = one_euro(raw / unit, model.info.rate_hz, values.one_euro_cutoff_hz, values.one_euro_beta)
    return dict(zip(DENSE, (raw, smooth * unit), strict=True))


def score_windows(
    scores: Scores,
    case: Case,
    model: Model,
    windows: Windows,  # all with the same oldest real keyframe
    methods: dict[str, Baseline],
    detail: Scores | None = None,
) -> None:
    """Add every question about these windows to `scores`, and joint groups and speed bands to `detail`."""
    config, info = model.config, model.info
    grid = slice(0, config.newest + 1, config.sample_interval)
    oldest = int(np.argmax(windows.valid[0, grid]))
    poses = predictions(model, windows.keyframes, oldest, methods) | dense_predictions(model, windows)
    known = windows.valid[..., None, None]
    speed = joint_speed(np.where(known, windows.clean, np.nan), info.rate_hz)
    torso = np.median(scale_of(windows.clean[:, grid]), axis=1)
    for target in ("clean", "carried"):
        truth = np.where(known, getattr(windows, target), np.nan)
        comparison = Comparison(poses=poses, truth=truth, torso=torso, clip=windows.clip, space=info.space)
        for (question, horizon_ms), steps in question_steps(config, info.rate_hz).items():
            about = replace(case, question=question, target=target, horizon_ms=horizon_ms)
            if oldest == 0:
                score_question(scores, about, comparison, steps, detail, speed)
            elif question in ("filled", "now"):
                score_question(scores, replace(about, question=f"{question}_cold"), comparison, steps)


def _batches(*several: Windows) -> Iterator[Windows]:
    """Parts of at most _BATCH windows. Those of a part have the same oldest real keyframe: the first valid one."""
    for windows in several:
        first_valid = np.argmax(windows.valid, axis=1)
        for first in np.unique(first_valid):
            numbers = np.flatnonzero(first_valid == first)
            for start in range(0, len(numbers), _BATCH):
                yield take_windows(windows, numbers[start : start + _BATCH])


def take_windows(windows: Windows, numbers: np.ndarray) -> Windows:
    """The windows of these numbers."""
    arrays: dict[str, Any] = {field.name: getattr(windows, field.name) for field in fields(windows)}
    arrays |= {name: values[numbers] for name, values in arrays.items() if values is not None}
    return Windows(**arrays)
