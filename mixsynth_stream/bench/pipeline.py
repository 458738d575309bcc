"""`bench pipeline`: a stream against the estimator on every frame, and against decoding alone.

Dense is MediaPipe's VIDEO mode on every frame, with the pose model as published and the same decoder, which reads
equally far ahead. All contenders read the same frames and take turns, round by round, in one process; the median of the
rounds' ratios compares them.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.bench.frontier import Effort, measure, truth_from
from mixsynth_stream.bench.runs import ClipRun, contender_run, decode_run, long_enough
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.evaluate.contenders import Contender, dense_contender
from mixsynth_stream.evaluate.excerpt import Excerpt
from mixsynth_stream.files import ASSETS
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, official
from mixsynth_stream.pipeline.estimators.choose import is_bundle
from mixsynth_stream.pipeline.frame import UNKNOWN_RATE_HZ
from mixsynth_stream.pipeline.motion import Motion, Origin, Person
from mixsynth_stream.pipeline.sources.read_ahead import ReadAhead
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.presets import DEFAULT_EVERY, shipped_name
from mixsynth_stream.reports import table, write_json
from mixsynth_stream.spaces import LANDMARK_SPACES, SPACES
from mixsynth_stream.weights import load_model

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model

DENSE, STREAM, DECODE = "dense", "stream", "decode only"
_CORE = SPACES["image"].core
DEMO_CLIP = ASSETS / "demo.mp4"
# Filled poses differ from the dense estimator's by 0.05-0.1 torso lengths on lively clips of one person.
_SANE_GAP_ERROR = 0.3
# Memory is flat where its peak after all frames is at most so many times its peak after the first tenth.
_MOST_GROWTH = 1.05


@dataclass(frozen=True)
class Comparison:
    """What the contenders share: the clip, the spacing of keyframes, the pose model and the networks."""

    clip: Path
    frames: int
    every: int
    model: str
    models: tuple[Model, Model]

    @property
    def contender(self) -> Contender:
        return Contender(model=self.model, every=self.every, pictures=False)

    def frames_of_clip(self) -> FrameSource:
        return ReadAhead(Excerpt(self.clip, frames=self.frames))

    def decode(self) -> ClipRun:
        return decode_run(self.frames_of_clip())

    def dense(self, *, keep: bool = False) -> ClipRun:
        return contender_run(dense_contender(self.model), self.frames_of_clip(), keep=keep)

    def stream(self, *, keep: bool = False) -> ClipRun:
        return contender_run(self.contender, self.frames_of_clip(), models=self.models, keep=keep)


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where the correctness gate is red or memory grows."""
    if args.frontier:
        return _measure_frontier(args)
    check_options(args, foreign=("plot", "trc", "calibration", "camera"), of="goes with --frontier only")
    comparison = comparison_from(args)
    with tempfile.TemporaryDirectory() as folder:
        name = comparison.clip.name
        comparison = replace(comparison, clip=long_enough(comparison.clip, comparison.frames, Path(folder)))
        if args.memory:
            return _measure_memory(comparison, name, args.json)
        return _measure_speed(comparison, name, args.rounds, args.json)


def _measure_frontier(args: argparse.Namespace) -> int:
    """Every contender on one clip."""
    foreign = (
        "memory",
        "weights",
        *(["model"] * (args.model != DEFAULT_MODEL)),
        *(["every"] * (args.every != DEFAULT_EVERY)),
    )
    check_options(args, foreign=foreign, of="does not go with --frontier, which has contenders of its own")
    effort = Effort(rounds=args.rounds, frames=args.frames or 300, phases=args.phases)
    clips = [Path(clip) for clip in args.clip or [DEMO_CLIP]]
    measure(clips, truth=truth_from(args), effort=effort, json=args.json, plot=args.plot)
    return 0


