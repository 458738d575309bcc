"""FrameSource: what every source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mixsynth_stream.pipeline.frame import Frame, SourceEvent, VideoInfo
from mixsynth_stream.pipeline.sources.journal import Journal

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.estimators.estimator import Estimator
    from mixsynth_stream.pipeline.sources.sparse.plan import Needs

_EVENTS = 1000  # that wait for somebody to take them


class FrameSource(ABC):
    """An iterator of Frames in order of time, and a context manager.

    `counters` counts what was repaired or dropped. `estimator` is set by a source that knows its people, and `journal`
    by one that is recorded or replayed.
    """

    info: VideoInfo
    estimator: Estimator | None = None
    journal: Journal = Journal()

    def __init__(self) -> None:
        # A live source calls it, in a thread of its own, when `read` has something to give or to raise.
        self.on_news: Callable[[], None] = lambda: None
        self.counters: dict[str, int] = {}
        self._events: deque[SourceEvent] = deque(maxlen=_EVENTS)

    def _count(self, reason: str, number: int = 1) -> None:
        if number:  # one that never counted anything does not exist
            self.counters[reason] = self.counters.get(reason, 0) + number

    def events_before(self, frame: Frame | None) -> list[SourceEvent]:
        """Take what has happened to a live source before this frame, or while no frame came (None), in order."""
        events = []
        while self._events and (frame is None or self._events[0].index <= frame.index):
            events.append(self._events.popleft())
        return events

    @abstractmethod
    def __next__(self) -> Frame: ...

    @abstractmethod
    def close(self) -> None: ...

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame. StopIteration at the end. None where none came in time or `wake` was called first.

        Most sources know no time limit.
        """
        return next(self)

    def wake(self) -> None:  # noqa: B027  most sources never wait
        """End a `read` that waits in another thread, or the next one that would wait."""

    def stop(self) -> None:  # noqa: B027  most sources never wait
        """End a read that waits in another thread, where that is possible. Afterwards there is only `close`."""

    def end(self) -> None:  # noqa: B027  most sources are not recorded
        """The stream of this source, which is led beside others, has ended. What is recorded of it is complete."""

    def read_sparsely(self, needs: Needs) -> None:  # noqa: B027  most sources have every picture anyway
        """Leave out the decoding of pictures that nobody needs, where that is safe. Their frames come all the same."""

    def restart_needs(self, time_s: float) -> None:  # noqa: B027
        """After `read_sparsely`: keyframes are counted anew from this time on."""

    def now_s(self) -> float | None:
        """The present, on the clock that `time_s` runs on; None for a file, whose clock stands still."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
