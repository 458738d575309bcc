"""`process_together`: several live sources at the same time, each into a folder of its own.

In a script: `process_together(["rtsp://a", "webcam:0"], [Path("out/a"), Path("out/b")], JobOptions())`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.console import open_descriptors, say, shown
from mixsynth_stream.errors import OutputError
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.board import Board
from mixsynth_stream.job.lock import FolderLock
from mixsynth_stream.job.models import estimator_choice, load_models
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import Outputs, ViewClosed, check_folder, open_outputs, open_page
from mixsynth_stream.job.process import JobResult, glance_request, open_reader
from mixsynth_stream.job.senders import Senders
from mixsynth_stream.memory import rare_collections

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.several.streams import Streams
    from mixsynth_stream.pipeline.sources.source import FrameSource
    from mixsynth_stream.viewer.web.view import WebView


class JobsInterrupted(KeyboardInterrupt):
    """The user has ended several jobs; `results` are what they had come to."""

    def __init__(self, results: list[JobResult]) -> None:
        super().__init__()
        self.results = results


def process_together(
    sources: Sequence[str],
    folders: Sequence[Path],
    options: JobOptions,
    *,
    on_error: Callable[[Exception], None] = lambda error: None,
) -> list[JobResult]:
    """Live sources from their first frames to their last, or to Ctrl-C, with one estimator for all.

    One that cannot be opened, or breaks, is told to `on_error` and has no result, or what it came to; the others go on.
    A window shows the first source, a page the one that its user chooses. Recordings (`options.record`) lie side by
    side, named as the folders of results. Raises `ModelError`, `ValueError`, `OutputError` where a folder cannot be
    used, and `JobsInterrupted`; what was written before an error stays readable.
    """
    open_descriptors()
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        for source, folder in zip(sources, folders, strict=True):
            stack.enter_context(FolderLock(folder))
            with interrupt.held():  # for the imports
                check_folder(source, folder, options)
        with interrupt.held():
            page = stack.enter_context(open_page(sources[0], options, sources[1:]))
            senders = stack.enter_context(Senders(sources, options))
        closing = threading.Event() if page is None else page.closing
        recordings = None if options.record is None else _recordings(options.record, folders, stack)
        streams = stack.enter_context(_open_streams(sources, options, interrupt, closing, senders, recordings))
        stack.callback(closing.set)  # nobody waits any more for a source that is not there yet
        board = stack.enter_context(Board([shown(name) for name in sources], streams.streams, shown=options.progress))
        job = stack.enter_context(
            _Together(streams, sources, folders, options, interrupt, board, senders, page, on_error)
        )
        if options.view == "window":
            say(f"the window shows the first of {len(sources)} sources: --view web shows any of them")
        try:
            with rare_collections(), contextlib.suppress(ViewClosed):
                job.run()
                return job.results()
            closing.set()
            job.write_finals()
        except KeyboardInterrupt as stop:
            closing.set()
            job.write_finals()
            raise JobsInterrupted(job.results()) from stop
        return job.results()


class _Part:
    """One source of several, once it is open: its outputs, and what came of it."""

    def __init__(self, result: JobResult) -> None:
        self.result = result
        self.outputs: Outputs | None = None
        self.stack = contextlib.ExitStack()
        self.start_s = time.perf_counter()

    def end(self, error: BaseException | None = None) -> OutputError | None:
        """Complete the files, once. Returns why that cannot be done."""
        if self.outputs is None:
            return None
        self.outputs = None
        self.result.seconds = time.perf_counter() - self.start_s
        try:
            self.stack.__exit__(None if error is None else type(error), error, None)
        except OutputError as failure:
            return failure
        return None


class _Together:
    """The Motions of several sources on their way into their outputs."""

    def __init__(
        self,
        streams: Streams,
        sources: Sequence[str],
        folders: Sequence[Path],
        options: JobOptions,
        interrupt: Interrupt,
        board: Board,
        senders: Senders,
        page: WebView | None,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._streams = streams
        self._page = page
        self._sources, self._folders, self._options = sources, folders, options
        self._interrupt, self._board, self._senders, self._on_error = interrupt, board, senders, on_error
        self._parts: dict[int, _Part] = {}
        streams.release = interrupt.released
        streams.on_event = self._tell
        streams.on_wait = self._wait
        streams.on_end = self._end

    def __enter__(self) -> _Together:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        with self._interrupt.held():
            for number in list(self._parts):
                self._end(number, error if isinstance(error, Exception) else None, is_told=False)

    def run(self) -> None:
        """Every Motion of every source. What fails is told, and the others go on."""
        motions = iter(self._streams.motions())
        limit = self._options.limit_frames
        while True:
            with self._interrupt.held():  # the streams let a signal through while they wait
                number, motion = next(motions, (-1, None))
                if motion is None:
                    return
                part = self._part(number)
                if limit is None or motion.index < limit:
                    self._write(number, part, motion)
            if part.outputs is not None and part.outputs.has_closed_view:
                raise ViewClosed
            if limit is not None and motion.final and motion.index >= limit - 1:
                self._streams.stop(number)
            self._board.see(number, motion)

    def results(self) -> list[JobResult]:
        """What the sources that were open came to."""
        return [part.result for _, part in sorted(self._parts.items())]

    def write_finals(self) -> None:
        """Write the finals of frames that were only provisional when the loop ended."""
        with self._interrupt.held():
            for number, motion in self._streams.close():
                self._write(number, self._part(number), motion)
            for number in list(self._parts):
                self._end(number, None)

    def _part(self, number: int) -> _Part:
        """The part of a source, with its outputs opened when it is first needed."""
        if number not in self._parts:
            stream = self._streams.streams[number]
            assert stream is not None
            folder = self._folders[number]
            part = _Part(
                JobResult(self._sources[number], stream.info, stream.stats, stream.models, folder, score=stream.score)
            )
            self._parts[number] = part
            options, senders = self._options, self._senders
            try:
                with self._interrupt.held():
                    sinks = open_outputs(stream, folder, options, page=self._page, senders=senders, number=number)
                    part.outputs = part.stack.enter_context(Outputs(sinks, folder, self._interrupt))
            except OutputError as error:
                self._fail(number, error)
        return self._parts[number]

    def _write(self, number: int, part: _Part, motion: Motion) -> None:
        if part.outputs is None:
            return  # it has ended
        start_s = time.perf_counter()
        try:
            part.outputs.write(motion)
        except OutputError as error:
            self._fail(number, error)
            return
        part.result.output_seconds += time.perf_counter() - start_s
        part.result.count(motion)

    def _fail(self, number: int, error: OutputError) -> None:
        """A source whose results cannot be written ends; the others go on."""
        self._streams.stop(number)
        self._parts[number].end(error)
        self._senders.end(number, error)
        self._on_error(error)

    def _tell(self, number: int, event: SourceEvent) -> None:
        self._board.tell_of(number, event)
        outputs = self._part(number).outputs
        if outputs is not None:
            outputs.tell(event)

    def _wait(self, number: int) -> None:
        self._board.draw_if_due()
        outputs = self._part(number).outputs
        if outputs is not None:
            outputs.wait()

    def _end(self, number: int, error: Exception | None, *, is_told: bool = True) -> None:
        """Complete the files of a source that has ended."""
        self._board.end(number)
        is_open = self._streams.streams[number] is not None
        failure = self._part(number).end(error) if is_open else None
        self._senders.end(number, error or failure)
        if self._page is not None:
            reason = error or failure
            self._page.end(number, None if reason is None else str(reason))
        for one in (error, failure):
            if one is not None and is_told:
                self._on_error(one)


def _recordings(folder: Path, folders: Sequence[Path], stack: contextlib.ExitStack) -> list[Path]:
    """The folder of each source's recording, below one that is new or empty. `OutputError` for others."""
    from mixsynth_stream.pipeline.sources.recording.header import refuse_used

    refuse_used(folder)
    stack.callback(_remove_empty, folder)
    return [folder / results.name for results in folders]


