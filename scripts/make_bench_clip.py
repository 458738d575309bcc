"""Make the 30 Hz clip of the speed tables: every second frame of a 60 Hz clip, played forward and back.

python scripts/make_bench_clip.py cam03.mp4 cam03_30hz.mp4
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
from make_demo_clips import encode, ping_pong, read_scaled

RATE = 30
FRAMES = 197


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="cam03.mp4 of Pose2Sim's Demo_SinglePerson")
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    with av.open(str(args.source)) as container:
        video = container.streams.video[0]
        width, height = video.width, video.height
        stride = round(video.average_rate / RATE)
    frames = read_scaled(args.source, width, height, stride)
    with av.open(str(args.target), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "medium"}
        encode(container, stream, (frames[i] for i in ping_pong(len(frames), FRAMES)[:FRAMES]))
    print(f"{args.target}: {FRAMES} frames, {args.target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
