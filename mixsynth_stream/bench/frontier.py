"""Frontier: error and cost of every contender on a clip, in one table and one picture.

`bench pipeline --frontier` measures one clip, against truth where it gets one; `evaluate --video --frontier` several,
against MediaPipe on every frame. Costs are processor time of all threads at lag 1; contenders take turns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.bench.measure import take_turns
from mixsynth_stream.bench.runs import ClipRun, contender_run, long_enough
from mixsynth_stream.bench.truth import limbs_of_clip
from mixsynth_stream.console import say
from mixsynth_stream.draw.frontier import Dots, frontier_picture
from mixsynth_stream.draw.png import png_bytes
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.contenders import (
    DENSE,
    DENSE_CUT,
    FILLED,
    NOW,
    QUESTIONS,
    Contender,
    all_contenders,
    dense_contender,
    installed,
)
from mixsynth_stream.evaluate.frontier import (
    LOST,
    Reference,
    contender_errors,
    dense_reference,
    mean_rows,
    verdicts,
    with_dominators,
)
from mixsynth_stream.evaluate.video import dense_poses
from mixsynth_stream.files import write_whole
from mixsynth_stream.reports import table, write_json

_COLORS = ((70, 70, 70), (150, 150, 150), (176, 112, 60), (31, 119, 210), (120, 80, 190), (26, 160, 60), (245, 124, 0))


@dataclass(frozen=True)
class Truth:
    """Where measured motion of a clip lies."""

    trc: Path
    calibration: Path
    camera: str | None = None


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds and least frames for costs, first frames of streams for errors."""

    rounds: int = 3
    frames: int = 300
    phases: int = 3


