"""Scene of the soak run: the bundled clip in several sizes, and the process of the camera that shows it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av

from mixsynth_stream.files import CHECKOUT

# By the protocol: the program, the Python that runs it, and what follows the port in the address.
_CAMERAS = {"tcp": ("camera.py", sys.executable, ""), "rtsp": ("rtsp_camera.py", "/usr/bin/python3", "/camera")}
PROTOCOLS = tuple(_CAMERAS)
_CLIP = CHECKOUT / "mixsynth_stream" / "assets" / "demo.mp4"
_HEIGHTS = (480, 640, 360, 560)
_GROUP = 15  # pictures from one that stands alone to the next
_STILL_S = 2.0  # a camera that was killed is away for so long


def make_clips(folder: Path, frames: int | None = None) -> list[Path]:
    """The bundled clip, or its first frames, in several sizes: a camera can send them from any group on."""
    paths = []
    for height in _HEIGHTS:
        path = folder / f"clip-{height}.h264"
        options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "g": f"{_GROUP}",
            "x264-params": "repeat-headers=1:aud=1",
        }
        with av.open(str(_CLIP)) as source, av.open(str(path), "w", format="h264") as target:
            taken = source.streams.video[0]
            width = round(taken.width * height / taken.height / 2) * 2
            stream = target.add_stream("libx264", rate=30, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1
            for number, picture in enumerate(islice(source.decode(taken), frames)):
                smaller = picture.reformat(width, height, "yuv420p")
                smaller.pts, smaller.time_base = number, Fraction(1, 30)
                smaller.pict_type = av.video.frame.PictureType.NONE
                target.mux(stream.encode(smaller))
            target.mux(stream.encode(None))
        paths.append(path)
    return paths


class CameraProcess:
    """The camera, which can be killed, stopped and told to go wrong."""

    def __init__(self, protocol: str, paths: list[Path], pace: float) -> None:
        self._protocol = protocol
        self._arguments = [f"{pace:g}", *map(str, paths)]
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, at the same port as before."""
        program, python, _ = _CAMERAS[self._protocol]
        command = [python, str(Path(__file__).with_name(program)), str(self.port), *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def address(self) -> str:
        """What a program that follows it opens."""
        return f"{self._protocol}://127.0.0.1:{self.port}{_CAMERAS[self._protocol][2]}"

    def kill(self) -> None:
        """Kill it, and start it anew a moment later."""
        self.close()
        time.sleep(_STILL_S)
        self.start()

    def stop(self, seconds: float) -> None:
        """Let it stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def command(self, name: str) -> None:
        """Tell it a fault: `size`, `jump` or `damage`."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
