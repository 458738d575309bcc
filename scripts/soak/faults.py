"""Faults of the soak run: what goes wrong with the camera, the estimator, whoever reads, who watches, and the disk."""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from scene import CameraProcess

from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33

_HANG_S, _LATE_S = 7.0, 2.0
_SLOW_VIEWER_S = 12.0
_LOOK_S = 0.005  # of the stand-in


class FaultyEstimator:
    """Calls an estimator, or goes wrong once: `error`, `hang` or `late`."""

    def __init__(self) -> None:
        self.fault = ""

    def go_wrong(self) -> None:
        """What happens at the next call."""
        fault, self.fault = self.fault, ""
        if fault == "error":
            raise RuntimeError("the soak run's error")
        if fault:
            time.sleep(_HANG_S if fault == "hang" else _LATE_S)


class StandIn:
    """An estimator in no need of a processor: somebody who swings, in a few milliseconds."""

    skeleton = BLAZEPOSE_33.name

    def __init__(self, faulty: FaultyEstimator) -> None:
        self._faulty = faulty
        self._shape = np.random.default_rng(0).uniform(0.2, 0.8, (33, 2))

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        """The person; all in all where one in the bundled clip might be."""
        self._faulty.go_wrong()
        time.sleep(_LOOK_S)
        size = np.array(rgb.shape[1::-1])
        pose = (self._shape + 0.05 * np.sin(2 * time_s + np.arange(33))[:, None]) * size
        world = np.concatenate([self._shape - 0.5, np.zeros((33, 1))], axis=1)
        return [Person(pose, world, np.full(33, 0.9))]


class SlowViewer:
    """A page that asks again and again and takes no answer, for some seconds."""

    def __init__(self, port: int) -> None:
        self._port = port

    def watch(self, seconds: float) -> None:
        """Come, ask, and go without a word."""
        with suppress(OSError), socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", self._port))
            host, key = f"127.0.0.1:{self._port}", base64.b64encode(os.urandom(16)).decode()
            connection.sendall(
                f"GET /stream HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            text = json.dumps({"type": "draw", "picture": -1, "final": -1}).encode()
            # A frame of a client is masked; a mask of zeros leaves the text as it is.
            request = bytes([0x81, 0x80 | len(text)]) + bytes(4) + text
            end_s = time.perf_counter() + seconds
            while time.perf_counter() < end_s:
                connection.sendall(request)
                time.sleep(0.05)


def watch_well(port: int, is_over: threading.Event) -> None:
    """A page that takes what it gets ten times a second."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    while not is_over.wait(0.5):
        with (
            suppress(OSError, WebSocketException),
            connect(f"ws://127.0.0.1:{port}/stream", origin=f"http://127.0.0.1:{port}", compression=None) as page,
        ):
            newest: dict[str, Any] = {}
            while not is_over.wait(0.1):
                place = newest.get("picture", {}).get("index", -1)
                page.send(json.dumps({"type": "draw", "picture": place, "final": newest.get("index", -1)}))
                answer = page.recv(timeout=20)
                if isinstance(answer, bytes):
                    newest = json.loads(answer[4 : 4 + int.from_bytes(answer[:4], "little")])


class FullDisk:
    """Files that may not grow any further, as on a full disk."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, size: int) -> None:
        """No file may become larger than this, from now on."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self._limits[1]))

    def empty(self) -> None:
        """There is room again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


class Faults:
    """One fault after the other, by name. `slow` holds up whoever reads the stream, `fill_disk` fills the disk."""

    def __init__(
        self,
        camera: CameraProcess,
        estimator: FaultyEstimator,
        viewer: SlowViewer,
        slow: Callable[[], None],
        fill_disk: Callable[[], None],
    ) -> None:
        self._faults: dict[str, Callable[[], None]] = {
            "killed": camera.kill,
            "stopped 3 s": lambda: camera.stop(3.0),
            "stopped 12 s": lambda: camera.stop(12.0),
            "damaged packets": lambda: camera.command("damage"),
            "size change": lambda: camera.command("size"),
            "stamp jump": lambda: camera.command("jump"),
            "estimator error": lambda: setattr(estimator, "fault", "error"),
            "estimator hang": lambda: setattr(estimator, "fault", "hang"),
            "estimator 2 s late": lambda: setattr(estimator, "fault", "late"),
            "slow consumer": slow,
            "slow viewer": lambda: viewer.watch(_SLOW_VIEWER_S),
            "full disk": fill_disk,
        }

    @property
    def names(self) -> list[str]:
        """All faults, in their order."""
        return list(self._faults)

    def do(self, name: str) -> None:
        """Let it happen. Some take seconds."""
        self._faults[name]()


def order(names: Sequence[str], seed: int | None) -> Iterator[str]:
    """The faults without end: in turn, or in another order each time."""
    chance = random.Random(seed)
    while True:
        yield from names if seed is None else chance.sample(names, len(names))
