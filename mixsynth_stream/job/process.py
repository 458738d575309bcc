"""`process`: one source through a Stream into sinks, the job behind `run`, `demo` and `webcam`.

In a script: `process("clip.mp4", Path("out"), JobOptions(overlay=True))`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.console import open_descriptors, source_name
from mixsynth_stream.errors import SourceError
from mixsynth_stream.export.rate import AverageRate
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.fingerprint import source_state
from mixsynth_stream.job.kit import Kit
from mixsynth_stream.job.lock import FolderLock
from mixsynth_stream.job.models import estimator_choice, load_models
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import Outputs, ViewClosed, check_folder, open_outputs, open_page
from mixsynth_stream.job.progress import Progress
from mixsynth_stream.job.replay import replayed
from mixsynth_stream.job.senders import Senders
from mixsynth_stream.job.settings import origin_of
from mixsynth_stream.memory import rare_collections

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.forecast.self_score import SelfScore
    from mixsynth_stream.pipeline.frame import SourceEvent, VideoInfo
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.sources.source import FrameSource
    from mixsynth_stream.pipeline.stats import StreamStats
    from mixsynth_stream.pipeline.stream import Stream
    from mixsynth_stream.weights import Model


@dataclass
class JobResult:
    """One source after its job: what was read, what it cost, and who was seen."""

    source: str
    info: VideoInfo | None
    stats: StreamStats
    models: tuple[Model, ...]
    folder: Path | None
    seconds: float = 0.0
    output_seconds: float = 0.0
    score: SelfScore | None = None
    frames_with_people: int = 0
    people: set[int] = field(default_factory=set)
    has_world: bool = False  # whether anybody was known in metres
    rate: AverageRate = field(default_factory=AverageRate)

    def count(self, motion: Motion) -> None:
        """Count a Motion and its people, if it is final."""
        self.rate.add(motion)
        if motion.final:
            self.people.update(motion.ids.tolist())
            self.has_world = self.has_world or bool((motion.world == motion.world).any())
            self.frames_with_people += bool(len(motion.ids))

    @property
    def people_text(self) -> str:
        """How many people were seen, in words."""
        count = len(self.people)
        return f"{count} {'person' if count == 1 else 'people'}" if count else "nobody was seen"


class JobInterrupted(KeyboardInterrupt):
    """The user has ended a job; `result` is what it had come to."""

    def __init__(self, result: JobResult) -> None:
        super().__init__()
        self.result = result


def process(
    source: str,
    folder: Path | None,
    options: JobOptions,
    *,
    kit: Kit | None = None,
    interrupt: Interrupt | None = None,
    on_result: Callable[[JobResult], None] = lambda result: None,
) -> JobResult:
    """One source from its first frame to its last, into `folder` or onto standard output.

    `kit` has the networks of several jobs with these options, `interrupt` holds signals for a caller, and `on_result`
    is given the result once the source is open, and after each Motion, while it grows. Raises `SourceError`,
    `ModelError`, `OutputError`, `ValueError` and `JobInterrupted`; what was written before an error stays readable.
    """
    open_descriptors()
    with contextlib.ExitStack() as stack:
        interrupt = interrupt or stack.enter_context(Interrupt())
        options = replayed(source, options)
        if folder is not None:
            stack.enter_context(FolderLock(folder))
            with interrupt.held():  # for the imports, as in `open_stream`
                check_folder(source, folder, options)
        with interrupt.held():
            page = stack.enter_context(open_page(source, options))
            senders = stack.enter_context(Senders([source], options))
        state = None if folder is None else source_state(source)
        try:
            closing = None if page is None else page.closing
            on_wait = partial(senders.not_open, source)
            stream = stack.enter_context(open_stream(source, options, interrupt, closing, on_wait, kit))
        except SourceError:
            if page is not None and page.closed:
                raise KeyboardInterrupt from None
            raise
        result = JobResult(source, stream.info, stream.stats, stream.models, folder, score=stream.score)
        on_result(result)
        with interrupt.held():
            origin = {} if stream.live or state is None else origin_of(kit.settings if kit else options, state)
            sinks = open_outputs(stream, folder, options, page=page, senders=senders, origin=origin)
            outputs = stack.enter_context(Outputs(sinks, folder, interrupt))
        progress = stack.enter_context(Progress(source_name(source), stream.info, shown=options.progress))
        stream.on_event, stream.on_wait = partial(tell, progress, outputs), outputs.wait
        stream.release = interrupt.released
        if stream.live:  # a search for cycles takes as long as a frame
            stack.enter_context(rare_collections())
        start = time.perf_counter()
        try:
            for motion in _written(stream, outputs, result, options.limit_frames, interrupt):
                on_result(result)
                progress.update(motion, stream.stats, _age_s(motion, stream.now_s), stream.score)
        except ViewClosed:
            write_finals(stream, outputs, result, interrupt)
        except KeyboardInterrupt as stop:
            write_finals(stream, outputs, result, interrupt)
            raise JobInterrupted(result) from stop
        finally:
            result.seconds = time.perf_counter() - start
    return result


def _age_s(motion: Motion, now_s: float | None) -> float | None:
    """How old a Motion is, on the clock of a live source."""
    if now_s is None:
        return None
    return now_s - motion.time_s + (0.0 if motion.frame is None else motion.frame.buffered_s)


def _written(
    stream: Stream, outputs: Outputs, result: JobResult, limit_frames: int | None, interrupt: Interrupt
) -> Iterator[Motion]:
    """The Motions of a stream, each once it is written and counted. Raises `ViewClosed`.

    A signal comes through while the stream waits, or after a Motion is written: none is lost on the way.
    """
    motions = first_frames(stream, limit_frames)
    while True:
        with interrupt.held():
            motion = next(motions, None)
            if motion is None:
                return
            start = time.perf_counter()
            outputs.write(motion)
            result.output_seconds += time.perf_counter() - start
            result.count(motion)
        yield motion
        if outputs.has_closed_view:
            raise ViewClosed


def tell(progress: Progress, outputs: Outputs, event: SourceEvent) -> None:
    """Tell everybody what has happened to a live source."""
    progress.tell(event)
    outputs.tell(event)


def write_finals(stream: Stream, outputs: Outputs, result: JobResult, interrupt: Interrupt) -> None:
    """Write the finals of frames that were only provisional when the loop ended: the user has seen them."""
    with interrupt.held():
        for motion in stream.close():
            outputs.write(motion)
            result.count(motion)


def open_stream(
    source: str,
    options: JobOptions,
    interrupt: Interrupt,
    closing: threading.Event | None = None,
    on_wait: Callable[[str], None] | None = None,
    kit: Kit | None = None,
) -> Stream:
    """The Stream that the options describe. Opening the source may take long, and a signal, or `closing`, ends it.

    `on_wait` is told why a source that is waited for cannot be opened. A source that is not live has the networks of
    the `kit`, if there is one.
    """
    with interrupt.held():  # numpy makes another error of a signal that comes while it is imported
        from mixsynth_stream.pipeline.estimators.choose import DEFAULT_EYE, model_path, warm_up
        from mixsynth_stream.pipeline.sources.media.waiting import interruptible
        from mixsynth_stream.pipeline.sources.open import is_live
        from mixsynth_stream.pipeline.sources.recording.header import is_recording
        from mixsynth_stream.pipeline.stream import Stream

        if is_recording(source):
            return Stream.replay(source, is_paced=options.live)
    if options.pose_model:
        model_path(options.pose_model)  # a model that is not there is an error before the source is opened
    estimator = estimator_choice(options)
    models = kit.models if kit is not None else load_models(options) if options.weights else None
    warming = warm_up(estimator) if is_live(source) else None
    reader = open_reader(source, options, closing=closing, on_wait=on_wait)
    try:
        if reader.estimator is None:  # the import takes seconds on a slow disk, and no signal has to wait for it
            warming = warming or warm_up(estimator)
            interruptible(lambda: None if warming is None else warming.join())
        with interrupt.held():  # MediaPipe is started
            if kit is not None and reader.estimator is None and not reader.info.live:
                estimator = kit.estimator()
            return Stream(
                reader,
                every=options.every,
                budget=options.budget,
                lag=options.lag,
                horizon_s=options.horizon_s,
                max_people=options.max_people,
                estimator=estimator,
                eye=options.eye or DEFAULT_EYE,
                models=models,
                backend=options.backend,
                cuts=options.cuts,
                glance=glance_request(options),
                pictures=options.overlay or options.view is not None,
            )
    except BaseException:
        reader.close()
        raise


def open_reader(
    source: str,
    options: JobOptions,
    *,
    threads: int = 0,
    closing: threading.Event | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> FrameSource:
    """The reader of a source, as the options say; `threads`, `closing` and `on_wait` as in `LiveRequest`."""
    from mixsynth_stream.pipeline.sources.live.request import LiveRequest
    from mixsynth_stream.pipeline.sources.open import open_for_stream

    return open_for_stream(
        source,
        has_estimator=bool(options.estimates or options.pose_model),
        rate_hz=options.rate_hz,
        track=options.track,
        spool=options.spool,
        record=options.record,
        request=LiveRequest(
            size=options.size,
            rate_hz=options.rate_hz,
            mirror=options.mirror,
            wait=options.wait,
            is_paced=options.live,
            timeout_s=options.timeout_s,
            threads=threads,
            closing=closing,
            on_wait=on_wait,
        ),
    )


def glance_request(options: JobOptions) -> bool | None:
    """Whether people are followed between keyframes; None where the kind of source decides."""
    if options.glance == "auto":
        return True if options.overlay or options.view else None
    return options.glance == "on"


def first_frames(motions: Iterable[Motion], frames: int | None) -> Iterator[Motion]:
    """The Motions of the first `frames` frames, or all of them."""
    for motion in motions:
        if frames is None or motion.index < frames:
            yield motion
        if frames is not None and motion.final and motion.index >= frames - 1:
            return
