"""`run`: sources through a Stream into sinks. `demo` and `webcam` are the same job with other defaults."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.pipeline.patterns import expand
from mixsynth_stream.progress import Progress

if TYPE_CHECKING:
    from mixsynth_stream.export import Sink
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.stream import Stream, StreamStats
    from mixsynth_stream.pipeline.video import VideoInfo
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a video file, a quoted pattern ('*.mp4'), a URL (rtsp://, http://), webcam, webcam:1, - (standard input) "
        "or synthetic:",
    )
    add_stream_arguments(parser)
    add_output_arguments(parser)


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say how motion is made; shared by `run`, `demo` and `webcam`."""
    group = parser.add_argument_group("motion")
    group.add_argument(
        "--every", type=_at_least(1), metavar="N", help="a keyframe every N/30 s (default: 10, or as --weights says)"
    )
    group.add_argument(
        "--lag",
        type=int,
        choices=(0, 1),
        help="1: each frame once, when the keyframe after it is known (default for files); "
        "0: each frame at once, and again when final (default for cameras)",
    )
    group.add_argument(
        "--horizon", type=_seconds, default=0.4, metavar="S", help="seconds to forecast (default: %(default)s)"
    )
    group.add_argument(
        "--max-people", type=_at_least(1), default=4, metavar="P", help="people to follow (default: %(default)s)"
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="pose model: lite, full, heavy or a .task file (default: full)",
    )
    group.add_argument("--estimates", metavar="FILE", help="replay recorded estimates (.npz) instead of a pose model")
    group.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME",
        help="weights of the network, by name or file; twice for image and world space (default: those that ship)",
    )
    group.add_argument("--backend", default="auto", metavar="NAME", help="what runs the network (default: auto)")
    group.add_argument("--limit-frames", type=_at_least(1), metavar="F", help="stop after F frames")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say where motion goes."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for results; several sources get a subfolder each (default: JSON lines to standard output)",
    )
    group.add_argument("--format", type=_formats, metavar="F,F", help="some of jsonl, csv, npz, trc (default: jsonl)")
    group.add_argument("--overlay", action="store_true", help="also write a video with the poses drawn on it")
    group.add_argument("--plot", action="store_true", help="also write a picture of the joints' trajectories")
    group.add_argument(
        "--write-forecast", action="store_true", help="write the forecast of every frame, not of keyframes only"
    )
    group.add_argument("--view", choices=("window", "none"), default="none", help="show the frames as they come")
    group.add_argument("--quiet", action="store_true", help="no progress and no summary")


