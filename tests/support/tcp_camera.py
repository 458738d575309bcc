"""A camera that sends Matroska over TCP, loses its connection in the middle, and comes back with another size."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene

RATE_HZ = 30


def scene_clip(path: Path, scene: SyntheticScene, seconds: float) -> Path:
    """The people of a scene, filmed."""
    width, height = scene.size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"g": "15", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(round(seconds * RATE_HZ)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.draw(index / RATE_HZ), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@contextmanager
def tcp_camera(clips: Sequence[Path], seconds: float) -> Iterator[str]:
    """Its address. Each connection gets the next clip at its pace, which lasts `seconds`; the last one again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_over = threading.Event()

        def send() -> None:
            for number in range(100):
                with suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        _send(connection, clips[min(number, len(clips) - 1)], seconds, is_over)
                if is_over.is_set():
                    return

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            is_over.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _send(connection: socket.socket, clip: Path, seconds: float, is_over: threading.Event) -> None:
    data, pieces = clip.read_bytes(), round(seconds * RATE_HZ)
    start_s = time.perf_counter()
    for k in range(pieces):
        connection.sendall(data[k * len(data) // pieces : (k + 1) * len(data) // pieces])
        if is_over.wait(max(0.0, start_s + k / RATE_HZ - time.perf_counter())):
            return
