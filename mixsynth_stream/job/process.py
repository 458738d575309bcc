"""`process`: one source through a Stream into sinks, the job behind `run`, `demo` and `webcam`."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.models import load_models
from mixsynth_stream.job.outputs import open_outputs
from mixsynth_stream.job.progress import Progress

if TYPE_CHECKING:
    from mixsynth_stream.export import Sink
    from mixsynth_stream.pipeline.frame import VideoInfo
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.stats import StreamStats
    from mixsynth_stream.pipeline.stream import Stream
    from mixsynth_stream.weights import Model

DEFAULT_EVERY = 10


@dataclass
class Done:
    """What became of one source."""

    source: str
    info: VideoInfo | None
    stats: StreamStats
    models: tuple[Model, ...]
    folder: Path | None
    seconds: float = 0.0
    output_seconds: float = 0.0
    frames_with_people: int = 0
    people: set[int] = field(default_factory=set)

    def note(self, motion: Motion) -> None:
        """Count the people of a final frame."""
        if motion.final:
            self.people.update(motion.ids.tolist())
            self.frames_with_people += bool(len(motion.ids))


def process(source: str, folder: Path | None, args: argparse.Namespace) -> Done:
    """One source from its first frame to its last, or to the break: what was written until then stays readable."""
    overlay = (folder or Path()) / "overlay.mp4"
    if args.overlay and overlay.exists() and Path(source).exists() and overlay.samefile(source):
        raise ValueError(f"{overlay} is the source itself and would be overwritten: give another --out")
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        stream = stack.enter_context(open_stream(source, args))
        done = Done(source, stream.info, stream.stats, stream.models, folder)
        sinks = [stack.enter_context(_closed_whole(sink, interrupt)) for sink in open_outputs(stream, folder, args)]
        name = source if "://" in source else Path(source).name or source
        progress = stack.enter_context(Progress(name, stream.info, shown=not args.quiet))
        start = time.perf_counter()
        try:
            for motion in limited(stream, args.limit_frames):
                with interrupt.held():
                    began = time.perf_counter()
                    for sink in sinks:
                        sink.write(motion)
                    done.output_seconds += time.perf_counter() - began
                done.note(motion)
                now_s = stream.now_s
                progress.update(motion, stream.stats, None if now_s is None else now_s - motion.time_s)
                if any(getattr(sink, "closed", False) for sink in sinks):
                    write_owed(stream, sinks, interrupt)
                    break
        except KeyboardInterrupt:
            write_owed(stream, sinks, interrupt)
            raise
        done.seconds = time.perf_counter() - start
    return done


def write_owed(stream: Stream, sinks: list[Sink], interrupt: Interrupt) -> None:
    """Frames that were only provisional when the loop was left have been seen, and belong into the files."""
    with interrupt.held():
        for motion in stream.close():
            for sink in sinks:
                sink.write(motion)


@contextlib.contextmanager
def _closed_whole(sink: Sink, interrupt: Interrupt) -> Iterator[Sink]:
    """A sink whose closing, which may take long, is not cut short by the first signal."""
    try:
        yield sink
    finally:
        with interrupt.held():
            sink.close()


def open_stream(source: str, args: argparse.Namespace) -> Stream:
    """The Stream that the options describe."""
    from mixsynth_stream.pipeline.estimators.mediapipe import bundle_path
    from mixsynth_stream.pipeline.stream import Stream

    bundle = str(bundle_path(args.model)) if args.model else None
    return Stream(
        source,
        every=args.every or DEFAULT_EVERY,
        lag=args.lag,
        horizon_s=args.horizon,
        max_people=args.max_people,
        estimator=args.estimates or bundle,
        models=load_models(args) if args.weights else None,
        backend=args.backend,
    )


def limited(motions: Iterable[Motion], frames: int | None) -> Iterator[Motion]:
    """The Motions of the first `frames` frames, or all of them."""
    for motion in motions:
        if frames is None or motion.index < frames:
            yield motion
        if frames is not None and motion.final and motion.index >= frames - 1:
            return


def summary(done: Done) -> str:
    """One line about a finished source."""
    rate = done.stats.frames / max(done.seconds, 1e-9)
    people = f"{len(done.people)} {'person' if len(done.people) == 1 else 'people'}"
    text = (
        f"{done.source}: {done.stats.frames} frames in {done.seconds:.1f} s ({rate:.0f} frames/s), "
        f"{done.stats.estimator_calls} estimator calls, {people}"
    )
    counts = [f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(done.stats.counters.items()) if count]
    return ", ".join([text, *counts]) + (f"; results in {done.folder}" if done.folder else "")
