"""RecordedReader: a live source whose packets are kept in a folder, with all that its stream learns meanwhile."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.pipeline.frame import Frame, SourceEvent
from mixsynth_stream.pipeline.sources.journal import Journal
from mixsynth_stream.pipeline.sources.live.tap import Tap
from mixsynth_stream.pipeline.sources.recording.codec import parameters_of
from mixsynth_stream.pipeline.sources.recording.header import write_header
from mixsynth_stream.pipeline.sources.recording.store import Store
from mixsynth_stream.pipeline.sources.source import FrameSource

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.sources.capture import LiveReader
    from mixsynth_stream.pipeline.sources.pixels.pictures import Shape

# FFmpeg passes pointers in these packets, which mean nothing in a file.
_POINTERS = ("wrapped_avframe",)


class PacketTap(Tap):
    """Puts packets and the shapes of pictures into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._start_s = time.perf_counter()
        self._shape: Shape | None = None
        self._pictures = 0
        self._extradata: bytes | None = None

    def opened(self, stream: av.VideoStream) -> None:
        context = stream.codec_context
        if context.codec.canonical_name in _POINTERS:
            self._store.stop(f"packets of {context.codec.canonical_name} cannot be kept")
        context.open(strict=False)  # now the number of threads is known
        self._extradata = context.extradata
        unit = stream.time_base
        self._store.put({"opened": parameters_of(context), "unit_s": None if unit is None else str(unit)})

    def packet(self, packet: av.Packet | None, received_s: float) -> None:
        at_s = received_s - self._start_s
        if packet is None:
            self._store.put({"flush": True, "at_s": at_s})
            return
        if not packet.size:
            return
        record: dict[str, Any] = {"pts": packet.pts, "dts": packet.dts, "at_s": at_s}
        if packet.is_discard:
            record["is_hidden"] = True
        if packet.has_sidedata("new_extradata"):
            extradata = bytes(packet.get_sidedata("new_extradata"))
            if extradata != self._extradata:
                self._extradata = extradata
                record["extradata"] = base64.b64encode(extradata).decode()
        self._store.put(record, bytes(packet))

    def picture(self, shape: Shape) -> None:
        if shape != self._shape:
            self._shape = shape
            self._store.put({"shape": [shape.width, shape.matrix], "picture": self._pictures})
        self._pictures += 1


class RecordingJournal(Journal):
    """Keeps the answers of each turn of the loop as one line: a frame, or none, and what follows."""

    def __init__(self, store: Store, source: LiveReader) -> None:
        self._store = store
        self._source = source
        self.has_begun = False
        self._turn: dict[str, Any] | None = None
        self._is_whole = False  # whether the loop has come to the end of the turn
        self._later: list[Motion] = []  # what came after the end of the turn before

    def begin(self, settings: Mapping[str, Any]) -> None:
        self.has_begun = True
        self.is_led = bool(settings["is_led"])
        try:
            write_header(self._store.folder, self._source.info, dict(settings))
        except OutputError as error:
            self._store.stop(str(error))

    def ask(self, kind: str, answer: Callable[[], Any]) -> Any:
        value = answer()
        self.note(kind, value)
        return value

    @property
    def folder(self) -> Path:
        """The folder of the recording."""
        return self._store.folder

    @property
    def start_s(self) -> float:
        """When the clock of the source began, on that of `time.perf_counter`."""
        return time.perf_counter() - (self._source.now_s() or 0.0)

    def note(self, kind: str, value: Any) -> None:
        """Keep an answer."""
        if self._turn is not None:
            self._turn["answers"].append([kind, value])

    def has_come(self, kind: str, count: int, is_now: bool) -> bool:
        if is_now:
            self.note(kind, count)
        return is_now

    def step(self, kind: str) -> None:
        self.begin_turn({"frame": None, "step": kind})
        self.ask("now", self._source.now_s)

    def check(self, motions: Sequence[Motion]) -> None:
        if self._turn is not None:
            if "step" not in self._turn:  # a look may begin before these come, or after
                motions, self._later = [*self._later, *motions], []
            self._turn["motions"] = [len(motions), checksum(motions)]
            self._is_whole = True

    def check_later(self, finals: Sequence[Motion]) -> None:
        self._later += finals

    def begin_turn(self, turn: dict[str, Any]) -> None:
        """The next turn begins, with what the source gave."""
        self.end_turn()
        self._turn, self._is_whole = turn | {"answers": []}, "end" in turn

    def end_turn(self) -> None:
        """Keep the turn. One that an exception has broken off, or that nothing happened in, is left out."""
        turn, self._turn = self._turn, None
        if turn is None or not self._is_whole:
            return
        is_idle = turn.get("frame") is None and "end" not in turn and not turn["motions"][0]
        if not (is_idle and len(turn) == _IDLE_FIELDS and all(_is_nothing(answer) for answer in turn["answers"])):
            self._store.put(turn)


