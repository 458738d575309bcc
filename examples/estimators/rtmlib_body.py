"""RTMPose, RTMO and DWPose by rtmlib as an estimator.

pip install rtmlib; python examples/estimators/rtmlib_body.py VIDEO
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mixsynth_stream import Stream


class RtmlibEstimator:
    skeleton = "COCO-17"  # of BodyWithFeet "HALPE-26", of Wholebody "WholeBody-133"

    def __init__(self, body: Any) -> None:
        self.body = body

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[tuple]:
        keypoints, scores = self.body(np.ascontiguousarray(rgb[..., ::-1]))  # BGR -> [P, 17, 2] pixels, [P, 17]
        # Where rtmlib finds nobody, it takes the whole picture for a person, whose scores are low.
        pairs = zip(keypoints, scores, strict=True)
        return [(pose, None, score.clip(0, 1)) for pose, score in pairs if score.mean() > 0.3]


def main(video: str) -> None:
    from rtmlib import Body

    with Stream(video, estimator=RtmlibEstimator(Body(mode="lightweight")), max_people=4) as stream:
        for motion in stream:
            print(f"{motion.time_s:.3f} s: {len(motion.ids)} people")


if __name__ == "__main__":
    main(sys.argv[1])
