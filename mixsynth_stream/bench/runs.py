"""Runs: one contender's way through the frames of a clip, with its times, calls and results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import av

from mixsynth_stream.evaluate.contenders import Contender
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.sources.open import open_for_stream
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.sources.video import VideoReader

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model


@dataclass
class ClipRun:
    """One contender's way through the frames: its times, counts and results. Opening models and file is not timed."""

    seconds: float = 0.0
    cpu_s: float = 0.0  # of all threads of the process
    stages: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "estimator": 0.0})
    frames: int = 0
    estimator_calls: int = 0
    people: list[list[Person]] = field(default_factory=list)  # dense: the people of each frame
    motions: list[Motion] = field(default_factory=list)

    @property
    def fps(self) -> float:
        return self.frames / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time a frame."""
        return 1e3 * self.cpu_s / self.frames

    def share(self, stage: str) -> float:
        """The part of the time that a stage takes; "rest" is everything but decoding and the estimator."""
        if stage == "rest":
            return 1.0 - sum(self.stages[name] for name in ("decode", "estimator")) / self.seconds
        return self.stages[stage] / self.seconds


def contender_run(
    contender: Contender, source: Path | FrameSource, *, models: Sequence[Model] | None = None, keep: bool = False
) -> ClipRun:
    """A contender's way through a source at lag 1; `keep` its people or Motions."""
    if contender.is_dense:
        return _dense_run(contender, source, keep)
    run = ClipRun()
    with contender.open_stream(source, models=models) as stream:
        start, cpu_start = time.perf_counter(), time.process_time()
        for motion in stream:
            run.frames += 1
            if keep:
                run.motions.append(motion)
        run.seconds, run.cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        run.stages = {name: stream.stats.seconds[name] for name in ("decode", "estimator")}
        run.estimator_calls = stream.stats.estimator_calls
    return run


def _dense_run(contender: Contender, source: Path | FrameSource, keep: bool) -> ClipRun:
    run = ClipRun()
    with contender.open_dense() as estimator, open_for_stream(source, has_estimator=True) as frames:
        start, cpu_start = time.perf_counter(), time.process_time()
        clock = start
        for frame in frames:
            rgb = frame.rgb
            decoded = time.perf_counter()
            people = estimator(rgb, frame.time_s)
            run.stages["decode"] += decoded - clock
            clock = time.perf_counter()
            run.stages["estimator"] += clock - decoded
            run.frames += 1
            if keep:
                run.people.append(people)
        run.seconds, run.cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    run.estimator_calls = run.frames
    return run


def decode_run(source: Path | FrameSource) -> ClipRun:
    """Reading the frames alone, without their pictures."""
    run = ClipRun()
    with open_for_stream(source, has_estimator=True) as frames:
        start, cpu_start = time.perf_counter(), time.process_time()
        run.frames = sum(1 for _ in frames)
        run.seconds, run.cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        run.stages["decode"] = run.seconds
    return run


def long_enough(clip: Path, frames: int, folder: Path) -> Path:
    """The clip, or where it has fewer frames, a file in `folder` that repeats it without compressing it anew.

    It is one long file, because opening a short one hundreds of times would measure the opening.
    """
    with VideoReader(clip) as reader:
        count = sum(1 for _ in reader)
    if count >= frames:
        return clip
    path = folder / f"long{clip.suffix}"
    with av.open(str(path), "w") as target:
        stream: av.VideoStream | None = None
        shift = 0
        for _ in range(-(-frames // count)):
            with av.open(str(clip)) as source:
                if stream is None:
                    stream = target.add_stream_from_template(source.streams.video[0])
                packets = [packet for packet in source.demux(video=0) if packet.size and packet.pts is not None]
                first, last = min(p.pts or 0 for p in packets), max((p.pts or 0) + (p.duration or 1) for p in packets)
                for packet in packets:
                    packet.pts = (packet.pts or 0) + shift
                    packet.dts = None if packet.dts is None else packet.dts + shift
                    packet.stream = stream
                    target.mux(packet)
                shift += last - first
    return path
