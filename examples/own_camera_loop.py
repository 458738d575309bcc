"""You own the loop: push frames as they come; poses for *now* come back at once, and better ones a little later.

python examples/own_camera_loop.py [VIDEO]

Frames come from a file here, and from your camera in your program.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.resources import files

from mixsynth_stream import Stream
from mixsynth_stream.pipeline import VideoReader


def main(video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4")) -> None:
    count: Counter[str] = Counter()
    with VideoReader(video) as camera, Stream() as stream:
        for frame in camera:
            # A camera does not wait; this file does, so that each run prints the same.
            for motion in stream.push(frame.rgb, frame.time_s, wait=True):
                # A frame comes at once (final=False), and again when the keyframe after it is known (final=True).
                count["final" if motion.final else "at once"] += 1
                if motion.index == frame.index and len(motion.ids):
                    nose_y = motion.poses[0, 0, 1]
                    count["nose in the upper half"] += bool(nose_y < frame.height / 2)
        count["final"] += len([motion for motion in stream.close() if motion.final])
        print(f"{stream.stats.frames} frames, {stream.stats.estimator_calls} of them shown to the estimator")
    print(", ".join(f"{what} {number}" for what, number in count.items()))


if __name__ == "__main__":
    main(*sys.argv[1:2])
