"""Sigma fit: the fit of an uncertainty table to a network's errors on motion capture, for its weight file.

As in training, the network gets the estimates of a simulated estimator. Its error is the distance to the motion with
the estimator's slow error on it (`Windows.carried`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.data.windows import validation_windows
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.spaces import GRID_HZ, scale_floor
from mixsynth_stream.uncertainty import (
    GROUP_OF_JOINT,
    GROUPS,
    PARTS,
    SHARES,
    SPEEDS,
    SigmaTable,
    liveliness_on_grid,
    log_speeds,
)
from mixsynth_stream.weights import Model, load_weights, model_of, save_weights

# Nine errors in ten are below this many sigma. The multiple that half of the errors are below is fitted.
OUTER_MULTIPLIER = 2.0
# The table's rows, as shares of the gap and of the horizon, and its columns, as quantiles of the liveliness.
_GAP_ROWS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_AHEAD_ROWS = (0.0, 0.04, 0.15, 0.25, 0.36, 0.5, 0.65, 0.8, 1.0)
_COLUMNS = (0.01, 0.25, 0.5, 0.75, 0.95, 0.995)
# Windows of one file: so many that a fit takes half a minute and repeats within a percent. Where a file has few clips,
# the simulated estimator sees them several times.
_WINDOWS_A_FILE = 2500
_MOST_DRAWS = 4
_LEAST_STRIDE = 10
_BATCH = 256
_ROUNDS = 6
# One sigma cannot meet two bounds where the shape of the error differs from row to row. This is the weight of the inner
# bound, and more than half: when both are wrong by the same factor, twice as many errors cross the inner one.
_INNER_WEIGHT = 0.6
_SMALLEST = 1e-6
# How far the liveliness of a window is drawn towards the mean of its clip. The value was chosen on the clips that set
# the level: fitted to one half of them, checked on the other.
_CLIP_SHARE = 0.5
# Errors below this (a millimetre, or a two hundredth of a torso and less) do not tell what makes errors grow.
_LEAST_ERROR = 1e-3


@dataclass(frozen=True)
class ErrorSample:
    """The network's errors on the windows of one file, in normalised units."""

    keyframes: np.ndarray  # [B, Q+1, 17, D]
    errors: np.ndarray  # [B, T, 17], NaN where there is no truth
    clip: np.ndarray  # [B] number of the clip

    def sigma(self, table: SigmaTable, model: Model) -> np.ndarray:  # [B, T, 17]
        """Sigma of these windows by a table."""
        parts = [self.keyframes[i : i + _BATCH] for i in range(0, len(self.keyframes), _BATCH)]
        return np.concatenate([table.on_grid(part, model.config, model.info.rate_hz) for part in parts])


def with_uncertainty(
    weights: str | os.PathLike[str],
    files: Sequence[Sequence[Clip]],
    out: str | os.PathLike[str] | None = None,
    *,
    unseen: Sequence[Sequence[Clip]] = (),
    seed: int = 0,
) -> Path:
    """Fit a table to clips, files counting the same, and write the weights with it (to `out`, or over themselves).

    `unseen`: see `fit_table`. Raises `ModelError` where the weights are for another skeleton or have no gap or horizon
    to fit, `SourceError` where the clips are too short.
    """
    target = Path(out if out is not None else weights)
    # The file may have a table that this release cannot read.
    state, config, info = load_weights(weights, leave_out_uncertainty=True)
    table = fit_table(model_of(state, config, info), files, unseen=unseen, seed=seed)
    save_weights(target, state, config, dataclasses.replace(info, uncertainty=table.as_json()))
    return target


