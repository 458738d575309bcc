"""ReplayReader: a recording as a live source, with the same frames, events and answers as when it was made."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import part_path
from mixsynth_stream.pipeline.estimators.recorded import covers
from mixsynth_stream.pipeline.frame import Frame, SourceEvent
from mixsynth_stream.pipeline.sources.journal import Journal
from mixsynth_stream.pipeline.sources.pixels.pictures import ShapedFrames
from mixsynth_stream.pipeline.sources.recording.header import JOURNAL, info_of, library_versions, read_header
from mixsynth_stream.pipeline.sources.recording.lines import records
from mixsynth_stream.pipeline.sources.recording.pictures import RecordedPictures, is_of_pictures
from mixsynth_stream.pipeline.sources.recording.recorder import checksum
from mixsynth_stream.pipeline.sources.source import FrameSource

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion, Person

logger = logging.getLogger(__name__)

# The end of a recording that does not say how its stream ended.
_OVER: dict[str, Any] = {"end": "closed", "answers": []}


class ReplayJournal(Journal):
    """Gives the answers of a recording, in their order."""

    is_replay = True

    def __init__(self, folder: Path, versions: dict[str, str], *, is_led: bool) -> None:
        self._name = shown(folder)
        self._versions = versions
        self.is_led = is_led
        self.turn: dict[str, Any] = {"answers": []}
        self._next = 0
        self.is_idle = self._differs = False  # `is_idle`: nothing happens in this turn
        self.now_s: float | None = None
        self._index = 0  # of the newest frame
        self._later: list[Motion] = []  # what came after the end of the turn before

    def begin_turn(self, turn: dict[str, Any]) -> None:
        """The next turn of the loop, whose answers come."""
        self.turn, self._next, self.is_idle = turn, 0, False
        self._index = turn["frame"][0] if turn.get("frame") else self._index

    def idle(self) -> None:
        """A turn in which nothing happens."""
        self.is_idle = True

    @property
    def kind(self) -> str | None:
        """That of `step`, where this turn is one."""
        return None if self.is_idle else self.turn.get("step")

    def end_turn(self) -> None:
        """`SourceError` where the loop has left answers out."""
        if not self.is_idle and "end" not in self.turn and self._next < len(self.turn["answers"]):
            raise self._other_way()

    @property
    def has_more(self) -> bool:
        """Whether the recording knows what follows: it does not where its stream was ended early."""
        return not self.is_idle and ("end" not in self.turn or self._next < len(self.turn["answers"]))

    def ask(self, kind: str, answer: Callable[[], Any]) -> Any:
        if kind != "now":
            return self.take(kind)
        answers = self.turn["answers"]
        if self.has_more and self._next < len(answers):  # else the program was ended at this point
            self.now_s = self.take(kind)
        return self.now_s

    def take(self, kind: str) -> Any:
        """The next answer, to a question of this kind; None where `has_more` is False."""
        if not self.has_more:
            return None
        answers = self.turn["answers"]
        if self._next == len(answers) or answers[self._next][0] != kind:
            raise self._other_way()
        self._next += 1
        return answers[self._next - 1][1]

    def has_come(self, kind: str, count: int, is_now: bool) -> bool:
        answers = self.turn["answers"]
        is_next = not self.is_idle and self._next < len(answers) and answers[self._next] == [kind, count]
        self._next += is_next
        return is_next

    def check(self, motions: Sequence[Motion]) -> None:
        """Tell once where the Motions are not those of the recording."""
        if self.is_idle or self._differs or "motions" not in self.turn:
            return
        if self.kind is None:
            motions, self._later = [*self._later, *motions], []
        self._differs = self.turn["motions"] != [len(motions), checksum(motions)]
        if self._differs:
            logger.warning("%s", self._difference())

    def check_later(self, finals: Sequence[Motion]) -> None:
        self._later += finals

    def _difference(self) -> str:
        own = library_versions()
        others = [f"{name} {there}, {own[name]} here" for name, there in self._versions.items() if own[name] != there]
        cause = f"recorded with {'; '.join(others)}" if others else "the processor or the program is another one"
        return f"the poses differ from those that {self._name} was recorded with from frame {self._index} on ({cause})"

    def _other_way(self) -> SourceError:
        return SourceError(
            f"{self._name} cannot be replayed any further, because the stream went another way when it was recorded: "
            "replay it with the program and on the kind of machine that made it"
        )


class ReplayEstimator:
    """In the place of the estimator of a recording, whose answers the journal has."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.skeleton: str = facts["skeleton"]
        self.follows: bool = facts["follows"]
        self._spacing_s: float | None = facts["spacing_s"]

    def __call__(self, rgb: Any, time_s: float, **_: Any) -> list[Person]:
        raise AssertionError("a replay asks no estimator")

    def covers(self, step_s: float) -> bool:
        """As that of recorded estimates; others cover all."""
        return self._spacing_s is None or covers(self._spacing_s, step_s)

    def forget(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to free."""


class ReplayReader(FrameSource):
    """The frames that the stream of a recording took, as it took them; at their own pace where it `is_paced`.

    A recording that was cut off ends where it ends. `SourceError` for one of another version, and at damage.
    """

    def __init__(self, folder: Path, *, is_paced: bool = False) -> None:
        super().__init__()
        self._folder = folder
        self.header = read_header(folder)
        self.info = info_of(self.header)
        self.estimator = ReplayEstimator(self.header["estimator"])
        self.journal: ReplayJournal = ReplayJournal(folder, self.header["versions"], is_led=self.header["is_led"])
        self._pictures = RecordedPictures(folder)
        self._frames = ShapedFrames()
        self._turns = self._read_turns()
        self._waiting: dict[str, Any] | None = None  # a turn whose time has not come
        self._is_paced = is_paced
        self._start_s: float | None = None
        self._closed = threading.Event()

    def __next__(self) -> Frame:
        frame = None
        while frame is None:
            frame = self.read(1.0)
        return frame

    def read(self, timeout_s: float) -> Frame | None:
        try:
            return self._read(timeout_s)
        except SourceError:
            if "end" not in self.journal.turn:
                self.journal.begin_turn(_OVER)
            raise

    def _read(self, timeout_s: float) -> Frame | None:
        self.journal.end_turn()
        turn = self._waiting or next(self._turns, None)
        if turn is None or self._closed.is_set():
            raise StopIteration
        if self._is_paced and not self._has_come(turn, timeout_s):
            self._waiting = turn
            self.journal.idle()
            return None
        self._waiting = None
        self.journal.begin_turn(turn)
        self.counters.update(turn.get("counters", {}))
        self._events.extend(SourceEvent(*event) for event in turn.get("events", []))
        if "end" in turn:
            if turn["end"] == "failed":
                raise SourceError(turn["about"])
            raise StopIteration
        if turn["frame"] is None:
            return None
        index, number, time_s, received_s = turn["frame"]
        picture, shape = self._pictures.picture(number)
        return self._frames.frame(picture, shape, index, time_s, received_s=received_s)

    def now_s(self) -> float | None:
        """The present when the recording was made."""
        return self.journal.now_s

    def close(self) -> None:
        self._closed.set()
        self._pictures.close()

    def _has_come(self, turn: dict[str, Any], timeout_s: float) -> bool:
        """Wait until the time of a turn; False where that takes longer than `timeout_s`."""
        at_s = next((value for kind, value in turn["answers"] if kind == "now"), None)
        if at_s is None:
            return True
        if self._start_s is None:
            self._start_s = time.perf_counter() - at_s
        rest_s = self._start_s + at_s - time.perf_counter()
        self._closed.wait(max(0.0, min(rest_s, timeout_s)))
        return rest_s <= timeout_s

    def _read_turns(self) -> Iterator[dict[str, Any]]:
        """The turns of the journal. What pictures need goes to them on the way."""
        path = self._folder / JOURNAL
        last_s = 0.0
        try:
            for record in records(path if path.is_file() else part_path(path)):
                if is_of_pictures(record):
                    self._pictures.add(record)
                    continue
                last_s = record["frame"][2] if record.get("frame") else last_s
                yield record
                if "end" in record:
                    return
        except OSError as error:
            raise SourceError(f"{shown(path)} cannot be read ({error.strerror}): copy the whole recording") from None
        logger.warning("%s was cut off, and is replayed up to %.3f s, as far as it goes", shown(self._folder), last_s)
        yield _OVER
