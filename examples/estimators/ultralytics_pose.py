"""A pose model of Ultralytics as an estimator.

pip install ultralytics; python examples/estimators/ultralytics_pose.py VIDEO

Ultralytics is under the AGPL-3.0, and reports its use unless you have said `yolo settings sync=False`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mixsynth_stream import Stream


class UltralyticsEstimator:
    skeleton = "COCO-17"

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[tuple]:
        keypoints = self.model(np.ascontiguousarray(rgb[..., ::-1]), verbose=False)[0].keypoints  # BGR
        if keypoints is None or keypoints.conf is None:  # nobody
            return []
        poses, scores = keypoints.xy.cpu().numpy(), keypoints.conf.cpu().numpy()  # [P, 17, 2] pixels, [P, 17]
        return [(pose, None, score) for pose, score in zip(poses, scores, strict=True)]


def main(video: str) -> None:
    from ultralytics import YOLO

    with Stream(video, estimator=UltralyticsEstimator(YOLO("yolo11n-pose.pt")), max_people=4) as stream:
        for motion in stream:
            print(f"{motion.time_s:.3f} s: {len(motion.ids)} people")


if __name__ == "__main__":
    main(sys.argv[1])
