"""Make the two bundled clips, `demo.mp4` and `demo_hard.mp4`, from the public clips of Pose2Sim and Sports2D.

Both projects (BSD-3-Clause) carry their clips inside their PyPI packages: `pip download --no-deps pose2sim==0.10.49
sports2d==0.8.34`, unzip, and pass the two files:

    python scripts/make_demo_clips.py --single CAM04.mp4 --hard SPORTS2D_DEMO.mp4

`demo.mp4` is 1.7 s of one man balancing, played forward and backward until it lasts about 6 s. The frames at the two
turning points appear once, so that the man does not stand still in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mixsynth_stream.files import ASSETS

DEMO_RATE = 30
DEMO_HEIGHT = 960
DEMO_SECONDS = 6.0
HARD_WIDTH = 640


def ping_pong(count: int, length: int) -> list[int]:
    """Indices 0 .. count-1 .. 0 .. for `length` frames or a little more, to the end of a sweep."""
    order = list(range(count))
    sweep = list(range(count - 2, -1, -1))
    while len(order) < length:
        order += sweep
        sweep = [count - 1 - i for i in sweep]
    return order


def read_scaled(path: Path, width: int, height: int, stride: int) -> list[VideoFrame]:
    """Every `stride`-th frame, scaled. It stays in YUV, without a way through RGB, so that the colours stay."""
    frames = []
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i % stride == 0:
                frames.append(frame.reformat(width=width, height=height, format="yuv420p", interpolation="AREA"))
    return frames


def add_video(container: av.container.OutputContainer, like: VideoFrame, rate: Fraction, crf: int) -> VideoStream:
    """An H.264 stream with the size and colours of a frame. It has one thread: every machine makes the same bytes."""
    stream = container.add_stream("libx264", rate=rate)
    stream.width, stream.height, stream.pix_fmt = like.width, like.height, "yuv420p"
    stream.codec_context.thread_count = 1
    stream.codec_context.colorspace = like.colorspace
    stream.codec_context.color_range = like.color_range
    stream.options = {"crf": str(crf), "preset": "veryslow", "tune": "film"}
    return stream


def encode(container: av.container.OutputContainer, stream: VideoStream, frames: Iterable[VideoFrame]) -> None:
    """Write frames at the stream's constant rate."""
    for i, frame in enumerate(frames):
        frame.pts, frame.time_base = i, 1 / Fraction(stream.average_rate)
        frame.pict_type = av.video.frame.PictureType.NONE
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def make_demo(source: Path, target: Path, crf: int) -> None:
    """One man balancing, forward and backward, at 30 Hz from a clip of 60 Hz."""
    with av.open(str(source)) as container:
        video = container.streams.video[0]
        width, height = video.width, video.height
        stride = round(video.average_rate / DEMO_RATE)
    frames = read_scaled(source, 2 * round(width * DEMO_HEIGHT / height / 2), DEMO_HEIGHT, stride)
    order = ping_pong(len(frames), round(DEMO_SECONDS * DEMO_RATE))
    with av.open(str(target), "w", options={"movflags": "faststart"}) as container:
        stream = add_video(container, frames[0], Fraction(DEMO_RATE), crf)
        encode(container, stream, (frames[i] for i in order))
    print(f"{target.name}: {len(order)} frames from {len(frames)}, {target.stat().st_size / 1e6:.2f} MB")


def make_hard(source: Path, target: Path, crf: int) -> None:
    """People crossing, small in the picture; the whole clip with its sound."""
    with av.open(str(source)) as container:
        video = container.streams.video[0]
        width, height, rate = video.width, video.height, Fraction(video.average_rate)
        sound = list(container.decode(audio=0)) if container.streams.audio else []
    frames = read_scaled(source, HARD_WIDTH, 2 * round(height * HARD_WIDTH / width / 2), 1)
    with av.open(str(target), "w", options={"movflags": "faststart"}) as container:
        stream = add_video(container, frames[0], rate, crf)
        audio = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        if audio is not None:
            audio.bit_rate = 32_000
        encode(container, stream, frames)
        if audio is not None:
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=48000)
            for piece in sound:
                for frame in resampler.resample(piece):
                    container.mux(audio.encode(frame))
            container.mux(audio.encode())
    print(f"{target.name}: {len(frames)} frames, {target.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--single", type=Path, required=True, help="cam04.mp4 of Pose2Sim's Demo_SinglePerson")
    parser.add_argument("--hard", type=Path, required=True, help="demo.mp4 of Sports2D")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--crf", type=int, default=22, help="H.264 quality of demo.mp4; demo_hard.mp4 takes 3 more")
    args = parser.parse_args()
    make_demo(args.single, args.out / "demo.mp4", args.crf)
    make_hard(args.hard, args.out / "demo_hard.mp4", args.crf + 3)


if __name__ == "__main__":
    main()
