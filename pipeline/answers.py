"""Answers: looks and the budget of a live stream, kept in a journal or given by it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.budget import Budget
from mixsynth_stream.pipeline.looks import LOOK_LIMIT_S, HangsError, Look, Looks
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.journal import Journal
from mixsynth_stream.pipeline.sources.recording.recorder import RecordingJournal
from mixsynth_stream.pipeline.sources.recording.replay import ReplayJournal

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.several.sharing import SharedLooks
    from mixsynth_stream.pipeline.stats import StreamStats


def looks_of(journal: Journal, stats: StreamStats, **options: Any) -> Looks | SharedLooks:
    """The looks of a stream with this journal; `options` are those of `Looks`."""
    if isinstance(journal, ReplayJournal):
        return ReplayedLooks(journal, stats)
    return kept(journal, Looks(**options))


def kept(journal: Journal, looks: Looks | SharedLooks) -> Looks | SharedLooks:
    """These looks, whose outcomes are kept where the journal is that of a recording."""
    return RecordedLooks(journal, looks) if isinstance(journal, RecordingJournal) else looks


@dataclass(frozen=True)
class JournalBudget(Budget):
    """A Budget whose measured rate is an answer."""

    journal: Journal | None = None

    def hz(self, seconds: float, calls: int) -> float:
        assert self.journal is not None
        return float(self.journal.ask("hz", lambda: Budget.hz(self, seconds, calls)))


def budget_of(journal: Journal, budget: Budget | None) -> Budget | None:
    """The budget; where it is measured, as `journal` knows it."""
    if budget is None or budget.core_share is None:
        return budget
    return JournalBudget(budget.calls_hz, budget.core_share, journal)


class RecordedLooks(Looks):
    """Looks whose outcomes are kept. What else can be seen of them is how many are left, which is kept, too."""

    def __init__(self, journal: RecordingJournal, looks: Looks | SharedLooks) -> None:
        super().__init__()
        self._journal = journal
        self._inner = looks

    def begin(self, frame: Frame, call: Callable[[], list[Person]]) -> Look:
        return self._inner.begin(frame, call)

    @property
    def is_busy(self) -> bool:
        is_busy = self._inner.is_busy
        self._journal.note("busy", [is_busy, len(self._inner.frames)])
        return is_busy

    @property
    def frames(self) -> list[Frame]:
        return self._inner.frames

    def ended(self) -> list[Look]:
        return self._kept("ended", self._inner.ended())

    def last(self, patience_s: float = LOOK_LIMIT_S) -> list[Look]:
        return self._kept("last", self._inner.last(patience_s))

    def cancel(self, looks: Container[Look] | None = None) -> list[Look]:
        left_out = self._inner.cancel(looks)
        self._journal.note("cancel", [len(left_out), len(self._inner.frames)])
        return left_out

    def now(self, frame: Frame, call: Callable[[], list[Person]]) -> list[Person]:
        look = Look(frame, call, begun_s=time.perf_counter())
        try:
            look.people = call()
            return look.people
        except Exception as error:  # a user's estimator may raise anything
            look.error = error
            raise
        finally:
            look.ended_s = time.perf_counter()
            self._kept("look", [look])

    def close(self, patience_s: float = 1.5) -> bool:
        return self._inner.close(patience_s)

    def _kept(self, kind: str, looks: list[Look]) -> list[Look]:
        clock_s = self._journal.start_s
        self._journal.note(kind, [[_record(look, clock_s) for look in looks], len(self._inner.frames)])
        return looks


class ReplayedLooks(Looks):
    """Looks that end as they did when they were recorded."""

    def __init__(self, journal: ReplayJournal, stats: StreamStats) -> None:
        super().__init__()
        self._journal = journal
        self._stats = stats

    def begin(self, frame: Frame, call: Callable[[], list[Person]]) -> Look:
        self._looks.append(Look(frame, call))
        return self._looks[-1]

    @property
    def is_busy(self) -> bool:
        is_busy, left = self._journal.take("busy") or [True, len(self._looks)]
        self._keep(left)
        return bool(is_busy)

    @property
    def frames(self) -> list[Frame]:
        return [look.frame for look in self._looks]

    def ended(self) -> list[Look]:
        return self._taken("ended")

    def last(self, patience_s: float = LOOK_LIMIT_S) -> list[Look]:
        return self._taken("last")

    def cancel(self, looks: Container[Look] | None = None) -> list[Look]:
        _, left = self._journal.take("cancel") or [0, len(self._looks)]
        return self._keep(left)

    def now(self, frame: Frame, call: Callable[[], list[Person]]) -> list[Person]:
        self._looks.appendleft(Look(frame, call))
        looks = self._taken("look")
        error = looks[0].error if looks else RuntimeError("the recording ends before this look")
        if error is not None:
            raise error
        return looks[0].people or []

    def close(self, patience_s: float = 1.5) -> bool:
        return True

    def _taken(self, kind: str) -> list[Look]:
        records, left = self._journal.take(kind) or [[], len(self._looks)]
        looks = [_look(self._looks.popleft().frame, record) for record in records]
        self._keep(left)
        self._stats.estimator_calls += len(looks)
        return looks

    def _keep(self, left: int) -> list[Look]:
        """Keep so many; returns the others, which had not begun when they were left out."""
        left_out = [self._looks.pop() for _ in range(len(self._looks) - left)]
        return left_out[::-1]


def _record(look: Look, clock_s: float) -> dict[str, Any]:
    """What came of a look, for JSON. Times are on the clock of the source."""
    times = {
        name: None if at_s is None else at_s - clock_s
        for name, at_s in (("begun_s", look.begun_s), ("ended_s", look.ended_s))
    }
    outcome: dict[str, Any]
    if look.error is None:
        outcome = {"people": [_person_record(person) for person in look.people or []]}
    else:
        outcome = {"error": [_kind_of(look.error), type(look.error).__name__, str(look.error)]}
    return {"frame": look.frame.index, **times, **outcome}


def _look(frame: Frame, record: dict[str, Any]) -> Look:
    look = Look(frame, list)
    if "error" in record:
        look.error = _error(*record["error"])
    else:
        look.people = [_person(values) for values in record["people"]]
    return look


# What a stream tells apart of an estimator's errors.
_KINDS: dict[str, type[Exception]] = {"hangs": HangsError, "model": ModelError, "other": Exception}


def _kind_of(error: Exception) -> str:
    return next(kind for kind, its_type in _KINDS.items() if isinstance(error, its_type))


def _error(kind: str, name: str, text: str) -> Exception:
    """An error that the stream takes as it took the recorded one, with the same words."""
    return type(name, (_KINDS[kind],), {})(text)


def _person_record(person: Person) -> dict[str, Any]:
    """A Person for JSON: arrays as (type, shape, bytes), so that they come back bit for bit."""
    record: dict[str, Any] = {}
    for field in fields(Person):
        value = getattr(person, field.name)
        if isinstance(value, np.ndarray):
            value = [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]
        record[field.name] = value if value is None or isinstance(value, list) else int(value)
    return record


def _person(record: dict[str, Any]) -> Person:
    values = {}
    for name, value in record.items():
        if isinstance(value, list):
            dtype, shape, text = value
            value = np.frombuffer(base64.b64decode(text), np.dtype(dtype)).reshape(shape).copy()
        values[name] = value
    return Person(**values)
