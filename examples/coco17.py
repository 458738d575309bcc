"""An estimator of your own with COCO's 17 joints and no metres: as a function, and as the recording of what it gave.

python examples/coco17.py [VIDEO] [OUT.npz]
"""

from __future__ import annotations

import sys
from importlib.resources import files

import numpy as np

from mixsynth_stream import Stream
from mixsynth_stream.pipeline.estimators.choose import as_estimator, pose_estimator
from mixsynth_stream.skeleton import COCO_17


def main(video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4"), out: str = "coco17.npz") -> None:
    movenet = pose_estimator("movenet-lightning")  # in the place of your own model
    times_s, poses = [], []

    def look(rgb: np.ndarray, time_s: float) -> list[tuple]:
        people = [(person.pose, None, person.scores) for person in movenet(rgb, time_s)]
        times_s.append(time_s)
        poses.append(people[0][0] if people else np.full((17, 2), np.nan))
        return people

    with Stream(video, estimator=as_estimator(look, "COCO-17")) as stream:
        wrist = [motion.poses[0, COCO_17.index("left_wrist")] for motion in stream if len(motion.ids)]
    movenet.close()
    print(f"{len(wrist)} poses of {stream.skeleton} from {len(times_s)} looks; the wrist ends at {wrist[-1].round(1)}")

    np.savez(out, time_s=times_s, poses=poses, skeleton="COCO-17")
    with Stream(video, estimator=out) as stream:
        again = [motion.poses[0, COCO_17.index("left_wrist")] for motion in stream if len(motion.ids)]
    print(f"replayed from {out}: at most {np.abs(np.subtract(again, wrist)).max():g} pixels off")


if __name__ == "__main__":
    main(*sys.argv[1:3])
