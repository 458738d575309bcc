"""What recording costs: CPU time of each thread for a picture, and bytes on the disk, for three kinds of source.

    python scripts/record_cost.py [--seconds 6]

The bundled clip is played live as H.264, and at 640 x 480 with a camera's noise as MJPEG and as raw pictures. CPU times
are those of the threads themselves, so that other programs disturb them little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.answers import RecordedLooks
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.recording.recorder import PacketTap, RecordingJournal
from mixsynth_stream.pipeline.sources.recording.store import Store
from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene
from mixsynth_stream.pipeline.stream import Stream

CLIP = ASSETS / "demo.mp4"
SIZE, RATE_HZ = (640, 480), 30
NOISE = 3  # brightness, of 255
CODECS = {"mjpeg": "yuvj422p", "rawvideo": "yuyv422"}
SPENT_S = dict.fromkeys(("loop", "capture", "writer"), 0.0)


class Truth:
    """An estimator that takes no time."""

    skeleton = "BlazePose-33"
    scene = SyntheticScene(size=SIZE)

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        return self.scene.truth(time_s)


def charged(function: Callable[..., Any], thread: str) -> Callable[..., Any]:
    """The function, whose CPU time is added to a thread's."""

    def call(*arguments: Any, **options: Any) -> Any:
        start_s = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            SPENT_S[thread] += time.thread_time() - start_s

    return call


def camera_clip(path: Path, codec: str, seconds: float) -> Path:
    """The clip as a camera would send it."""
    rng = np.random.default_rng(0)
    with av.open(str(CLIP)) as source:
        pictures = [picture.to_ndarray(format="rgb24", width=SIZE[0], height=SIZE[1]) for picture in source.decode()]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ)
        (stream.width, stream.height), stream.pix_fmt = SIZE, CODECS[codec]
        for rgb in islice(cycle(pictures), round(seconds * RATE_HZ)):
            noisy = np.clip(rgb + rng.integers(-NOISE, NOISE + 1, rgb.shape), 0, 255).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(noisy, format="rgb24").reformat(format=CODECS[codec])
            picture.time_base = Fraction(1, RATE_HZ)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def main() -> None:
    """Print a line for each kind of source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each source (default: %(default)s)")
    seconds = parser.parse_args().seconds
    for owner, names, thread in (
        (RecordingJournal, ("begin_turn", "end_turn", "note", "check"), "loop"),
        (RecordedLooks, ("_kept",), "loop"),
        (PacketTap, ("opened", "packet", "picture"), "capture"),
        (Store, ("_run",), "writer"),
    ):
        for name in names:
            setattr(owner, name, charged(getattr(owner, name), thread))
    with tempfile.TemporaryDirectory() as folder:
        clips = {"h264": CLIP, **{codec: camera_clip(Path(folder, f"{codec}.avi"), codec, seconds) for codec in CODECS}}
        for codec, clip in clips.items():
            SPENT_S.update(dict.fromkeys(SPENT_S, 0.0))
            recording = Path(folder, codec)
            reader = open_source(clip, request=LiveRequest(is_paced=True), record=recording)
            with Stream(reader, estimator=Truth()) as stream:
                pictures = 1 + max((motion.index for motion in stream), default=0)
            size = sum(path.stat().st_size for path in recording.iterdir())
            spent = ", ".join(f"{thread} {1e3 * spent_s / pictures:.2f}" for thread, spent_s in SPENT_S.items())
            print(f"{codec}: {pictures} pictures, CPU ms a picture: {spent}; {size / pictures / 1e3:.1f} kB a picture")


if __name__ == "__main__":
    main()
