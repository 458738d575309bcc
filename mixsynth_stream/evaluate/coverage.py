"""Coverage: how often the bounds of an uncertainty table hold, and how well the clips at hand can tell.

A cell is a joint group at one of every 100 ms of gap and horizon, in one file. The windows of a clip are right or wrong
together, so other clips of the same kind would give another share; a bootstrap over clips gives the spread of it. Where
the spread is wide, even a table without fault has cells outside the tolerance.
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

# The 50 % bound should hold in 45 to 55 % of the cases, the 90 % bound in 87 to 93 %.
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
    """The clips to check on. Training sets the level of the table by the clips between them."""
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
    n, newest, rows = config.sample_interval, config.newest, []
    # First step of each question, and its number of steps.
    questions = {
        "filled": (newest - n, n - 1),
        "filled_later": (newest - 2 * n, n - 1),
        "ahead": (newest, config.horizon),
    }
    for question, (first, count) in questions.items():
        factors = [table.multiplier(PARTS[question == "ahead"], share) for share in SHARES]
        for time_ms in range(every_ms, int(count / rate_hz * 1000) + 1, every_ms):
            step = first + round(time_ms / 1000 * rate_hz)
            for group, joints in _joints_by_group().items():
                error, cell_sigma = sample.errors[:, step, joints], sigma[:, step, joints]
                known = np.isfinite(error)
                bounds = [cell_sigma * factor[joints] for factor in factors]
                inside = [_count_by_clip(error <= bound, sample.clip, len(clips)) for bound in bounds]
                poses = _count_by_clip(known, sample.clip, len(clips))
                row = CoverageRow(
                    data=data,
                    model=name,
                    question=question,
                    time_ms=time_ms,
                    group=group,
                    poses=int(known.sum()),
                    within=_pair(each.sum() / poses.sum() for each in inside),
                    spread=_pair(_spread(draws @ each, draws @ poses) for each in inside),
                    sigma=float(cell_sigma[known].mean()),
                )
                rows.append(row)
    return rows


def _pair(values: Iterator[float]) -> tuple[float, float]:
    half, most = map(float, values)
    return half, most


def _count_by_clip(
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
    """Rows as text: a line for each time, a column for each joint group. A cell has both shares in per cent."""
    groups = list(dict.fromkeys(row.group for row in rows))
    by_time: dict[tuple[str, str, str, int], dict[str, CoverageRow]] = {}
    for row in rows:
        by_time.setdefault((row.data, row.model, row.question, row.time_ms), {})[row.group] = row
    lines = [f"{'data':14} {'model':10} {'question':12} {'ms':>4}  " + " ".join(f"{group:>10}" for group in groups)]
    for (data, model, question, time_ms), by_group in by_time.items():
        within = [by_group[group].within for group in groups]
        cells = [f"{100 * half:.0f}/{100 * most:.0f}" for half, most in within]
        lines.append(f"{data:14} {model:10} {question:12} {time_ms:4}  " + " ".join(f"{cell:>10}" for cell in cells))
    return "\n".join([*lines, *_summary_lines([row.within for row in rows], [row.spread for row in rows])])


def coverage_summary(files: Sequence[Sequence[CoverageRow]]) -> str:
    """The cells of one model over several files, each file counting the same."""
    within = np.mean([[row.within for row in rows] for rows in files], axis=0)
    spread = np.sqrt(np.mean(np.square([[row.spread for row in rows] for rows in files]), axis=0) / len(files))
    names = " and ".join(rows[0].data for rows in files)
    return "\n".join([f"{files[0][0].model}, {names} counting the same:", *_summary_lines(within, spread)])


def _summary_lines(
    within: Sequence[tuple[float, float]] | np.ndarray,  # [cells, 2]
    spread: Sequence[tuple[float, float]] | np.ndarray,  # [cells, 2]
) -> list[str]:
    lines = []
    columns = zip(np.transpose(within), np.transpose(spread), SHARES, TOLERANCE, strict=True)
    for shares, spreads, share, tolerance in columns:
        distance = np.abs(shares - share)
        ideal = [math.erf(tolerance / math.sqrt(2) / max(spread, 1e-9)) for spread in spreads]
        low, high, per_cent = 100 * (share - tolerance), 100 * (share + tolerance), 100 * shares
        lines.append(
            f"{len(shares)} cells: the {100 * share:.0f} % bound holds {low:.0f}-{high:.0f} % in "
            f"{(distance <= tolerance).sum()} of {len(shares)} (mean {per_cent.mean():.1f} %, from "
            f"{per_cent.min():.0f} to {per_cent.max():.0f} %). Draws of clips spread by {100 * spreads.mean():.1f} %: "
            f"a table without fault would do so in {100 * np.mean(ideal):.0f} %; "
            f"{(distance <= tolerance + 2 * spreads).sum()} cells are within twice that"
        )
    return lines
