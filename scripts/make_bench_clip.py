"""Make the 30 Hz clip of the speed tables: every second frame of a 60 Hz clip, played forward and back.

python scripts/make_bench_clip.py cam03.mp4 cam03_30hz.mp4
python scripts/make_bench_clip.py cam03.mp4 cam03_30hz.mp4 --trc single_raw.trc     with the truth, as cam03_30hz.trc
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
from make_demo_clips import encode, ping_pong, read_scaled

RATE = 30
FRAMES = 197


def write_rows(source: Path, target: Path, numbers: list[int]) -> None:
    """Write the TRC file with these rows of another one, as frames at `RATE`."""
    lines = source.read_text(encoding="utf-8").splitlines()
    head, rows = lines[:5], [line for line in lines[5:] if line.strip()]
    values = dict(zip(head[1].split("\t"), head[2].split("\t"), strict=False))
    counts = {"DataRate": RATE, "CameraRate": RATE, "OrigDataRate": RATE, "NumFrames": len(numbers)}
    values |= {name: f"{value}" for name, value in counts.items() if name in values}
    head[2] = "\t".join(values.values())
    for frame, number in enumerate(numbers):
        markers = rows[number].split("\t")[2:]
        head.append("\t".join([f"{frame + 1}", f"{frame / RATE:.6f}", *markers]))
    target.write_text("\n".join(head) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="cam03.mp4 of Pose2Sim's Demo_SinglePerson")
    parser.add_argument("target", type=Path)
    parser.add_argument("--trc", type=Path, help="markers of the source, one row a frame, to pick rows from, too")
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
        numbers = ping_pong(len(frames), FRAMES)[:FRAMES]
        encode(container, stream, (frames[number] for number in numbers))
    if args.trc is not None:
        write_rows(args.trc, args.target.with_suffix(".trc"), [number * stride for number in numbers])
    print(f"{args.target}: {FRAMES} frames, {args.target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
