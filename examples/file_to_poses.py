"""A video file to one numpy file of poses: the place of a person in every frame, and the origin of each number.

python examples/file_to_poses.py [VIDEO] [OUT.npz]
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

from mixsynth_stream import Origin, Stream


def main(video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4"), out: str = "poses.npz") -> None:
    times_s, poses, origins = [], [], []
    with Stream(video) as stream:
        for motion in stream:
            if len(motion.ids):  # nobody in sight gives empty arrays
                times_s.append(motion.time_s)
                poses.append(motion.poses[0])  # [33, 2] the first person, in pixels of frame.rgb
                origins.append(motion.origin[0])  # [33]
    np.savez(out, time_s=times_s, poses=poses, origin=origins)

    measured = np.mean(np.array(origins) == Origin.MEASURED)
    print(f"{Path(video).name}: {len(poses)} poses from {stream.stats.estimator_calls} estimator calls")
    print(f"{measured:.0%} of the joints were measured, the others filled in; written to {out}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
