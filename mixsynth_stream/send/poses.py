"""PoseChannel: every frame to programs, as JSON over a WebSocket. docs/outputs.md has the schema.

A program that is slow misses frames: it goes on with the newest, and is told how many it missed.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

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

PROTOCOL = 1
# Which frames a program may ask for.
ALL, NOW, FINAL = "all", "now", "final"
# So many messages wait for a program: a keyframe may bring the finals of two seconds at once.
_WAITING = 128
# Bytes that the system keeps for a program that reads nothing: what is older than these would be shown late.
_BUFFER = 1 << 16


class _Program:
    """One connection, and what waits for it."""

    def __init__(self, poses: str) -> None:
        self.poses = poses
        self.missed = 0
        self.has_news = asyncio.Event()
        self._texts: deque[str] = deque()

    def put(self, text: str) -> None:
        """One more message. Where too many wait, only the newest stays."""
        if len(self._texts) >= _WAITING:
            self.missed += len(self._texts)
            self._texts.clear()
        self._texts.append(text)
        self.has_news.set()

    def take(self) -> str | None:
        """The next message, with how many were missed before it."""
        if not self._texts:
            self.has_news.clear()
            return None
        text, missed, self.missed = self._texts.popleft(), self.missed, 0
        return text if not missed else f'{{"missed":{missed},{text[1:]}'


class PoseChannel:
    """Takes Motions in the loop of the job, and sends them in the server's own thread."""

    def __init__(self, header: Header, *, live: bool, write_forecast: bool = False) -> None:
        self._hello = _text({"type": "header", "protocol": PROTOCOL, "live": live, **header.as_json()})
        self._has_pixels = not header.is_smpl
        self._write_forecast = write_forecast
        self._programs: set[_Program] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._newest = -1

    def write(self, motion: Motion) -> None:
        """Take the next Motion. It costs nothing where no program reads."""
        is_new = motion.index > self._newest
        self._newest = max(self._newest, motion.index)
        self._call(self._publish, motion, is_new)

    def tell(self, event: SourceEvent) -> None:
        """Take what has happened to a live source."""
        self._call(self._put, self._programs, {"type": "event", **event_record(event)})

    async def serve(self, connection: ServerConnection) -> None:
        """Send to one program until it goes. What it sends is nothing that we know."""
        program = _Program(_choice(connection))
        self._loop = asyncio.get_running_loop()
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        await connection.send(self._hello)
        self._programs.add(program)
        reading = asyncio.ensure_future(_refuse_messages(connection))
        try:
            while not reading.done():
                text = program.take()
                if text is not None:
                    await asyncio.wait_for(connection.send(text), SEND_LIMIT_S)
                    continue
                news = asyncio.ensure_future(program.has_news.wait())
                await asyncio.wait((news, reading), return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            await reading
        finally:
            self._programs.discard(program)
            reading.cancel()

    def _call(self, function: Any, *values: Any) -> None:
        if self._programs and self._loop is not None:
            with suppress(RuntimeError):  # the server has just ended
                self._loop.call_soon_threadsafe(function, *values)

    def _publish(self, motion: Motion, is_new: bool) -> None:
        kinds = {ALL, *([NOW] if is_new else []), *([FINAL] if motion.final else [])}
        programs = [program for program in self._programs if program.poses in kinds]
        if programs:
            record = frame_record(motion, has_pixels=self._has_pixels, write_forecast=self._write_forecast)
            self._put(programs, {"type": "frame", **record})

    @staticmethod
    def _put(programs: Iterable[_Program], record: dict[str, Any]) -> None:
        text = _text(record)
        for program in programs:
            program.put(text)


class PoseServer(SinkBase):
    """A sink that serves the channel alone, without a page, while it is open."""

    def __init__(self, target: Target, channel: PoseChannel) -> None:
        """Raises `OutputError` where it cannot be served."""
        super().__init__(None)
        self._channel = channel
        words = Words("the poses for programs", "--send ws://PORT", "leave --send ws:// out")
        self._server = Server(target.address, channels={CHANNEL_PATH: channel}, words=words)

    @property
    def url(self) -> str:
        """What programs connect to."""
        return self._server.url_of(CHANNEL_PATH, "ws")

    def write(self, motion: Motion) -> None:
        """Send a Motion to who reads."""
        self._channel.write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Send what has happened to a live source."""
        self._channel.tell(event)

    def _finish(self) -> None:
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