def main(args: argparse.Namespace) -> int:
    """Process every source. One that fails is reported and the next one goes on; the exit code says so at the end."""
    check(args)
    sources = expand(args.sources)
    failed = 0
    for source, folder in zip(sources, folders(sources, args.out), strict=True):
        try:
            done = process(source, folder, args)
        except SourceError as error:
            if len(sources) == 1:
                raise
            failed += 1
            print(f"mixsynth-stream: {error}", file=sys.stderr)
            continue
        except (ModelError, OutputError) as error:
            left = len(sources) - 1 - sources.index(source)
            if not left:
                raise
            raise type(error)(f"{error} ({left} sources after {source} were not started)") from error
        if not args.quiet:
            print(summary(done), file=sys.stderr)
    if failed:
        raise SourceError(f"{failed} of {len(sources)} sources failed; the others are complete")
    return 0


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is opened."""
    if args.out is None and (args.overlay or args.plot or args.format not in (None, ("jsonl",))):
        raise ValueError(
            "only JSON lines go to standard output: give --out DIR for other formats, --overlay and --plot"
        )
    if args.estimates and args.model:
        raise ValueError("--estimates replays recorded poses and --model makes new ones: give one of the two")
    if len(args.weights) > 2:
        raise ValueError(f"--weights is for one image and one world network, found {len(args.weights)}")


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
    from mixsynth_stream.pipeline.mediapipe_estimator import bundle_path
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


def load_models(args: argparse.Namespace) -> tuple[Model, ...]:
    """The (image, world) pair that --weights names; the space that it leaves out is the shipped one of the same N.

    Weights for the rotations of SMPL are a stream's only ones.
    """
    from mixsynth_stream.skeleton import CORE_17
    from mixsynth_stream.weights import load_model

    models = [load_model(name, args.backend) for name in args.weights]
    by_space = {model.info.space: model for model in models}
    if len(by_space) < len(models):
        raise ValueError(
            f"--weights names two networks for {models[0].info.space} space; give one for image, one for world"
        )
    spacing = models[0].config.sample_interval
    if args.every not in (None, spacing):
        raise ValueError(
            f"--every {args.every} does not fit {args.weights[0]}, which has a keyframe every {spacing} steps"
        )
    if "rotation" in by_space:
        if len(models) > 1:
            raise ValueError("weights for rotations of SMPL stand alone: give --weights once")
        return (by_space["rotation"],)
    for name, model in zip(args.weights, models, strict=True):
        try:
            model.expect(CORE_17, model.info.space)
        except ModelError as error:
            raise ModelError(f"--weights {name}: {error}") from None
    for space in ("image", "world"):
        if space not in by_space:
            by_space[space] = load_model(_shipped_beside(args.weights[0], models[0], space), args.backend)
    return by_space["image"], by_space["world"]


def _shipped_beside(name: str, model: Model, space: str) -> str:
    """The shipped weights of another space that go with `model`. `ModelError` where none ship for its N."""
    from mixsynth_stream.weights import shipped_models

    wanted, shipped = f"{space}-n{model.config.sample_interval}", shipped_models()
    if wanted not in shipped:
        raise ModelError(
            f"--weights {name} has a keyframe every {model.config.sample_interval} steps in {model.info.space} space, "
            f"and no {space} weights ship for that (shipped weights: {', '.join(shipped) or 'none'}); give --weights "
            f"twice, the other time with {space} weights of the same --every"
        )
    return wanted


def open_outputs(stream: Stream, folder: Path | None, args: argparse.Namespace) -> list[Any]:
    """The sinks that the options ask for."""
    from mixsynth_stream.export import MadeBy, open_sinks

    every = stream.models[0].config.sample_interval
    made_by = MadeBy(
        every=every,
        lag=stream.lag,
        horizon_s=args.horizon,
        estimator=estimator_name(stream, args),
        weights=tuple(args.weights) or tuple(f"{space}-n{every}" for space in ("image", "world")),
        backend=stream.models[0].backend,
        skeleton=stream.skeleton,
        sigma_tables=(stream.models[0].sigma_table, stream.models[-1].sigma_table),
    )
    sinks: list[Any] = []
    if args.view == "window":
        if made_by.skeleton != MadeBy.skeleton:
            raise ValueError(f"{made_by.skeleton} has no places in the picture to show: leave --view window out")
        from mixsynth_stream.viewer.window import Window

        sinks.append(Window())
    return sinks + open_sinks(
        folder,
        stream.info,
        formats=args.format or ("jsonl",),
        overlay=args.overlay,
        plot=args.plot,
        write_forecast=args.write_forecast,
        made_by=made_by,
    )


def estimator_name(stream: Stream, args: argparse.Namespace) -> str:
    """What found the people, for the header of result files."""
    recorded = args.estimates or (
        stream.info is not None and stream.info.source.endswith(".npz") and stream.info.source
    )
    if recorded:
        return f"recorded in {Path(recorded).name}"
    if args.model is None and stream.info is not None and stream.info.source.startswith("synthetic:"):
        return "synthetic"
    return f"MediaPipe {Path(args.model or 'full').name}"


def limited(motions: Iterable[Motion], frames: int | None) -> Iterator[Motion]:
    """The Motions of the first `frames` frames, or all of them."""
    for motion in motions:
        if frames is None or motion.index < frames:
            yield motion
        if frames is not None and motion.final and motion.index >= frames - 1:
            return


def folders(sources: list[str], out: Path | None) -> list[Path | None]:
    """One source writes into `out` itself, several write into a subfolder each, named after the file."""
    if out is None or len(sources) == 1:
        return [out] * len(sources)
    taken: dict[Path, None] = {}
    for source in sources:
        stem = Path(source).stem or "source"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        taken[next(out / name for name in names if out / name not in taken)] = None
    return list(taken)


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


def _at_least(least: int) -> Any:
    def whole_number(text: str) -> int:
        if not text.lstrip("-").isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
        return int(text)

    return whole_number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10:
        raise argparse.ArgumentTypeError(f"expected seconds in 0..10, found {text!r}")
    return seconds


def _formats(text: str) -> tuple[str, ...]:
    from mixsynth_stream.export import FORMATS

    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(FORMATS)}, found {name!r}")
    return names
