"""A camera for the soak run, in a process of its own: MPEG-TS over TCP, without end, to whoever connects.

    python camera.py PORT PACE CLIP.h264...

Each clip shows the same in another size. It prints its port once it listens. A line on standard input is a fault:
`size` goes on with the next clip, `jump` moves the time stamps, `damage` cuts pictures off for a second.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from time import perf_counter, sleep
from typing import Any

import av

RATE_HZ = 30
_TICKS_HZ = 90_000
# Ahead, and back behind the beginning, in turn.
_JUMPS_S = (3600.0, -3000.0)
_START_S = 3600.0


class Camera:
    """What the camera shows, and what is wrong with it."""

    def __init__(self, paths: list[str], pace: float) -> None:
        self._clips = [_packets(path) for path in paths]
        self._streams = paths
        self._pace = pace
        self._clip = self._jumps = 0
        self._shift_s = _START_S
        self._damaged = 0  # pictures that are still to be cut off

    def command(self, line: str) -> None:
        """Begin a fault."""
        if line == "size":
            self._clip += 1
        elif line == "jump":
            self._shift_s += _JUMPS_S[self._jumps % len(_JUMPS_S)]
            self._jumps += 1
        elif line == "damage":
            self._damaged = round(RATE_HZ * self._pace)

    def send(self, connection: socket.socket) -> None:
        """Send pictures at their pace until the connection breaks."""
        rate_hz = RATE_HZ * self._pace
        shift_s, output = -1.0, None
        with av.open(self._streams[0], format="h264") as template, connection, connection.makefile("wb") as file:
            start_s = perf_counter()
            for number, (data, is_key) in enumerate(self._endless()):
                if output is None or shift_s != self._shift_s:  # a muxer refuses stamps that go back
                    shift_s = self._shift_s
                    output = av.open(_Pipe(file), "w", format="mpegts", options={"flush_packets": "1"})
                    stream = output.add_stream_from_template(template.streams.video[0])
                if self._damaged:
                    self._damaged -= 1
                    data = data[: max(len(data) // 3, 8)]
                packet = av.Packet(data)
                packet.time_base = Fraction(1, _TICKS_HZ)
                packet.pts = packet.dts = round((shift_s + number / rate_hz) * _TICKS_HZ)
                packet.is_keyframe = is_key
                packet.stream = stream
                output.mux_one(packet)
                file.flush()
                sleep(max(0.0, start_s + number / rate_hz - perf_counter()))

    def _endless(self) -> Iterator[tuple[bytes, bool]]:
        """The pictures of the present clip, over and over; another one begins at a picture that stands alone."""
        place = 0
        shown = self._clip
        while True:
            packets = self._clips[shown % len(self._clips)]
            if shown != self._clip and packets[place][1]:
                shown = self._clip
                packets = self._clips[shown % len(self._clips)]
            yield packets[place]
            place = (place + 1) % len(packets)


class _Pipe:
    """What a muxer writes into; its errors come out of `send` with the next flush."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return int(self._file.write(data))


def _packets(path: str) -> list[tuple[bytes, bool]]:
    with av.open(path, format="h264") as container:
        return [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def _listen_to_commands(camera: Camera) -> None:
    for line in sys.stdin:
        camera.command(line.strip())
    os._exit(0)  # the run has ended


def serve(port: int, pace: float, paths: list[str]) -> None:
    """Serve one viewer after the other."""
    camera = Camera(paths, pace)
    threading.Thread(target=_listen_to_commands, args=(camera,), daemon=True).start()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                camera.send(connection)
            except (OSError, av.error.FFmpegError):
                continue


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