def fit_table(
    model: Model, files: Sequence[Sequence[Clip]], *, unseen: Sequence[Sequence[Clip]] = (), seed: int = 0
) -> SigmaTable:
    """The table of a network, from clips that it may know from training, under simulated errors that it does not know.

    A network knows its training motion a little better than any other. So clips outside its training, `unseen`, are
    fitted beside the others, every file weighing the same, and then set the level of both bounds alone, in the gaps and
    ahead.
    """
    check_can_fit(model)
    config = model.config
    unseen_samples = [error_sample(model, clips, seed) for clips in unseen]
    samples = [*(error_sample(model, clips, seed) for clips in files), *unseen_samples]
    gap = _row_steps(_GAP_ROWS, config.sample_interval)
    ahead = _row_steps(_AHEAD_ROWS, config.horizon)[1:]
    start = config.newest - config.sample_interval
    steps = [*(start - config.sample_interval + s for s in gap), *(start + s for s in gap)]
    steps += [config.newest + s for s in ahead]
    part = np.array([int(step > config.newest) for step in steps])
    between = np.array([step > config.newest or step % config.sample_interval > 0 for step in steps])
    for step in steps:
        if not any(np.isfinite(sample.errors[:, step]).any() for sample in samples):
            raise SourceError(
                f"no clip reaches step {step} of its window of {config.seq_len} steps of 1/30 s, so the error there "
                "is not known; give longer clips"
            )
    speeds = [log_speeds(sample.keyframes, config.sample_interval / model.info.rate_hz) for sample in samples]
    weights = speed_weights(samples, speeds, config, steps)
    levels = [liveliness_on_grid(logs, weights, config)[..., steps].astype(np.float32) for logs in speeds]
    levels = [_shrink_to_clip_mean(level, sample.clip) for level, sample in zip(levels, samples, strict=True)]
    nodes = np.quantile(np.concatenate([level[..., len(gap) :].ravel() for level in levels]), _COLUMNS)
    sigma = np.zeros((len(GROUPS), len(steps), len(nodes)))
    multipliers = np.full((len(PARTS), len(GROUPS), len(SHARES)), OUTER_MULTIPLIER)
    for group in range(len(GROUPS)):
        cases = [_cases(samples, levels, group, row, step) for row, step in enumerate(steps)]
        for number in range(len(PARTS)):
            rows = np.flatnonzero(part == number)
            log_sigma, inner = _fit_group([cases[row] for row in rows], between[rows], nodes)
            # Knowledge only fades: sigma grows with the horizon.
            sigma[group, rows] = np.exp(np.maximum.accumulate(log_sigma, axis=0) if number else log_sigma)
            multipliers[number, group, 0] = inner
    table = SigmaTable(gap, gap, ahead, tuple(np.exp(nodes)), weights, sigma, multipliers)
    return _set_level(table, model, unseen_samples or samples, part)


def _shrink_to_clip_mean(level: np.ndarray, clip: np.ndarray) -> np.ndarray:  # [B, 17, S], [B] -> [B, 17, S]
    """Liveliness drawn towards the mean of its clip, for the slope of the columns.

    A few keyframes give it with noise, so a fit to single windows makes the slope too flat. That would be right for a
    window of an unknown kind, but gives physiotherapy as a whole too large a sigma, and sport too small a one.
    """
    clips = [level[clip == number] for number in range(clip.max() + 1)]
    mean = np.array([windows.mean(axis=0) if len(windows) else np.zeros(level.shape[1:]) for windows in clips])
    return np.asarray((1 - _CLIP_SHARE) * level + _CLIP_SHARE * mean[clip])


def speed_weights(
    samples: Sequence[ErrorSample],
    speeds: Sequence[np.ndarray],  # of each sample [B, Q, 17, 5]
    config: ModelConfig,
    steps: Sequence[int],
) -> np.ndarray:  # [3, 5]
    """The weights of `SPEEDS` with which the liveliness tells best which clips have large errors.

    Least squares on the means of clips, not on windows: a bound has to hold for every kind of motion, and the speeds
    that differ between moments of one clip are not those that differ between clips. Weights are not negative.
    """
    groups = np.eye(len(GROUPS))[GROUP_OF_JOINT]  # [17, G]
    size = len(SPEEDS)
    gap, ahead = [np.zeros((n, n + 1)) for n in (size, 2 * size)]
    for step in steps:
        if step <= config.newest - config.sample_interval or step == config.newest:
            continue  # on a keyframe, or older
        progress = (step - config.newest) / config.horizon
        means, weights = [], []
        for sample, logs in zip(samples, speeds, strict=True):
            known = np.isfinite(sample.errors[:, step])  # [B, 17]
            error = np.log(np.maximum(np.where(known, sample.errors[:, step], 1), _LEAST_ERROR))
            values = np.concatenate([logs[:, -1], error[..., None]], axis=-1) * known[..., None]
            members = np.eye(sample.clip.max() + 1)[:, sample.clip]  # [C, B]
            count = members @ known @ groups  # [C, G]
            total = np.einsum("cb,bjf,jg->cgf", members, values, groups, optimize=True)
            means.append(total / np.maximum(count, 1)[..., None])
            weights.append(np.sqrt(count) / np.maximum(np.sqrt(count).sum(axis=0), 1))
        mean, weight = np.concatenate(means), np.concatenate(weights)[..., None]  # [C, G, 6], [C, G, 1]
        offsets = (mean - (mean * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), _SMALLEST)) * np.sqrt(weight)
        x, y = offsets[..., :-1].reshape(-1, size), offsets[..., -1:].reshape(-1, 1)
        if step < config.newest:
            gap += x.T @ np.hstack([x, y])
        else:
            x = np.hstack([x * (1 - progress), x * progress])
            ahead += x.T @ np.hstack([x, y])
    solutions = (_positive_least_squares(gap), *_positive_least_squares(ahead).reshape(2, size))
    return np.array([solution / solution.sum() for solution in solutions])


