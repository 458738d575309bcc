"""Fit the uncertainty table of a weight file, and measure how often its bounds hold.

Both go by the simulated estimator on motion capture, like training: the network gets what the estimator says, and its
error is the distance to the motion with the estimator's slow error on it (`Windows.carried`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.estimator_noise import GRID_HZ
from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.data.windows import validation_windows
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.uncertainty import GROUP_OF_JOINT, GROUPS, PARTS, SHARES, SigmaTable, log_liveliness
from mixsynth_stream.weights import Model, load_model, load_weights, save_weights

# Nine errors in ten are below this many sigma; what half of them are below is fitted.
OUTER_MULTIPLIER = 2.0
# The table's rows, as shares of the gap and of the horizon, and its columns, as quantiles of what was seen.
_GAP_ROWS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_AHEAD_ROWS = (0.0, 0.04, 0.15, 0.25, 0.36, 0.5, 0.65, 0.8, 1.0)
_COLUMNS = (0.01, 0.25, 0.5, 0.75, 0.95, 0.995)
# Windows of one file: enough that a fit takes half a minute and repeats within a percent.
_WINDOWS_A_FILE = 2500
_LEAST_STRIDE = 10
_MIN_SCALE = 0.02
_BATCH = 256
_ROUNDS = 12
# One sigma cannot meet two bounds where the shape of the error differs from row to row. It leans towards the inner
# bound: at the same factor off, twice as many errors cross it.
_LEAN = 0.6
_SMALLEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """How often the bounds held. `question` is filled, filled_later or ahead, as in `evaluate`."""

    data: str
    model: str
    question: str
    time_ms: int  # since the older keyframe of the gap, or since the newest keyframe
    group: str
    poses: int
    within: tuple[float, float]  # share of the errors inside the 50 % and the 90 % bound
    sigma: float  # mean, in body scales or metres


@dataclass(frozen=True)
class _Sample:
    """What the network made of the windows of one file, in normalised units."""

    keyframes: np.ndarray  # [B, Q+1, 17, D]
    errors: np.ndarray  # [B, T, 17], NaN where there is no truth
    level: np.ndarray  # [B, Q, 17] log liveliness


def with_uncertainty(
    weights: str | os.PathLike[str],
    files: Sequence[Sequence[Clip]],
    out: str | os.PathLike[str] | None = None,
    *,
    unseen: Sequence[Sequence[Clip]] = (),
    seed: int = 0,
) -> Path:
    """Fit a table on clips, files counting the same, and write the weights with it (to `out`, or over themselves).

    `unseen`: see `fit_table`. Raises `ModelError` where the weights are for another skeleton or have no gap or horizon
    to fit, `SourceError` where the clips are too short.
    """
    target = Path(out if out is not None else weights)
    table = fit_table(load_model(weights), files, unseen=unseen, seed=seed)
    state, config, info = load_weights(weights)
    save_weights(target, state, config, dataclasses.replace(info, uncertainty=table.as_json()))
    return target


def fit_table(
    model: Model, files: Sequence[Sequence[Clip]], *, unseen: Sequence[Sequence[Clip]] = (), seed: int = 0
) -> SigmaTable:
    """The table of a network, from clips that it may have been trained on, under errors that it has not seen.

    A network knows its training motion a little better than any other. Where there are clips that it was not trained
    on, `unseen`, they set the level of the table, with one factor in the gaps and one ahead.
    """
    _check(model)
    config = model.config
    samples = [_sample(model, clips, seed) for clips in files]
    gap = _rows(_GAP_ROWS, config.sample_interval)
    ahead = _rows(_AHEAD_ROWS, config.horizon)[1:]
    nodes = np.quantile(np.concatenate([sample.level[:, -1].ravel() for sample in samples]), _COLUMNS)
    start = config.newest - config.sample_interval
    # (step, interval whose liveliness counts) of each row.
    rows = [(start - config.sample_interval + s, -2) for s in gap] + [(start + s, -1) for s in gap]
    rows += [(config.newest + s, -1) for s in ahead]
    part = np.array([int(step > config.newest) for step, _ in rows])
    between = np.array([step > config.newest or step % config.sample_interval > 0 for step, _ in rows])
    sigma = np.zeros((len(GROUPS), len(rows), len(nodes)))
    multipliers = np.full((len(PARTS), len(GROUPS), len(SHARES)), OUTER_MULTIPLIER)
    for group in range(len(GROUPS)):
        cases = [_cases(samples, group, *row) for row in rows]
        blind = next((step for (step, _), case in zip(rows, cases, strict=True) if not len(case[0])), None)
        if blind is not None:
            raise SourceError(
                f"no clip reaches step {blind} of its window of {config.seq_len} steps of 1/30 s, so the error there "
                "is not known; give longer clips"
            )
        for number in range(len(PARTS)):
            mine = np.flatnonzero(part == number)
            log_sigma, inner = _joined([cases[row] for row in mine], between[mine], nodes)
            # Knowledge only fades: sigma grows with the horizon.
            sigma[group, mine] = np.exp(np.maximum.accumulate(log_sigma, axis=0) if number else log_sigma)
            multipliers[number, group, 0] = inner
    table = SigmaTable(gap, gap, ahead, tuple(np.exp(nodes)), sigma, multipliers)
    if not unseen:
        return table
    levels = _levels(table, model, [_sample(model, clips, seed) for clips in unseen])
    return dataclasses.replace(table, sigma=sigma * levels[part][:, None])


def _levels(table: SigmaTable, model: Model, samples: Sequence[_Sample]) -> np.ndarray:  # [2]
    """By how much the errors of these samples exceed the table, in the gaps that `at` reads at lag 1 and ahead."""
    n, newest = model.config.sample_interval, model.config.newest
    # Errors as multiples of sigma.
    times = [sample.errors / table.on_grid(sample.keyframes, model.config, model.info.rate_hz) for sample in samples]
    levels = []
    for part, steps in zip(PARTS, (slice(newest - n + 1, newest), slice(newest + 1, None)), strict=True):
        off = []
        for share in SHARES:
            bounds = [each[:, steps] / table.multiplier(part, share) for each in times]
            known = [np.log(np.maximum(bound[np.isfinite(bound)], _SMALLEST)) for bound in bounds]
            if not any(map(len, known)):
                off.append(0.0)  # too short to say anything: the level stays
                continue
            weight = np.concatenate([np.full(len(k), 1.0 / max(len(k), 1)) for k in known])
            off.append(_weighted_quantile(np.concatenate(known), weight, share))
        levels.append(np.exp(_LEAN * off[0] + (1 - _LEAN) * off[1]))
    return np.array(levels)


def coverage(
    model: Model, clips: Sequence[Clip], *, data: str, name: str, seed: int = 0, every_ms: int = 100
) -> list[CoverageRow]:
    """How often the bounds of the model's own table hold, by joint group and every 100 ms of gap and horizon."""
    _check(model)
    table, config, rate_hz = model.sigma_table, model.config, model.info.rate_hz
    if table is None:
        raise ModelError(f"{name} carries no uncertainty table; add one with scripts/fit_uncertainty.py")
    sample = _sample(model, clips, seed)
    sigma = table.on_grid(sample.keyframes, config, rate_hz)
    n, rows = config.sample_interval, []
    for question, first, last in (("filled", config.newest - n, n - 1), ("filled_later", config.newest - 2 * n, n - 1),
                                  ("ahead", config.newest, config.horizon)):  # fmt: skip
        factors = [table.multiplier(PARTS[question == "ahead"], share) for share in SHARES]
        for time_ms in range(every_ms, int(last / rate_hz * 1000) + 1, every_ms):
            step = first + round(time_ms / 1000 * rate_hz)
            for group, joints in _joints_by_group().items():
                error, here = sample.errors[:, step, joints], sigma[:, step, joints]
                known = np.isfinite(error)
                held = [float((error <= here * factor[joints])[known].mean()) for factor in factors]
                rows.append(CoverageRow(
                    data=data, model=name, question=question, time_ms=time_ms, group=group, poses=int(known.sum()),
                    within=(held[0], held[1]), sigma=float(here[known].mean()),
                ))  # fmt: skip
    return rows