# Those of a turn in which no frame, event or count came.
_IDLE_FIELDS = len(("frame", "answers", "motions"))


def _is_nothing(answer: list[Any]) -> bool:
    kind, value = answer
    return kind == "now" or (kind == "ended" and not value[0])


class RecordedReader(FrameSource):
    """The frames of a live source, which `open_live` makes for a tap, recorded into a folder."""

    def __init__(self, folder: Path, open_live: Callable[[Tap], LiveReader]) -> None:
        """`OutputError` where the folder cannot be used, and what `open_live` raises."""
        super().__init__()
        self._store = Store(folder)
        try:
            self._source = open_live(PacketTap(self._store))
        except BaseException:
            self._store.close(is_complete=False)
            raise
        self.info = self._source.info
        self._source.on_news = self._tell_news
        self.journal: RecordingJournal = RecordingJournal(self._store, self._source)
        self._end: dict[str, Any] = {"end": "closed"}
        self._has_ended = self._is_closed = False
        self._is_over = False  # whether the stream is over, too, and all is kept of it

    def __next__(self) -> Frame:
        frame = None
        while frame is None:
            frame = self.read(1.0)
        return frame

    def read(self, timeout_s: float) -> Frame | None:
        self.journal.end_turn()
        try:
            frame = self._source.read(timeout_s)
        except (StopIteration, SourceError) as end:
            self._end = {"end": "failed" if isinstance(end, SourceError) else "ended", "about": str(end)}
            if not self.journal.is_led:  # else looks are still taken, in turns of their own
                self._begin_end()
            raise
        self.info = self._source.info
        place = None
        if frame is not None:
            place = [frame.index, self._source.unread + frame.index, frame.time_s, frame.received_s]
        events = self._source.events_before(frame)
        self._events.extend(events)
        happened = {"events": [[one.kind, one.time_s, one.index, one.about] for one in events]} if events else {}
        self.journal.begin_turn({"frame": place} | happened | self._counts())
        return frame

    def events_before(self, frame: Frame | None) -> list[SourceEvent]:
        events = list(self._events)
        self._events.clear()
        return events

    def _tell_news(self) -> None:
        self.on_news()  # whoever sets it sets it later

    def wake(self) -> None:
        self._source.wake()

    def now_s(self) -> float | None:
        return self._source.now_s()

    def end(self) -> None:
        self.journal.end_turn()
        if not self._has_ended:
            self._begin_end()
            self.journal.end_turn()
        self._is_over = True

    def close(self) -> None:
        """End the source. The recording of a stream that is led goes on until it has ended, too."""
        self._source.close()
        if self._is_closed or (self.journal.is_led and not self._is_over):
            return
        self._is_closed = True
        self.end()
        self._store.close(is_complete=self.journal.has_begun)

    def _begin_end(self) -> None:
        self._has_ended = True
        self.journal.begin_turn(self._end | self._counts())

    def _counts(self) -> dict[str, Any]:
        """The counters, where one has changed. They stand still within a turn."""
        counters = dict(self._source.counters)
        if counters == self.counters:
            return {}
        self.counters = counters
        return {"counters": counters}


def checksum(motions: Sequence[Motion]) -> int:
    """A number that other poses would not have."""
    sum_ = 0
    for motion in motions:
        sum_ = zlib.crc32(repr((motion.index, motion.time_s, motion.final, motion.ids.tolist())).encode(), sum_)
        for values in motion.arrays().values():
            sum_ = zlib.crc32(values.tobytes(), sum_)
    return sum_
