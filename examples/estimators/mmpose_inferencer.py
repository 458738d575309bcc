"""Any model of MMPose as an estimator, by its inferencer.

pip install mmpose; python examples/estimators/mmpose_inferencer.py VIDEO
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mixsynth_stream import Stream


class MMPoseEstimator:
    skeleton = "COCO-17"  # of the model "body26" "HALPE-26", of "wholebody" "WholeBody-133"

    def __init__(self, inferencer: Any) -> None:
        self.inferencer = inferencer

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[tuple]:
        result = next(self.inferencer(np.ascontiguousarray(rgb[..., ::-1])))  # BGR
        people = []
        for person in result["predictions"][0]:  # lists: [17, 2] pixels, [17]
            pose, scores = np.array(person["keypoints"]), np.array(person["keypoint_scores"]).clip(0, 1)
            if scores.mean() > 0.3:  # where nobody is found, the whole picture is taken for a person
                people.append((pose, None, scores))
        return people


def main(video: str) -> None:
    from mmpose.apis import MMPoseInferencer

    with Stream(video, estimator=MMPoseEstimator(MMPoseInferencer("human")), max_people=4) as stream:
        for motion in stream:
            print(f"{motion.time_s:.3f} s: {len(motion.ids)} people")


if __name__ == "__main__":
    main(sys.argv[1])