def clip_rows(
    clip: Path, contenders: Sequence[Contender], *, truth: Truth | None = None, effort: Effort | None = None
) -> list[dict[str, Any]]:
    """The rows of one clip. Raises `SourceError`, and `ValueError` for a truth that does not fit the clip."""
    effort = effort or Effort()
    say(f"{clip.name}: errors of {len(contenders)} contenders")
    with dense_contender().open_dense() as estimator:
        dense = dense_poses(clip, estimator)
    if truth is None:
        reference = dense_reference(dense, dense_contender().name)
    else:
        limbs = limbs_of_clip(clip, truth.trc, truth.calibration, truth.camera)
        if len(limbs) != len(dense.time_s):
            raise SourceError(
                f"{clip} has {len(dense.time_s)} frames and {truth.trc} {len(limbs)} rows: they must belong together"
            )
        reference = Reference("truth", limbs)
    reference = reference.judged(dense.time_s)
    errors: dict[Contender, dict[str, np.ndarray]] = {}
    for contender in contenders:
        if contender.same_poses() not in errors:
            result = contender_errors(contender, clip, reference, dense.time_s, effort.phases)
            errors[contender.same_poses()] = result
    rate_hz = float(1 / np.median(np.diff(dense.time_s)))
    say(f"{clip.name}: costs, {effort.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        runs = _interleaved(long_enough(clip, effort.frames, Path(folder)), contenders, effort.rounds)
    rows = [
        {
            "case": clip.name,
            "reference": reference.name,
            "rate_hz": rate_hz,
            "contender": contender.name,
            "family": contender.family,
            "label": contender.label,
            "every": contender.every,
            **contender.facts(),
            "default_of": list(contender.default_of),
            **_costs(runs, contender, rate_hz),
            **_errors(errors[contender.same_poses()], contender.questions),
        }
        for contender in contenders
    ]
    return with_dominators(rows)


def _interleaved(clip: Path, contenders: Sequence[Contender], rounds: int) -> dict[Contender, list[ClipRun]]:
    """The runs of all contenders, round by round."""
    by_name = {contender.name: contender for contender in contenders}
    runs: dict[Contender, list[ClipRun]] = {contender: [] for contender in contenders}

    def cpu_ms(name: str) -> float:
        runs[by_name[name]].append(contender_run(by_name[name], clip))
        return runs[by_name[name]][-1].cpu_ms

    take_turns(list(by_name), rounds, cpu_ms)
    return runs


def _costs(runs: Mapping[Contender, list[ClipRun]], contender: Contender, rate_hz: float) -> dict[str, Any]:
    own, dense = runs[contender], runs.get(dense_contender(), [])
    low, middle, high = np.percentile([run.cpu_ms for run in own], [20, 50, 80])
    costs = {
        "cpu_ms": float(middle),
        "p20_cpu_ms": float(low),
        "p80_cpu_ms": float(high),
        "fps": float(np.median([run.fps for run in own])),
        "calls_hz": own[0].estimator_calls / own[0].frames * rate_hz,
    }
    if dense:
        pairs = list(zip(dense, own, strict=True))
        costs["cheaper_than_dense"] = float(np.median([base.cpu_ms / run.cpu_ms for base, run in pairs]))
        costs["faster_than_dense"] = float(np.median([run.fps / base.fps for base, run in pairs]))
    return costs


def _errors(errors: Mapping[str, np.ndarray], questions: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"judged_frames": len(errors[NOW])}
    for question in QUESTIONS:
        is_answered = question in questions
        values[f"{question}_torso"] = float(errors[question].mean()) if is_answered else None
        values[f"{question}_lost"] = float((errors[question] >= LOST).mean()) if is_answered else None
    return values


_HEADS = ("calls/s", "CPU ms a frame", "times cheaper", "times faster", "now", "lost", "filled", "lost")


def frontier_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of one case for people, then who is dominated by whom, then what that says of the defaults."""
    first = rows[0]
    lines = [[f"{first['case']}, against {first['reference']}", *_HEADS]]
    for row in rows:
        ratios = [f"{row[key]:.2f}" if key in row else "" for key in ("cheaper_than_dense", "faster_than_dense")]
        values = [row[f"{question}_{key}"] for question in QUESTIONS for key in ("torso", "lost")]
        errors = ["-" if value is None else f"{value:.4f}" for value in values]
        lines.append([row["contender"], f"{row['calls_hz']:.1f}", f"{row['cpu_ms']:.2f}", *ratios, *errors])
    dominated = [["dominated", "for", "by what costs no more and errs no more; the cheapest first"]]
    for question in QUESTIONS:
        for row in rows:
            names = row[f"{question}_dominated_by"]
            if names:
                more = f" and {len(names) - 2} more" if len(names) > 2 else ""
                dominated.append([row["contender"], question, "; ".join(names[:2]) + more])
    width, for_width = (max(len(line[column]) for line in dominated) for column in (0, 1))
    text = [f"{name:<{width}}  {question:<{for_width}}  {names}" for name, question, names in dominated]
    return "\n".join([table(lines), "", *text, "", *verdicts(rows)])


def save_picture(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the rows of one case. Raises `OutputError`."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    panels = {}
    for question, title in ((NOW, "the pose of now"), (FILLED, "filled, when the next keyframe is known")):
        answers = [row for row in rows if row[f"{question}_torso"] is not None]
        panels[title] = [
            Dots(
                name=family,
                color=_COLORS[number % len(_COLORS)],
                x=np.array([row["cpu_ms"] for row in of_family]),
                y=np.array([row[f"{question}_torso"] for row in of_family]),
                labels=[row["label"].removeprefix("N = ") for row in of_family],
                is_dominated=np.array([bool(row[f"{question}_dominated_by"]) for row in of_family]),
                joined=family not in (DENSE, DENSE_CUT),
            )
            for number, family in enumerate(families)
            if (of_family := [row for row in answers if row["family"] == family])
        ]
    about = f"{rows[0]['case']}: error against {rows[0]['reference']}"
    rgb = frontier_picture(panels, title=about, x_label="processor time, ms a frame")
    write_whole(path, png_bytes(rgb))


def measure(
    clips: Sequence[Path], *, truth: Truth | None, effort: Effort, json: Path | None, plot: Path | None
) -> None:
    """Measure and print clip by clip; of several, their mean too. Write the files. Raises what `clip_rows` raises."""
    contenders, missing = installed(all_contenders())
    for sentence in missing:
        say(f"left out: {sentence}")
    rows: list[dict[str, Any]] = []
    for clip in clips:
        rows += clip_rows(clip, contenders, truth=truth, effort=effort)
        print(frontier_table(rows[-len(contenders) :]) + "\n", flush=True)
    last = rows
    if len(clips) > 1:
        last = mean_rows(rows, f"mean of {', '.join(clip.name for clip in clips)}")
        print(frontier_table(last), flush=True)
    if json is not None:
        write_json(json, rows + (last if last is not rows else []))
    if plot is not None:
        save_picture(plot, last)


def truth_from(args: argparse.Namespace) -> Truth | None:
    """The truth that the options of `bench` name. `ValueError` where one is missing."""
    if (args.trc is None) != (args.calibration is None):
        raise ValueError("--trc and --calibration belong together: give both for truth, or neither")
    return None if args.trc is None else Truth(args.trc, args.calibration, args.camera)