def _positive_least_squares(normal: np.ndarray) -> np.ndarray:  # [n, n + 1] -> [n]
    """Solve normal equations without negative numbers. All numbers are equal where the equations say nothing."""
    gram, right_side = normal[:, :-1], normal[:, -1]
    diagonal = np.diag(gram) + _SMALLEST
    solution = np.full(len(gram), _SMALLEST)
    for _ in range(2000):
        for k in range(len(gram)):
            solution[k] = max(solution[k] + (right_side[k] - gram[k] @ solution) / diagonal[k], _SMALLEST)
    return solution


def _set_level(
    table: SigmaTable,
    model: Model,
    samples: Sequence[ErrorSample],
    part: np.ndarray,  # [S] of each row
) -> SigmaTable:
    """The table with each bound fitted to these samples by a factor, in the gaps that lag 1 reads and ahead."""
    n, newest = model.config.sample_interval, model.config.newest
    in_sigmas = [sample.errors / sample.sigma(table, model) for sample in samples]
    factors = np.ones((len(PARTS), len(SHARES)))
    for number, steps in enumerate((slice(newest - n + 1, newest), slice(newest + 1, None))):
        for column, share in enumerate(SHARES):
            bounds = [errors[:, steps] / table.multiplier(PARTS[number], share) for errors in in_sigmas]
            known = [bound[np.isfinite(bound)] for bound in bounds]
            if any(map(len, known)):  # else all clips are too short, and the level stays
                weight = np.concatenate([np.full(len(k), 1.0 / max(len(k), 1)) for k in known])
                factors[number, column] = max(_weighted_quantile(np.concatenate(known), weight, share), _SMALLEST)
    # The multiplier of the outer bound is fixed, so its factor goes to sigma.
    multipliers = table.multipliers * (factors / factors[:, -1:])[:, None]
    return dataclasses.replace(table, sigma=table.sigma * factors[part, -1][:, None], multipliers=multipliers)


def check_can_fit(model: Model) -> None:
    """Raise `ModelError` unless an uncertainty table can be fitted to this network."""
    model.expect(CORE_17, model.info.space)
    config = model.config
    if config.step < 2 or config.sample_interval < 2 or config.horizon < 2:
        raise ModelError(
            "an uncertainty table needs two gaps and a horizon of at least two steps each; this network has "
            f"N = {config.sample_interval}, Q = {config.step}, H = {config.horizon}"
        )


def error_sample(model: Model, clips: Sequence[Clip], seed: int) -> ErrorSample:
    """The network's errors on windows of these clips, as the simulated estimator sees them."""
    config, space = model.config, model.info.space
    seconds = sum(len(clip.positions) / clip.rate_hz for clip in clips)
    ideal_stride = seconds * GRID_HZ / _WINDOWS_A_FILE
    stride = max(_LEAST_STRIDE, round(ideal_stride))
    draws = int(np.clip(round(_LEAST_STRIDE / max(ideal_stride, _SMALLEST)), 1, _MOST_DRAWS))
    floor = scale_floor(space, FRAME_HEIGHT_PX)
    samples = []
    for draw in range(draws):
        windows = validation_windows(clips, config, space, seed=seed + draw, stride=stride)
        root, scale = root_and_scale(windows.keyframes, model.info.normalisation, floor)
        keyframes = ((windows.keyframes - root) / scale).astype(np.float32)
        parts = [keyframes[i : i + _BATCH] for i in range(0, len(keyframes), _BATCH)]
        output = np.concatenate([model(part.reshape(*part.shape[:2], -1)) for part in parts])
        errors = np.linalg.norm(output.reshape(windows.carried.shape) - (windows.carried - root) / scale, axis=-1)
        errors[~windows.valid] = np.nan
        samples.append((keyframes, errors, windows.clip))
    return ErrorSample(*(np.concatenate(arrays) for arrays in zip(*samples, strict=True)))


