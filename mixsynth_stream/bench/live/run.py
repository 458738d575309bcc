"""`bench live`: the pose shown now, when each frame comes, against the dense estimator offline.

First with an estimator whose answers take a given time of the clip's own clock: the same figures each time, on any
machine. Then with MediaPipe itself, clips played at their own speed. Beside it stand what simple methods give from the
same keyframes, and MediaPipe on the newest frame as fast as it goes, its newest result held. Steps are the 97th
percentile of the mean motion of the limbs from one frame to the next, over that of the dense estimator; a correction is
what a display sees move at once when an answer comes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.bench.live.camera import filmed, held_filmed
from mixsynth_stream.bench.live.shown import worth
from mixsynth_stream.bench.live.simulated import held_simulated, simulated
from mixsynth_stream.bench.pipeline import DEMO_CLIP
from mixsynth_stream.console import say
from mixsynth_stream.evaluate.contenders import dense_contender
from mixsynth_stream.evaluate.frontier import Reference, dense_reference
from mixsynth_stream.evaluate.video import DensePoses, dense_poses
from mixsynth_stream.presets import AUTO
from mixsynth_stream.reports import table, write_json

# Keyframe spacing, and whether people are followed in the picture between keyframes, as live sources do by default.
_SETTINGS: tuple[tuple[int | str, bool], ...] = ((AUTO, True), (5, True), (10, True), (5, False), (10, False))


def main(args: argparse.Namespace) -> int:
    """Run and print the tables."""
    clips = [Path(clip) for clip in args.clip] or [DEMO_CLIP]
    if min(args.answer_ms) < 0 or args.rounds < 0:
        raise ValueError("--answer-ms and --rounds must be at least 0")
    rows: list[dict[str, Any]] = []
    for clip in clips:
        say(f"{clip.name}: the dense estimator on every frame")
        dense = _dense(clip)
        reference = dense_reference(dense, dense_contender().name).judged(dense.time_s)
        for answer_ms in args.answer_ms:
            rows += _shown_table(
                f"{clip.name}, answers after {answer_ms:g} ms", _simulated(clip, dense, reference, answer_ms)
            )
        if args.rounds:
            rows += _shown_table(f"{clip.name}, MediaPipe, at its own speed", _filmed(clip, reference, args.rounds))
    if args.json is not None:
        write_json(args.json, rows)
    return 0


def _dense(clip: Path) -> DensePoses:
    with dense_contender().open_dense() as estimator:
        return dense_poses(clip, estimator)


def _simulated(clip: Path, dense: DensePoses, reference: Reference, answer_ms: float) -> Iterator[dict[str, Any]]:
    answer_s, duration_s = answer_ms / 1e3, dense.time_s[-1] - dense.time_s[0]
    held = held_simulated(dense, answer_s)
    for every, glance in _SETTINGS:
        if every == AUTO and not glance:
            continue
        shown, abrupt = (
            simulated(clip, dense, answer_s, every=every, smooth=smooth, glance=glance) for smooth in (True, False)
        )
        facts = {"answer_ms": answer_ms, "glance": glance, "calls_hz": len(shown.keyframes) / duration_s}
        yield _row(clip, every, facts, worth(shown, reference, held), worth(abrupt, reference, held))


def _filmed(clip: Path, reference: Reference, rounds: int) -> Iterator[dict[str, Any]]:
    """Medians over rounds, in each of which every setting and MediaPipe as fast as it goes take their turn."""
    runs: dict[int | str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        held, held_cost = held_filmed(clip)
        for every in dict.fromkeys(every for every, glance in _SETTINGS if glance):
            shown, cost, wait = filmed(clip, every=every)
            facts = {
                "answer_ms": None,
                "glance": True,
                "calls_hz": cost.calls_hz,
                "cores": cost.cores,
                "cores_over_held_mediapipe": cost.cores / held_cost.cores,
                "held_calls_hz": held_cost.calls_hz,
                **asdict(wait),
            }
            row = _row(clip, every, facts, worth(shown, reference, held))
            # Nobody looks just before an answer comes, which no run has twice.
            runs.setdefault(every, []).append(row | {"correction_over_true": None})
    for rows in runs.values():
        yield {key: _median([row[key] for row in rows]) for key in rows[0]}


def _median(values: Sequence[Any]) -> Any:
    return float(np.median(values)) if isinstance(values[0], float) else values[0]


def _row(
    clip: Path,
    every: int | str,
    facts: Mapping[str, Any],
    shown: Mapping[str, Any],
    abrupt: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One setting: its poses as they are shown, and what blending its corrections costs and saves, if that is known."""
    return {
        "case": clip.name,
        "contender": f"{'auto' if every == AUTO else f'N = {every}'}{'' if facts['glance'] else ', no glance'}",
        **dict.fromkeys(_MEASURED),
        **facts,
        **shown,
        "blending_cost": None if abrupt is None else shown["error_torso"] / abrupt["error_torso"] - 1.0,
        "abrupt_step_over_true": None if abrupt is None else abrupt["step_over_true"],
        "abrupt_correction_over_true": None if abrupt is None else abrupt["correction_over_true"],
    }


# What a simulated estimator does not have.
_MEASURED = (
    *("cores", "cores_over_held_mediapipe", "held_calls_hz"),
    *("latency_p50_ms", "latency_p99_ms", "between_p99_ms", "arrival_p99_ms"),
)
_COLUMNS = {
    "calls/s": "calls_hz",
    "error": "error_torso",
    "over hold": "over_hold",
    "over velocity": "over_constant_velocity",
    "over Kalman": "over_kalman",
    "over MediaPipe held": "over_held_mediapipe",
    "cores": "cores",
    "over its cores": "cores_over_held_mediapipe",
    "latency p99, ms": "latency_p99_ms",
    "loop p99, ms": "between_p99_ms",
    "with an answer": "arrival_p99_ms",
    "step": "step_over_true",
    "correction": "correction_over_true",
    "cost of blending": "blending_cost",
    "step without": "abrupt_step_over_true",
    "correction without": "abrupt_correction_over_true",
}


def _shown_table(title: str, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, printed for people."""
    kept = list(rows)
    cells = [["-" if row[key] is None else f"{row[key]:.3g}" for key in _COLUMNS.values()] for row in kept]
    print(table([[title, *_COLUMNS], *([row["contender"], *line] for row, line in zip(kept, cells, strict=True))]))
    print(f"MediaPipe held: step {kept[0]['held_step_over_true']:.3g}\n", flush=True)
    return kept
