"""A sender of video over TCP, in a process of its own, which can be stopped and killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Sends a file over TCP, 50 pieces a second, over and over, to whoever connects; prints its port once it listens.
_SENDER = """
import socket, sys, time
data, port = open(sys.argv[1], "rb").read(), int(sys.argv[2])
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    print(server.getsockname()[1], flush=True)
    while True:
        connection, _ = server.accept()
        piece = len(data) // 50
        try:
            while True:
                for start in range(0, len(data), piece):
                    connection.sendall(data[start : start + piece])
                    time.sleep(0.02)
        except OSError:
            pass
"""


@contextmanager
def sender(path: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", _SENDER, str(path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()
