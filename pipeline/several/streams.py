"""Streams: the motion before several cameras in one process. One estimator and one call of each network serve all."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.pipeline.arguments import check_numbers, default_every, networks
from mixsynth_stream.pipeline.budget import Budget
from mixsynth_stream.pipeline.estimators.choose import DEFAULT_EYE
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.looks import Looks
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.several.member import Member
from mixsynth_stream.pipeline.several.sharing import SharedEstimator
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.pipeline.steps import Keyframes, push_keyframes, result_of
from mixsynth_stream.spaces import SPACES
from mixsynth_stream.weights import Model

# Where nothing comes from anywhere, estimators that hang and sources that give nothing are looked after so often.
_PATIENCE_S = 0.5
# Closing waits so long for an estimator at work and for sources.
_CLOSE_S = 1.5
# What follows from a look takes as long as some frames do: where frames wait, it comes after so many at the soonest.
_FRAMES_A_LOOK = 8
# Glances of all sources end where they take more than this share of a core.
_GLANCE_SHARE = 0.5


class Streams:
    """The motion of everybody before several live sources: `for number, motion in Streams(["rtsp://a", "webcam:0"])`.

    `number` counts the sources from 0. Each has a Stream of its own (`streams`, None until it is open, with `stats`,
    `score` and `at()`), people with ids of their own, and a clock of its own. They are opened at the same time, and
    none waits for another: one that cannot be opened, or is given up, has its error in `errors`, and the others go on.
    All share one estimator, in one thread. Where several sources need a look, the one whose poses are off most by now
    comes first, and those where nobody moves come in turn. Keyframes whose people are known at the same time share one
    call of each network.

    The arguments are those of `Stream`. `estimator` may be a list of one for each source; it has to be where it follows
    people from call to call by itself. A share of a core as `budget` is for all sources together, and calls a second
    are for each. `record` is a list of new folders, one for each source, and `Stream.replay` plays each again.
    `open_with(source)` opens a source in another way than by its name, with `record=` its folder where it is recorded.
    Files are refused, because they would be read as fast as possible: play them as live.

    Functions as attributes are called in the loop, with the source's number first: `on_event` as of a Stream,
    `on_wait` twice a second while the source gives nothing, and `on_end` when it has ended, with its error or None.
    `release` is as of a Stream.
    """

    on_event: Callable[[int, SourceEvent], None] = staticmethod(lambda number, event: None)
    on_wait: Callable[[int], None] = staticmethod(lambda number: None)
    on_end: Callable[[int, Exception | None], None] = staticmethod(lambda number, error: None)
    release: Callable[[], AbstractContextManager[None]] = nullcontext

    def __init__(
        self,
        sources: Sequence[Any],
        *,
        every: int | str | None = None,
        budget: float | str | None = None,
        lag: int = 0,
        horizon_s: float = 0.4,
        max_people: int = 4,
        max_silence_s: float = 1.0,
        estimator: Any = None,
        eye: str = DEFAULT_EYE,
        models: Sequence[Model] | Model | None = None,
        backend: str = "auto",
        cuts: bool = True,
        glance: bool | None = None,
        pictures: bool = True,
        open_with: Callable[..., FrameSource] | None = None,
        record: Sequence[str | Path] | None = None,
    ) -> None:
        if isinstance(sources, (str, bytes)) or not len(sources):
            raise ValueError(f"sources must be a list of one or more, found {sources!r}")
        self._folders = _folders(record, len(sources))
        self.streams: list[Member | None] = [None] * len(sources)
        self.errors: dict[int, Exception] = {}
        self._names = [str(source) for source in sources]
        self._news: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # numbers of sources; None: of the estimator
        self._opened: queue.SimpleQueue[tuple[int, FrameSource | Exception]] = queue.SimpleQueue()
        self._to_open = len(sources)
        self._is_closed = False
        self._frames_since_look = 0
        self._estimator: SharedEstimator | None = None
        self._looks = Looks(renew=self._renew, on_end=partial(self._news.put, None))
        self._ending: list[threading.Thread] = []  # what is waited for at the end
        self._open_all(sources, open_with or _open_live)
        try:
            every = default_every(models, glance, live=True) if every is None else every
            self._options: dict[str, Any] = {
                "every": every,
                "budget": _part(budget, len(sources)),
                "lag": lag,
                "horizon_s": horizon_s,
                "max_people": max_people,
                "max_silence_s": max_silence_s,
                "models": networks(models, every, backend),
                "cuts": cuts,
                "glance": glance,
                "pictures": pictures,
            }
            check_numbers(lag, max_people, horizon_s)
            self._estimator = SharedEstimator(
                estimator,
                len(sources),
                SPACES[self._options["models"][0].info.space].skeleton.name,
                max_people=max_people,
                eye=eye,
            )
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[tuple[int, Motion]]:
        """Every Motion of every source, until all have ended. Then SourceError, if one of them failed.

        The picture `motion.frame.rgb` of a final Motion is released when the loop goes on to the next one.
        """
        yield from self.motions()
        if self.errors:
            texts = "; ".join(str(error) for _, error in sorted(self.errors.items()))
            raise SourceError(f"{len(self.errors)} of {len(self.streams)} sources failed: {texts}")

    def motions(self) -> Iterator[tuple[int, Motion]]:
        """The same, for who looks into `errors` instead."""
        for number, motion in self._motions():
            yield number, motion
            if motion.final and motion.frame is not None:
                motion.frame.release()

    def stop(self, number: int) -> None:
        """End one source; what it has given comes out, and the others go on."""
        member = self.streams[number]
        if member is not None:
            self._ending.append(member.stop())

    def close(self) -> list[tuple[int, Motion]]:
        """Release all sources and the estimator; safe to call twice. Returns the Motions not handed out yet."""
        was_closed, self._is_closed = self._is_closed, True
        readers = self._opened_readers()
        motions = []
        for number, member in enumerate(self.streams):
            if member is not None:
                if not member.is_over:
                    member.end()
                    readers.append(member.reader)
                motions += [(number, motion) for motion in member.due()]
        closings = [threading.Thread(target=reader.close, name="close", daemon=True) for reader in readers]
        for closing in closings:
            closing.start()
        closings += self._ending
        end_s = time.perf_counter() + _CLOSE_S
        is_idle = self._looks.close(_CLOSE_S)
        for closing in closings:
            closing.join(max(0.0, end_s - time.perf_counter()))
        if is_idle and not was_closed and self._estimator is not None:
            self._estimator.close()
        return motions

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_all(self, sources: Sequence[Any], open_with: Callable[..., FrameSource]) -> None:
        """Open each source in a thread of its own."""
        for number, (source, folder) in enumerate(zip(sources, self._folders, strict=True)):
            opener = partial(open_with, source, **({} if folder is None else {"record": folder}))
            opening = threading.Thread(target=self._open, args=(number, opener), name="open", daemon=True)
            opening.start()
            if folder is not None:  # where nothing is opened, the thread removes the folder
                self._ending.append(opening)

    def _open(self, number: int, opener: Callable[[], FrameSource]) -> None:
        """Open a source, in a thread of its own."""
        try:
            self._opened.put((number, opener()))
        except Exception as error:  # whatever it is, it is this source's
            self._opened.put((number, error))
        self._news.put(number)
        if self._is_closed:
            for reader in self._opened_readers():
                reader.close()

    def _opened_readers(self) -> list[FrameSource]:
        """Take the readers that nobody has taken."""
        readers = []
        while not self._opened.empty():
            reader = self._opened.get()[1]
            if isinstance(reader, FrameSource):
                readers.append(reader)
        return readers

    def _renew(self) -> bool:
        """The estimator hangs: whether there is a new one."""
        is_new = self._estimator is not None and self._estimator.renew()
        for member in self.streams:
            if member is not None and is_new:
                member.renew()
        return is_new

    def _motions(self) -> Iterator[tuple[int, Motion]]:
        """The loop: what the estimator has seen comes first, then a frame of each source that has one."""
        ready: set[int] = set()
        checked_s = time.perf_counter()
        while not self._is_closed and (self._to_open or self._running()):
            self._take_news(ready)
            self._take_in_opened()
            self._take_answers()
            for number, member in self._running():
                yield from self._hand_out(number, member)
                has_frame = number in ready and member.take_frame()
                self._frames_since_look += has_frame
                if not has_frame:
                    ready.discard(number)
                if not ready or self._frames_since_look >= _FRAMES_A_LOOK:
                    self._begin_look()
                yield from self._hand_out(number, member)
                if has_frame:
                    member.add_finals()
                    yield from self._hand_out(number, member)
                if member.has_ended:
                    yield from self._end(number, member)
            if time.perf_counter() - checked_s >= _PATIENCE_S:
                checked_s = time.perf_counter()
                self._look_after(ready)

    def _running(self) -> list[tuple[int, Member]]:
        return [(number, one) for number, one in enumerate(self.streams) if one is not None and not one.is_over]

    def _take_news(self, ready: set[int]) -> None:
        """Wait for news, unless some source may have a frame, and take them all."""
        with suppress(queue.Empty):
            with self.release():
                number = self._news.get(block=not ready, timeout=_PATIENCE_S)
            while True:
                if number is not None:
                    ready.add(number)
                number = self._news.get_nowait()

    def _take_in_opened(self) -> None:
        """Begin the streams of the sources that are open now."""
        while not self._opened.empty():
            number, reader = self._opened.get()
            self._to_open -= 1
            name = self._names[number]
            if isinstance(reader, FrameSource) and not reader.info.live:
                reader.close()
                reader = SourceError(f"{name} is a file, which is read alone: play it as live (--live)")
            if isinstance(reader, Exception):
                self.errors[number] = reader
                self.on_end(number, reader)
            elif self._estimator is not None:
                share = _GLANCE_SHARE / len(self._names)
                try:
                    member = Member(number, reader, self._looks, self._estimator, glance_share=share, **self._options)
                except OutputError as error:  # of its recording
                    self.errors[number] = error
                    self.on_end(number, error)
                    continue
                member.on_event = partial(self._tell, number)
                reader.on_news = partial(self._news.put, number)
                self._news.put(number)  # for the frames that have come already
                self.streams[number] = member

    def _take_answers(self) -> None:
        """Take what the estimator has seen, in one call of each network for all sources."""
        self._looks.ended()
        rows = [(member, member.answers()) for _, member in self._running()]
        while rows:
            rounds = [(member, answers, next(answers, None)) for member, answers in rows]
            rows = [(member, answers) for member, answers, steps in rounds if steps is not None]
            taken = [(member, steps) for member, _, steps in rounds if steps is not None]
            batches = [next(steps) for _, steps in taken]
            start_s = time.perf_counter()
            refusals = self._pushed(batches)
            part_s = (time.perf_counter() - start_s) / max(1, len(taken))
            for (member, steps), refusal in zip(taken, refusals, strict=True):
                member.stats.seconds["network"] += part_s
                if refusal is None:
                    member.take(result_of(steps))
                else:
                    member.fail(refusal)

    def _pushed(self, batches: Sequence[Keyframes]) -> list[ValueError | None]:
        """The first refusal of each stream's keyframes, pushed.

        Only the native encoder gives a window the same bits beside any others, which a replay of one stream needs.
        """
        if self._folders[0] is not None and any(model.backend != "native" for model in self._options["models"]):
            return [push_keyframes([batch])[0] for batch in batches]
        return push_keyframes(batches)

    def _begin_look(self) -> None:
        """Where the estimator is free: the look that is needed most."""
        if self._looks.is_working:
            return
        needs = [(need, number) for number, member in self._running() if (need := member.need) is not None]
        if needs:
            member = self.streams[max(needs)[1]]
            assert member is not None
            member.begin_look()
            self._frames_since_look = 0

    def _hand_out(self, number: int, member: Member) -> Iterator[tuple[int, Motion]]:
        for motion in member.due():
            yield number, motion

    def _end(self, number: int, member: Member) -> Iterator[tuple[int, Motion]]:
        """What is left of a source that has ended, and its error."""
        member.end()
        yield from self._hand_out(number, member)
        self.stop(number)
        if member.failure is not None:
            self.errors[number] = member.failure
        self.on_end(number, member.failure)

    def _look_after(self, ready: set[int]) -> None:
        """Ask sources that give nothing, which may hang, and say so."""
        for number, member in self._running():
            if number not in ready:
                ready.add(number)
                if member.is_silent():
                    self.on_wait(number)

    def _tell(self, number: int, event: SourceEvent) -> None:
        self.on_event(number, event)


def _open_live(source: Any, record: Path | None = None) -> FrameSource:
    """A source by its name. Several of them keep the cores busy: each picture is decoded by one thread."""
    return open_source(source, request=LiveRequest(threads=1), record=record)


def _folders(record: Sequence[str | Path] | None, sources: int) -> list[Path] | list[None]:
    """The folder of each source's recording; None where it has none."""
    if record is None:
        return [None] * sources
    if isinstance(record, (str, bytes)) or len(set(record)) != sources:
        raise ValueError(f"record must be a list of {sources} folders, one for each source, found {record!r}")
    return [Path(folder) for folder in record]


def _part(budget: float | str | None, sources: int) -> float | str | None:
    """The budget of one source: its part of a core, or as many calls a second as each may make."""
    core_share = None if budget is None else Budget.of(budget, live=True).core_share
    return budget if core_share is None else f"{100 * core_share / sources}%"