def coverage_table(rows: Sequence[CoverageRow]) -> str:
    """Rows as text: a line for each time, a column for each joint group, 'half/nine in ten' in per cent."""
    groups = list(dict.fromkeys(row.group for row in rows))
    by_time: dict[tuple[str, str, str, int], dict[str, CoverageRow]] = {}
    for row in rows:
        by_time.setdefault((row.data, row.model, row.question, row.time_ms), {})[row.group] = row
    lines = [f"{'data':14} {'model':10} {'question':12} {'ms':>4}  " + " ".join(f"{group:>10}" for group in groups)]
    for (data, model, question, time_ms), found in by_time.items():
        cells = [f"{100 * found[g].within[0]:.0f}/{100 * found[g].within[1]:.0f}" for g in groups]
        lines.append(f"{data:14} {model:10} {question:12} {time_ms:4}  " + " ".join(f"{cell:>10}" for cell in cells))
    within = np.array([row.within for row in rows])
    good = np.abs(within - SHARES) <= (0.05, 0.03)
    lines.append(
        f"{len(rows)} cells: the 50 % bound holds 45-55 % in {100 * good[:, 0].mean():.0f} % of them (mean "
        f"{100 * within[:, 0].mean():.1f} %), the 90 % bound 87-93 % in {100 * good[:, 1].mean():.0f} % (mean "
        f"{100 * within[:, 1].mean():.1f} %)"
    )
    return "\n".join(lines)