def _row_steps(shares: Sequence[float], steps: int) -> tuple[int, ...]:
    return tuple(sorted({round(share * steps) for share in shares}))


def _cases(
    samples: Sequence[ErrorSample],
    levels: Sequence[np.ndarray],  # of each sample [B, 17, S] log liveliness
    group: int,
    row: int,
    step: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Liveliness, log error and weight [M] of every case of one row; each file weighs the same."""
    joints = group == GROUP_OF_JOINT
    liveliness, errors, weights = [], [], []
    for sample, level in zip(samples, levels, strict=True):
        error = sample.errors[:, step, joints].ravel()
        known = np.isfinite(error)
        liveliness.append(level[:, joints, row].ravel()[known])
        errors.append(np.log(np.maximum(error[known], _SMALLEST)))
        weights.append(np.full(int(known.sum()), 1.0 / max(int(known.sum()), 1)))
    return np.concatenate(liveliness), np.concatenate(errors), np.concatenate(weights)


def _fit_group(
    cases: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],  # of each row
    between: np.ndarray,  # [S] bool: not on a keyframe
    nodes: np.ndarray,  # [K]
) -> tuple[np.ndarray, float]:
    """Log sigma [S, K] of one joint group, and the inner multiplier, that come closest to both bounds in every row."""
    bounds = np.array([[_quantile_curve(*case, nodes, share) for share in SHARES] for case in cases])  # [S, 2, K]
    outer = np.log(OUTER_MULTIPLIER)
    inner = outer - (bounds[between, 1] - bounds[between, 0]).mean()
    log_sigma = _compromise(bounds[:, 0] - inner, bounds[:, 1] - outer)
    # Both bounds have to hold for each row as a whole, over all its columns.
    for _ in range(2):
        quantiles = np.zeros((len(cases), len(SHARES)))
        for row, (level, error, weight) in enumerate(cases):
            rest = error - np.interp(level, nodes, log_sigma[row])
            quantiles[row] = [_weighted_quantile(rest, weight, share) for share in SHARES]
        inner += (quantiles[between, 0] - quantiles[between, 1]).mean() - (inner - outer)
        log_sigma += _compromise(quantiles[:, 0] - inner, quantiles[:, 1] - outer)[:, None]
    return np.maximum.accumulate(log_sigma, axis=1), float(np.exp(inner))


def _compromise(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    return np.asarray(_INNER_WEIGHT * inner + (1 - _INNER_WEIGHT) * outer)


def _quantile_curve(
    level: np.ndarray,  # [M]
    value: np.ndarray,  # [M]
    weight: np.ndarray,  # [M]
    nodes: np.ndarray,  # [K]
    share: float,
) -> np.ndarray:  # [K]
    """A curve, linear between nodes and never falling, with this share of the values below it around every node."""
    hats = np.stack([np.interp(level, nodes, row) for row in np.eye(len(nodes))]) * weight  # [K, M]
    curve = np.full(len(nodes), _weighted_quantile(value, weight, share))
    for _ in range(_ROUNDS):
        rest = value - np.interp(level, nodes, curve)
        order = np.argsort(rest)
        curve = curve + 0.8 * np.array([_weighted_quantile(rest, hat, share, order) for hat in hats])
        curve = np.maximum.accumulate(curve)
    return curve


def _weighted_quantile(
    value: np.ndarray,  # [M]
    weight: np.ndarray,  # [M]
    share: float,
    order: np.ndarray | None = None,  # [M] that sorts the values
) -> float:
    order = np.argsort(value) if order is None else order
    below = np.cumsum(weight[order])
    return float(value[order[min(int(np.searchsorted(below, share * below[-1])), len(order) - 1)]])
