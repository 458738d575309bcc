"""How often the bounds of an uncertainty table hold, and how well the clips at hand can tell.

A cell is a joint group at one of every 100 ms of gap and horizon, in one file. The windows of a clip are right or wrong
together, so a cell knows its share only to within the spread that drawing other clips of the same kind would give
(bootstrap over clips): where it is wide, cells fall outside the tolerance of a table without fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.errors import ModelError
from mixsynth_stream.evaluate.sigma_fit import check_can_fit, error_sample
from mixsynth_stream.uncertainty import GROUP_OF_JOINT, GROUPS, PARTS, SHARES
from mixsynth_stream.weights import Model

# The 50 % bound should hold 45 to 55 % of the errors, the 90 % bound 87 to 93 %.
TOLERANCE = (0.05, 0.03)
_RESAMPLES = 400


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """One cell. `question` is filled, filled_later or ahead, as in `evaluate`."""

    data: str
    model: str
    question: str
    time_ms: int  # since the older keyframe of the gap, or since the newest keyframe
    group: str
    poses: int
    within: tuple[float, float]  # share of the errors inside the 50 % and the 90 % bound
    spread: tuple[float, float]  # standard deviation of `within` over draws of clips
    sigma: float  # mean, in body scales or metres


def every_second(clips: Sequence[Clip]) -> list[Clip]:
    """The clips to check on: those between the ones that training sets the level of the table by."""
    return list(clips[1::2])


def coverage(
    model: Model, clips: Sequence[Clip], *, data: str, name: str, seed: int = 0, every_ms: int = 100
) -> list[CoverageRow]:
    """How often the bounds of the model's own table hold, by joint group and every 100 ms of gap and horizon."""
    check_can_fit(model)
    table, config, rate_hz = model.sigma_table, model.config, model.info.rate_hz
    if table is None:
        raise ModelError(f"{name} carries no uncertainty table; add one with scripts/fit_uncertainty.py")
    sample = error_sample(model, clips, seed)
    sigma = sample.sigma(table, model)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), _RESAMPLES)  # [R, C]
    n, rows = config.sample_interval, []
    for question, first, last in (("filled", config.newest - n, n - 1), ("filled_later", config.newest - 2 * n, n - 1),
                                  ("ahead", config.newest, config.horizon)):  # fmt: skip
        factors = [table.multiplier(PARTS[question == "ahead"], share) for share in SHARES]
        for time_ms in range(every_ms, int(last / rate_hz * 1000) + 1, every_ms):
            step = first + round(time_ms / 1000 * rate_hz)
            for group, joints in _joints_by_group().items():
                error, here = sample.errors[:, step, joints], sigma[:, step, joints]
                known = np.isfinite(error)
                inside = [_by_clip(error <= here * factor[joints], sample.clip, len(clips)) for factor in factors]
                poses = _by_clip(known, sample.clip, len(clips))
                rows.append(CoverageRow(
                    data=data, model=name, question=question, time_ms=time_ms, group=group, poses=int(known.sum()),
                    within=_both(each.sum() / poses.sum() for each in inside),
                    spread=_both(_spread(draws @ each, draws @ poses) for each in inside),
                    sigma=float(here[known].mean()),
                ))  # fmt: skip
    return rows


def _both(values: Iterator[float]) -> tuple[float, float]:
    half, most = map(float, values)
    return half, most


def _by_clip(
    true: np.ndarray,  # [B, J] bool
    clip: np.ndarray,  # [B]
    clips: int,
) -> np.ndarray:  # [C]
    return np.bincount(clip, true.sum(axis=1), clips)


def _spread(inside: np.ndarray, poses: np.ndarray) -> float:  # [R], [R]
    return float((inside[poses > 0] / poses[poses > 0]).std())


def _joints_by_group() -> Mapping[str, np.ndarray]:
    return {name: np.flatnonzero(group == GROUP_OF_JOINT) for group, name in enumerate(GROUPS)}


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
    return "\n".join([*lines, *_summary([row.within for row in rows], [row.spread for row in rows])])


def coverage_summary(files: Sequence[Sequence[CoverageRow]]) -> str:
    """The cells of one model over several files, each file counting the same."""
    within = np.mean([[row.within for row in rows] for rows in files], axis=0)
    spread = np.sqrt(np.mean(np.square([[row.spread for row in rows] for rows in files]), axis=0) / len(files))
    names = " and ".join(rows[0].data for rows in files)
    return "\n".join([f"{files[0][0].model}, {names} counting the same:", *_summary(within, spread)])


def _summary(
    within: Sequence[tuple[float, float]] | np.ndarray,  # [cells, 2]
    spread: Sequence[tuple[float, float]] | np.ndarray,  # [cells, 2]
) -> list[str]:
    lines = []
    for held, off, share, tolerance in zip(np.transpose(within), np.transpose(spread), SHARES, TOLERANCE, strict=True):
        miss, ideal = np.abs(held - share), [math.erf(tolerance / math.sqrt(2) / max(each, 1e-9)) for each in off]
        low, high, per_cent = 100 * (share - tolerance), 100 * (share + tolerance), 100 * held
        lines.append(
            f"{len(held)} cells: the {100 * share:.0f} % bound holds {low:.0f}-{high:.0f} % in "
            f"{(miss <= tolerance).sum()} of {len(held)} (mean {per_cent.mean():.1f} %, from {per_cent.min():.0f} to "
            f"{per_cent.max():.0f} %). Draws of clips spread by {100 * off.mean():.1f} %: a table without fault would "
            f"do so in {100 * np.mean(ideal):.0f} %; {(miss <= tolerance + 2 * off).sum()} cells are within twice that"
        )
    return lines
