"""PoseChannel: every frame to programs, as JSON over a WebSocket. docs/outputs.md has the schema.

A program that is slow misses frames: it goes on with the newest, and is told how many it missed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from mixsynth_stream.console import shown
from mixsynth_stream.export.jsonl import event_record, frame_record
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.viewer.web.messages import RequestError
from mixsynth_stream.viewer.web.server import SEND_LIMIT_S, Server, Words
from mixsynth_stream.viewer.web.view import CHANNEL_PATH

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from mixsynth_stream.export.header import Header
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.send.targets import Target
    from mixsynth_stream.viewer.web.feed import Watched

PROTOCOL = 1
# Which frames a program may ask for.
ALL, NOW, FINAL = "all", "now", "final"
# So many messages of a source wait for a program: a keyframe may bring the finals of two seconds at once.
_WAITING = 128
# Bytes that the system keeps for a program that reads nothing: what is older than these would be shown late.
_BUFFER = 1 << 16


class _Program:
    """One connection, and what waits for it."""

    def __init__(self, poses: str) -> None:
        self.poses = poses
        self.has_news = asyncio.Event()
        self._texts: deque[tuple[int, str, bool]] = deque()  # of which source, what, and whether it has to come
        self._waiting: Counter[int] = Counter()  # by source, those that may be left out
        self._missed: Counter[int] = Counter()

    def put(self, number: int, text: str, *, stays: bool = False) -> None:
        """One more message of a source. Where too many of it wait, only the newest stays, and what has to come."""
        if not stays:
            if self._waiting[number] >= _WAITING:
                self._missed[number] += self._waiting.pop(number)
                self._texts = deque(one for one in self._texts if one[0] != number or one[2])
            self._waiting[number] += 1
        self._texts.append((number, text, stays))
        self.has_news.set()

    def take(self) -> str | None:
        """The next message, with how many of its source were missed before it."""
        if not self._texts:
            self.has_news.clear()
            return None
        number, text, stays = self._texts.popleft()
        if stays:
            return text
        self._waiting[number] -= 1
        missed = self._missed.pop(number, 0)
        return text if not missed else f'{{"missed":{missed},{text[1:]}'


class PoseChannel:
    """Takes Motions in the loop of the job, and sends them in the server's own thread.

    Programs may come before a source is open. Of several sources each message says which it is of.
    """

    def __init__(self, sources: Sequence[str], *, write_forecast: bool = False) -> None:
        """`sources` are their names, each of them once."""
        self._names: list[dict[str, Any]] = [{"source": name} if len(sources) > 1 else {} for name in sources]
        self._streams: dict[int, Watched] = {}
        self._has_pixels: dict[int, bool] = {}
        self._newest = [-1] * len(sources)
        self._write_forecast = write_forecast
        self._lock = threading.Lock()
        self._news: list[tuple[int, str]] = []  # what every program gets, however late it comes, with its source
        self._programs: set[_Program] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def sink(self, number: int, stream: Watched, header: Header) -> PoseSink:
        """A source is open: every program gets its header, and all that comes into the sink."""
        self._streams[number], self._has_pixels[number] = stream, not header.is_smpl
        first = {"type": "header", "protocol": PROTOCOL, "live": stream.live, **header.as_json()}
        self._announce(number, first | self._names[number])
        return PoseSink(self, number)

    def end(self, number: int, reason: str | None) -> None:
        """A source has ended, or could not be opened, and why."""
        about = None if reason is None else shown(reason)
        self._announce(number, {"type": "end", **self._names[number], "about": about})

    def write(self, number: int, motion: Motion) -> None:
        """Take the next Motion of a source. It costs nothing where no program reads."""
        is_new = motion.index > self._newest[number]
        self._newest[number] = max(self._newest[number], motion.index)
        score = self._streams[number].score
        self._call(self._publish, number, motion, is_new, None if score is None else score.method)

    def tell(self, number: int, event: SourceEvent) -> None:
        """Take what has happened to a live source."""
        record = {"type": "event", **self._names[number], **event_record(event)}
        self._call(self._put, self._programs, number, record)

    async def serve(self, connection: ServerConnection) -> None:
        """Send to one program until it goes. What it sends is nothing that we know."""
        program = _Program(_choice(connection))
        self._loop = asyncio.get_running_loop()
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        with self._lock:
            for number, text in self._news:
                program.put(number, text, stays=True)
            self._programs.add(program)
        reading = asyncio.ensure_future(_refuse_messages(connection))
        try:
            while not reading.done():
                message = program.take()
                if message is not None:
                    await asyncio.wait_for(connection.send(message), SEND_LIMIT_S)
                    continue
                news = asyncio.ensure_future(program.has_news.wait())
                await asyncio.wait((news, reading), return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            await reading
        finally:
            with self._lock:
                self._programs.discard(program)
            reading.cancel()

    def _announce(self, number: int, record: dict[str, Any]) -> None:
        """What no program may miss."""
        with self._lock:
            self._news.append((number, _text(record)))
            programs = set(self._programs)
        self._call(partial(self._put, programs, number, record, stays=True))

    def _call(self, function: Any, *values: Any) -> None:
        if self._programs and self._loop is not None:
            with suppress(RuntimeError):  # the server has just ended
                self._loop.call_soon_threadsafe(function, *values)

    def _publish(self, number: int, motion: Motion, is_new: bool, method: str | None) -> None:
        kinds = {ALL, *([NOW] if is_new else []), *([FINAL] if motion.final else [])}
        programs = [program for program in self._programs if program.poses in kinds]
        if programs:
            record = {"type": "frame", **self._names[number]}
            record |= frame_record(motion, has_pixels=self._has_pixels[number], write_forecast=self._write_forecast)
            self._put(programs, number, record if method is None else record | {"method": method})

    @staticmethod
    def _put(programs: Iterable[_Program], number: int, record: dict[str, Any], *, stays: bool = False) -> None:
        text = _text(record)
        for program in programs:
            program.put(number, text, stays=stays)


class PoseSink(SinkBase):
    """The sink of one source of a channel."""

    def __init__(self, channel: PoseChannel, number: int) -> None:
        super().__init__(None)
        self._channel = channel
        self._number = number

    def write(self, motion: Motion) -> None:
        """Send a Motion to who reads."""
        self._channel.write(self._number, motion)

    def tell(self, event: SourceEvent) -> None:
        """Send what has happened to a live source."""
        self._channel.tell(self._number, event)

    def _finish(self) -> None:
        pass


class PoseServer:
    """Serves a channel alone, without a page, until `close`."""

    def __init__(self, target: Target, channel: PoseChannel) -> None:
        """Raises `OutputError` where it cannot be served."""
        self.channel = channel
        words = Words("the poses for programs", "--send ws://PORT", "leave --send ws:// out")
        self._server = Server(target.address, channels={CHANNEL_PATH: channel}, words=words)

    @property
    def url(self) -> str:
        """What programs connect to."""
        return self._server.url_of(CHANNEL_PATH, "ws")

    def close(self) -> None:
        """Serve no more. Safe to call twice."""
        self._server.close()


def _choice(connection: ServerConnection) -> str:
    """Which frames a program asks for, as its address ends: `?poses=now`. Raises `RequestError`."""
    query = "" if connection.request is None else urlsplit(f"http://server{connection.request.path}").query
    poses = parse_qs(query).get("poses", [ALL])[-1]
    if poses not in (ALL, NOW, FINAL):
        raise RequestError(f"poses must be {ALL}, {NOW} or {FINAL}")
    return poses


async def _refuse_messages(connection: ServerConnection) -> None:
    """Wait for the end of a connection. Raises `RequestError` where a message comes before it."""
    async for _ in connection:
        raise RequestError("this server takes no messages: read only")


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)