def _remove_empty(folder: Path) -> None:
    """Remove a folder that no recording has come into."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _open_streams(
    sources: Sequence[str],
    options: JobOptions,
    interrupt: Interrupt,
    closing: threading.Event,
    senders: Senders,
    recordings: Sequence[Path] | None,
) -> Streams:
    """The Streams that the options describe. They open their sources in threads."""

    def open_one(source: str, record: Path | None = None) -> FrameSource:
        of_one, on_wait = replace(options, record=record), partial(senders.not_open, source)
        return open_reader(source, of_one, threads=1, closing=closing, on_wait=on_wait)

    with interrupt.held():  # numpy makes another error of a signal that comes while it is imported
        from mixsynth_stream.pipeline.estimators.bundle import bundle_path
        from mixsynth_stream.pipeline.estimators.choose import DEFAULT_EYE
        from mixsynth_stream.pipeline.several.streams import Streams

        if options.pose_model:
            bundle_path(options.pose_model)  # a model that is not there is an error before sources are opened

        return Streams(
            sources,
            every=options.every,
            budget=options.budget,
            lag=0 if options.lag is None else options.lag,
            horizon_s=options.horizon_s,
            max_people=options.max_people,
            estimator=estimator_choice(options),
            eye=options.eye or DEFAULT_EYE,
            models=load_models(options) if options.weights else None,
            backend=options.backend,
            cuts=options.cuts,
            glance=glance_request(options),
            pictures=options.overlay or options.view is not None,
            open_with=open_one,
            record=recordings,
        )