def _joints_by_group() -> Mapping[str, np.ndarray]:
    return {name: np.flatnonzero(group == GROUP_OF_JOINT) for group, name in enumerate(GROUPS)}


def _check(model: Model) -> None:
    model.expect(CORE_17, model.info.space)
    config = model.config
    if config.step < 2 or config.sample_interval < 2 or config.horizon < 2:
        raise ModelError(
            "an uncertainty table needs two gaps and a horizon of at least two steps each; this network has "
            f"N = {config.sample_interval}, Q = {config.step}, H = {config.horizon}"
        )


def _sample(model: Model, clips: Sequence[Clip], seed: int) -> _Sample:
    config, space = model.config, model.info.space
    seconds = sum(len(clip.positions) / clip.rate_hz for clip in clips)
    stride = max(_LEAST_STRIDE, round(seconds * GRID_HZ / _WINDOWS_A_FILE))
    windows = validation_windows(clips, config, space, seed=seed, stride=stride)
    floor = _MIN_SCALE * FRAME_HEIGHT_PX if space == "image" else 0.0
    root, scale = root_and_scale(windows.keyframes, model.info.normalisation, floor)
    keyframes = ((windows.keyframes - root) / scale).astype(np.float32)
    parts = [keyframes[i : i + _BATCH] for i in range(0, len(keyframes), _BATCH)]
    said = np.concatenate([model(part.reshape(*part.shape[:2], -1)) for part in parts])
    errors = np.linalg.norm(said.reshape(windows.carried.shape) - (windows.carried - root) / scale, axis=-1)
    errors[~windows.valid] = np.nan
    return _Sample(keyframes, errors, log_liveliness(keyframes, config.sample_interval / model.info.rate_hz))


def _rows(shares: Sequence[float], steps: int) -> tuple[int, ...]:
    return tuple(sorted({round(share * steps) for share in shares}))


def _cases(
    samples: Sequence[_Sample], group: int, step: int, interval: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Liveliness, log error and weight [M] of every case of one row; each file weighs the same."""
    joints = group == GROUP_OF_JOINT
    levels, errors, weights = [], [], []
    for sample in samples:
        error, level = sample.errors[:, step, joints].ravel(), sample.level[:, interval, joints].ravel()
        known = np.isfinite(error)
        levels.append(level[known])
        errors.append(np.log(np.maximum(error[known], _SMALLEST)))
        weights.append(np.full(int(known.sum()), 1.0 / max(int(known.sum()), 1)))
    return np.concatenate(levels), np.concatenate(errors), np.concatenate(weights)


def _joined(
    cases: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],  # of each row
    between: np.ndarray,  # [S] bool: not on a keyframe
    nodes: np.ndarray,  # [K]
) -> tuple[np.ndarray, float]:
    """Log sigma [S, K] of one joint group, and the inner multiplier, that come closest to both bounds in every row."""
    bounds = np.array([[_quantile_curve(*case, nodes, share) for share in SHARES] for case in cases])  # [S, 2, K]
    outer = np.log(OUTER_MULTIPLIER)
    inner = outer - (bounds[between, 1] - bounds[between, 0]).mean()
    log_sigma = _lean(bounds[:, 0] - inner, bounds[:, 1] - outer)
    # What the columns share has to hold for each row as a whole, whatever the liveliness.
    for _ in range(2):
        off = np.zeros((len(cases), len(SHARES)))
        for row, (level, error, weight) in enumerate(cases):
            rest = error - np.interp(level, nodes, log_sigma[row])
            off[row] = [_weighted_quantile(rest, weight, share) for share in SHARES]
        inner += (off[between, 0] - off[between, 1]).mean() - (inner - outer)
        log_sigma += _lean(off[:, 0] - inner, off[:, 1] - outer)[:, None]
    return np.maximum.accumulate(log_sigma, axis=1), float(np.exp(inner))


def _lean(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    return np.asarray(_LEAN * inner + (1 - _LEAN) * outer)


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
