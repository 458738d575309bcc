"""Server: a page and its WebSocket, and what programs fetch, by the library `websockets`, in a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.viewer.web.access import DEFAULT_PORT, HEADERS, Access, Address
from mixsynth_stream.viewer.web.messages import MAX_REQUEST, DrawRequest, RequestError, is_end

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

log = logging.getLogger(__name__)
# The library logs a traceback for each refused request. Whoever is refused gets a sentence, and nobody else needs one.
_silent = logging.getLogger(f"{__name__}.websockets")
_silent.propagate = False
_silent.addHandler(logging.NullHandler())

STREAM_PATH = "/stream"
MAX_VIEWERS = 16
MAX_PROGRAMS = 16
# All pages together take no more of a core than this: many of them draw more slowly, and the stream goes on.
_SHARE = 0.25
# No page draws faster.
_LEAST_PAUSE_S = 1 / 250
# Who does not take an answer for so long is gone.
SEND_LIMIT_S = 10.0
_START_LIMIT_S = 10.0
_CLOSE_LIMIT_S = 0.6
_EVERY_ADDRESS = ("0.0.0.0", "::")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_POLICY_VIOLATION, _INTERNAL_ERROR = 1008, 1011


def server_possible() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("websockets") is not None


def pages() -> dict[str, tuple[str, bytes]]:
    """What is served: type and contents of each file, by its path. No request opens a file, so none leads elsewhere."""
    folder = resources.files("mixsynth_stream.viewer.web") / "static"
    files = {
        f"/{file.name}": (_TYPES[suffix], file.read_bytes())
        for file in folder.iterdir()
        for suffix in _TYPES
        if file.name.endswith(suffix)
    }
    return files | {"/": files["/index.html"]}


class Channel(Protocol):
    """A WebSocket for programs: it serves a connection until that ends."""

    async def serve(self, connection: ServerConnection) -> None: ...

    def end(self, number: int, reason: str | None) -> None: ...


@dataclass(frozen=True)
class Text:
    """What is answered to a plain request of a program. `is_open`: without the token, because it shows nobody."""

    answer: Callable[[], tuple[HTTPStatus, str, bytes]]  # status, type and body
    is_open: bool = False


@dataclass(frozen=True)
class Words:
    """How messages call a server, and the option that says where it is."""

    name: str = "the view in a browser"
    option: str = "--view-at PORT"
    way_out: str = "run with --view none"


class Server:
    """Serves until `close`. For each source `hellos` has what a page gets first, and `answers` what it gets when it
    draws; without these there is no page. `end` is called where a page ends the stream; None lets no page do that.
    `channels` and `texts` are for programs, by path.
    """

    def __init__(
        self,
        address: Address,
        *,
        hellos: Sequence[str] = (),
        answers: Sequence[Callable[[DrawRequest], bytes]] = (),
        end: Callable[[], None] | None = None,
        channels: Mapping[str, Channel] | None = None,
        texts: Mapping[str, Text] | None = None,
        words: Words | None = None,
    ) -> None:
        """Raises `ModelError` where the library is missing, and `OutputError` where the address cannot be had."""
        self._words = words = words or Words()
        if not server_possible():
            raise ModelError(
                f"{words.name} needs the package websockets, which is not installed: "
                f"pip install 'mixsynth-stream[view]', or {words.way_out}"
            )
        self.access = Access.to(address)
        self.port = 0
        self._watching: set[ServerConnection] = set()
        self._programs: set[ServerConnection] = set()
        self._hellos = list(hellos)
        self._answers = answers
        self._end = end
        self._channels = dict(channels or {})
        self._texts = dict(texts or {})
        self._pages = pages() if answers else {}
        self._is_up = threading.Event()
        self._error: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="view server", daemon=True)
        self._thread.start()
        if not self._is_up.wait(_START_LIMIT_S):
            raise OutputError(f"the server of {words.name} does not start: {words.way_out}")
        if self._error is not None:
            raise OutputError(_refusal(address, self._error, words)) from self._error

    def greet(self, hello: str, number: int = 0) -> None:
        """What pages of a source get first from now on, and pages that are open get before their next answer."""
        self._hellos[number] = hello

    def add_channel(self, path: str, channel: Channel) -> None:
        """Serve programs at one more path."""
        self._channels = self._channels | {path: channel}

    @property
    def viewers(self) -> int:
        """How many pages watch."""
        return len(self._watching)

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self.url_of("/")

    def url_of(self, path: str, scheme: str = "http") -> str:
        """The address of a path, with the token where one is needed."""
        host = self.access.address.host
        host = socket.gethostname() if host in _EVERY_ADDRESS else host
        token = "" if self.access.token is None else f"?token={self.access.token}"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{path}{token}"

    def close(self) -> None:
        """End all connections, and the thread. Safe to call twice."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_CLOSE_LIMIT_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._error = error
        finally:
            self._is_up.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # Answers take turns anyway, because Python runs one thread at a time.
        self._loop.set_default_executor(ThreadPoolExecutor(1, "view"))
        server = await self._listen()
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        await self._stop.wait()
        server.close()
        # Connections that take no farewell are cut when the loop ends.
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), _CLOSE_LIMIT_S / 2)
        for connection in self._watching | self._programs:
            connection.transport.abort()

    async def _listen(self) -> Any:
        """The server at the address; without a port, at the usual one or at any that is free."""
        from websockets.asyncio.server import serve

        options: dict[str, Any] = {
            "process_request": self._process_request,
            "compression": None,  # pictures are compressed
            "max_size": MAX_REQUEST,
            "max_queue": 4,
            "open_timeout": 5,
            "close_timeout": 0.5,
            "server_header": None,
            "logger": _silent,
        }
        host, port = self.access.address.host, self.access.address.port
        try:
            return await serve(self._watch, host, DEFAULT_PORT if port is None else port, **options)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise
            return await serve(self._watch, host, 0, **options)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """An answer to what is no WebSocket, or a refusal; None lets a viewer in."""
        path = urlsplit(f"http://server{request.path}").path
        values = {name: request.headers.get_all(name) for name in ("Host", "Origin", "Authorization")}
        if any(len(given) > 1 for given in values.values()):
            return _text(connection, HTTPStatus.BAD_REQUEST, "Host and Origin may stand once in a request")
        headers = {name: given[0] for name, given in values.items() if given}
        text, is_channel, is_stream = self._texts.get(path), path in self._channels, self._is_stream(path)
        refusal = self.access.refusal(
            request.path,
            headers,
            watches=is_stream or is_channel or (text is not None and not text.is_open),
            is_for_programs=is_channel or text is not None,
        )
        if refusal is None and is_stream and self._number(request.path) is None:
            refusal = HTTPStatus.NOT_FOUND, f"source must be 0 to {len(self._answers) - 1} in {STREAM_PATH}?source=0"
        if refusal is None and is_stream and self.viewers >= MAX_VIEWERS:
            refusal = HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} pages watch already: close one of them"
        if refusal is None and is_channel and len(self._programs) >= MAX_PROGRAMS:
            refusal = HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_PROGRAMS} programs read already: end one of them"
        if refusal is not None:
            return _text(connection, *refusal)
        if is_stream or is_channel:
            return None
        if text is not None:
            return _response(connection, *text.answer())
        if path not in self._pages:
            places = " or ".join(["/"] * bool(self._pages) + [*self._channels, *self._texts])
            return _text(connection, HTTPStatus.NOT_FOUND, f"there is no such page: open {places} of this server")
        return _response(connection, HTTPStatus.OK, *self._pages[path])

    def _is_stream(self, path: str) -> bool:
        return bool(self._answers) and path == STREAM_PATH

    def _number(self, target: str) -> int | None:
        """The source that a page watches; None where there is no such source."""
        text = parse_qs(urlsplit(target).query).get("source", ["0"])[-1]
        numbers = [number for number in range(len(self._answers)) if text == str(number)]
        return numbers[0] if numbers else None

    async def _watch(self, connection: ServerConnection) -> None:
        """One viewer or program, from its first message to its last."""
        from websockets.exceptions import ConnectionClosed

        request = connection.request
        path = "" if request is None else urlsplit(f"http://server{request.path}").path
        channel = self._channels.get(path)
        connections = self._watching if channel is None else self._programs
        connections.add(connection)
        try:
            await (self._draw(connection) if channel is None else channel.serve(connection))
        except RequestError as error:
            await connection.close(_POLICY_VIOLATION, str(error))
        except (ConnectionClosed, TimeoutError, asyncio.TimeoutError):
            connection.transport.abort()
        except Exception:
            log.exception("%s cannot show what there is now", self._words.name)
            await connection.close(_INTERNAL_ERROR, "the server cannot show what there is now")
        finally:
            connections.discard(connection)

    async def _draw(self, connection: ServerConnection) -> None:
        """Answer a page each time that it draws."""
        number = None if connection.request is None else self._number(connection.request.path)
        assert number is not None  # others were refused
        loop, answer_of = asyncio.get_running_loop(), self._answers[number]
        await connection.send(greeting := self._hellos[number])
        async for text in connection:
            if self._hellos[number] != greeting:
                await connection.send(greeting := self._hellos[number])
            if self._end is not None and is_end(text):
                self._end()
                continue
            request = DrawRequest.of(text)
            # Poses are made in another thread, so that one page does not hold up another.
            answer, cost_s = await loop.run_in_executor(None, self._timed_answer, answer_of, request)
            await asyncio.wait_for(connection.send(answer), SEND_LIMIT_S)
            await asyncio.sleep(max(_LEAST_PAUSE_S, self.viewers * cost_s / _SHARE - cost_s))

    @staticmethod
    def _timed_answer(answer: Callable[[DrawRequest], bytes], request: DrawRequest) -> tuple[bytes, float]:
        """An answer, and the seconds of a core that it took."""
        start_s = time.thread_time()
        data = answer(request)
        return data, time.thread_time() - start_s


def _text(connection: ServerConnection, status: HTTPStatus, sentence: str) -> Response:
    return _response(connection, status, "text/plain", f"{sentence}\n".encode())


def _response(connection: ServerConnection, status: HTTPStatus, kind: str, body: bytes) -> Response:
    response = connection.respond(status, "")
    response.body = body
    for name in ("Content-Type", "Content-Length"):
        response.headers.pop(name, None)
    response.headers["Content-Type"] = f"{kind}; charset=utf-8"
    response.headers["Content-Length"] = str(len(body))
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


def _refusal(address: Address, error: OSError, words: Words) -> str:
    """Why nobody can be served at an address."""
    port = DEFAULT_PORT if address.port is None else address.port
    if error.errno == errno.EADDRINUSE:
        return f"{words.name} cannot be served at port {port}, which is in use: give another one ({words.option})"
    if error.errno == errno.EACCES:
        return (
            f"{words.name} cannot be served at port {port}, which takes more rights: give one above 1023 "
            f"({words.option})"
        )
    reason = error.strerror or error
    return (
        f"{words.name} cannot be served at {address.host}:{port} ({reason}): give an address of this machine "
        f"({words.option})"
    )