def check_options(args: argparse.Namespace, *, foreign: Sequence[str], of: str) -> None:
    """Refuse numbers under 1 and options that would do nothing. Raises `ValueError`."""
    for name in ("rounds", "frames", "phases"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, found {getattr(args, name)}")
    names = [f"--{name}" for name in foreign if getattr(args, name)]
    if names:
        raise ValueError(f"{', '.join(names)} {of}")


def comparison_from(args: argparse.Namespace) -> Comparison:
    """What the options say."""
    if len(args.clip) > 1:
        raise ValueError(f"one clip is measured at a time without --frontier, found {len(args.clip)}")
    if not is_bundle(args.model):
        raise ValueError(f"speed is compared with MediaPipe's own: --model must be a model of it, found {args.model}")
    names = args.weights or [shipped_name(space, args.every) for space in LANDMARK_SPACES]
    image, world = (load_model(name) for name in names)
    frames = args.frames or (10_000 if args.memory else 300)
    return Comparison(
        Path(args.clip[0] if args.clip else DEMO_CLIP),
        frames,
        image.config.sample_interval,
        args.model,
        (image, world),
    )


def gate_failures(comparison: Comparison, dense: ClipRun, stream: ClipRun) -> list[str]:
    """A sentence for everything that is wrong with a stream's output."""
    failures = []
    motions = stream.motions
    if [motion.index for motion in motions] != list(range(dense.frames)) or not all(m.final for m in motions):
        failures.append(f"{dense.frames} frames went in, {len(motions)} came out, not each once, in order and final")
    expected = expected_keyframes([motion.time_s for motion in motions], comparison.every)
    keyframes = [motion.index for motion in motions if motion.keyframe]
    if keyframes != expected:
        failures.append(f"keyframes should be {expected}, found {keyframes}")
    if stream.estimator_calls != len(keyframes):
        failures.append(f"{stream.estimator_calls} estimator calls for {len(keyframes)} keyframes")
    missed = False
    for motion in reversed(motions):
        origins = {Origin(int(origin)) for origin in np.unique(motion.origin)} - {Origin.MISSING}
        missed = not motion.measured if motion.keyframe else missed
        # Before a keyframe on which the estimator saw nobody, the honest answer is a forecast.
        valid_origins = {Origin.FILLED, Origin.HELD, Origin.FORECAST if missed else Origin.FILLED}
        valid_origins |= {Origin.MEASURED} if motion.keyframe else set()
        if not origins <= valid_origins:
            failures.append(f"frame {motion.index} says {', '.join(o.name for o in origins - valid_origins)}")
            break
    error = median_gap_error(stream, dense)
    if not error < _SANE_GAP_ERROR:
        failures.append(
            f"filled poses lie {error:.2f} torso lengths from the estimator's on every frame, more than "
            f"{_SANE_GAP_ERROR}: take a clip of one person who is always in view"
        )
    return failures


def median_gap_error(stream: ClipRun, dense: ClipRun) -> float:
    """The median of `gap_errors`, in torso lengths; NaN where there are none."""
    errors = gap_errors(stream.motions, dense.people)
    return float(np.median(errors)) if errors else math.nan


def expected_keyframes(times_s: Sequence[float], every: int) -> list[int]:
    """The first frame at or after each multiple of `every` / 30 s, and the last frame."""
    # The gate has numbers of its own, so that it does not follow a wrong change of `KeyframeClock`.
    period_s, tick_s = every / 30, 2e-3
    periods = [math.floor((time_s - times_s[0] + tick_s) / period_s) for time_s in times_s]
    keyframes = [0, *(i for i in range(1, len(periods)) if periods[i] > periods[i - 1])]
    return keyframes if keyframes[-1] == len(times_s) - 1 else [*keyframes, len(times_s) - 1]


def gap_errors(motions: Sequence[Motion], people: Sequence[list[Person]]) -> list[float]:
    """Mean joint distance of each filled pose to the nearest pose of the dense estimator, in torso lengths."""
    errors = []
    for motion, dense_people in zip(motions, people, strict=False):
        if motion.keyframe or not dense_people:
            continue
        dense_poses = [person.pose[_CORE] for person in dense_people]
        for pose in motion.poses[:, _CORE]:
            distances = [np.linalg.norm(pose - other, axis=1).mean() / float(scale_of(other)) for other in dense_poses]
            errors.append(float(min(distances)))
    return errors


def _measure_speed(comparison: Comparison, clip_name: str, rounds: int, json_path: Path | None) -> int:
    """The gate, then interleaved rounds."""
    every_frame, stream = comparison.dense(keep=True), comparison.stream(keep=True)
    failures = gate_failures(comparison, every_frame, stream)
    with VideoReader(comparison.clip) as reader:
        info, rate_hz = reader.info, reader.info.rate_hz or UNKNOWN_RATE_HZ
    print(
        f"{clip_name}: {info.width} x {info.height}, {rate_hz:.4g} Hz, {comparison.frames} frames a round, "
        f"keyframes every {comparison.every}/30 s, model {comparison.model} (dense: {official(comparison.model)}), "
        f"network on {comparison.models[0].backend}"
    )
    if failures:
        print("gate: RED, so no speed is measured", *failures, sep="\n  ")
        return 1
    print(
        f"gate: {stream.frames} frames, each once and final; {stream.estimator_calls} estimator calls, one a keyframe; "
        f"filled poses {median_gap_error(stream, every_frame):.3f} torso lengths from the dense estimator's (median)"
    )
    contenders: dict[str, Callable[[], ClipRun]] = {
        DENSE: comparison.dense,
        STREAM: comparison.stream,
        DECODE: comparison.decode,
    }
    runs: dict[str, list[ClipRun]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            runs[name].append(run())
    facts = {DENSE: dense_contender(comparison.model).facts(), STREAM: comparison.contender.facts()}
    rows = [_contender_row(comparison, clip_name, rate_hz, name, runs) | facts.get(name, {}) for name in contenders]
    print(table([_HEADS, *(_cells(row) for row in rows)]))
    if json_path is not None:
        write_json(json_path, rows)
    return 0


_HEADS = ["", "frames/s p20", "p50", "p80", "over dense", "calls", "decode", "estimator", "rest"]


def _contender_row(
    comparison: Comparison, clip_name: str, rate_hz: float, name: str, all_runs: dict[str, list[ClipRun]]
) -> dict[str, Any]:
    runs, dense = all_runs[name], all_runs[DENSE]
    fps = np.percentile([run.fps for run in runs], [20, 50, 80])
    return {
        "case": clip_name,
        "rate_hz": rate_hz,
        "every": comparison.every,
        "frames": comparison.frames,
        "contender": name,
        "p20_fps": float(fps[0]),
        "p50_fps": float(fps[1]),
        "p80_fps": float(fps[2]),
        "over_dense": float(np.median([run.fps / base.fps for run, base in zip(runs, dense, strict=True)])),
        "cpu_ms": float(np.median([run.cpu_ms for run in runs])),
        "estimator_calls": runs[0].estimator_calls,
        **{f"share_{s}": float(np.median([run.share(s) for run in runs])) for s in ("decode", "estimator", "rest")},
    }


def _cells(row: dict[str, Any]) -> list[str]:
    shares = [f"{row[f'share_{stage}']:.1%}" for stage in ("decode", "estimator", "rest")]
    speeds = [f"{row[f'{p}_fps']:.1f}" for p in ("p20", "p50", "p80")]
    return [row["contender"], *speeds, f"{row['over_dense']:.2f}x", str(row["estimator_calls"]), *shares]


def _measure_memory(comparison: Comparison, clip_name: str, json_path: Path | None) -> int:
    """Peak memory of one long stream after a tenth of its frames and after all."""
    early_frames = max(comparison.frames // 10, 1)
    early = late = frames = 0
    with comparison.contender.open_stream(comparison.frames_of_clip(), models=comparison.models) as stream:
        for frames, _ in enumerate(stream, start=1):
            if frames == early_frames:
                early = peak_memory()
    late = peak_memory()
    if not early:
        raise SourceError(f"{comparison.clip} gave {frames} frames, {early_frames} are needed: take a longer clip")
    ratio = late / early
    print(
        f"{clip_name}, keyframes every {comparison.every}/30 s: peak memory {early / 2**20:.1f} MiB after "
        f"{early_frames} frames, {late / 2**20:.1f} MiB after {frames}: {ratio:.3f}x"
        f"{'' if ratio <= _MOST_GROWTH else f', which is over {_MOST_GROWTH}: it grows'}"
    )
    if json_path is not None:
        row = {"case": clip_name, "contender": STREAM, "every": comparison.every}
        memory = {"early_frames": early_frames, "early_bytes": early, "frames": frames, "bytes": late, "ratio": ratio}
        write_json(json_path, [row | memory])
    return 0 if ratio <= _MOST_GROWTH else 1


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    try:
        import resource
        import sys
    except ImportError as error:
        raise ModelError("peak memory cannot be read on this system: run --memory on Linux or macOS") from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
