"""A slow estimator, made as quick as the camera: MediaPipe at 3 Hz, beside MediaPipe on every frame.

python examples/slow_estimator.py [VIDEO]

The estimator answers with a future, a third of a second after its picture, as a body mesh or a large transformer does.
Its answers count for the time of their own picture, and each frame has a pose at once.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files

import numpy as np

from mixsynth_stream import Stream
from mixsynth_stream.pipeline import VideoReader
from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.motion import Person

LATE_S = 1 / 3


class SlowEstimator:
    """MediaPipe in a thread of its own; a process or a server would do the same."""

    skeleton = "BlazePose-33"

    def __init__(self) -> None:
        self._mediapipe = pose_estimator()
        self._worker = ThreadPoolExecutor(1)

    def __call__(self, rgb: np.ndarray, time_s: float) -> Future[list[Person]]:
        return self._worker.submit(self._mediapipe, rgb, time_s)


def main(video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4")) -> None:
    # The pose [33, 2] of the first person by the number of the frame, as it was known by then; `final` came later.
    dense, newest, at_once, final = {}, {}, {}, {}
    mediapipe, answer, dense_s = pose_estimator(), None, 0.0
    with VideoReader(video) as camera, Stream(estimator=SlowEstimator(), glance=True) as stream:
        for frame in camera:
            rgb, start_s = frame.rgb, time.perf_counter()
            people = mediapipe(rgb, frame.time_s)
            dense_s += time.perf_counter() - start_s
            # With answer_s a look counts that much after its picture, however quick this machine is.
            motions = stream.push(rgb, frame.time_s, answer_s=LATE_S)
            final |= {motion.index: motion.poses[0] for motion in motions if motion.final and len(motion.ids)}
            answer = next((motion.measured[0].pose for motion in reversed(motions) if motion.measured), answer)
            if people and answer is not None and len(motions[-1].ids):
                dense[frame.index], newest[frame.index] = people[0].pose, answer
                at_once[frame.index] = motions[-1].poses[0]
        final |= {motion.index: motion.poses[0] for motion in stream.close() if motion.final and len(motion.ids)}

    frames, calls, seconds = stream.stats.frames, stream.stats.estimator_calls, stream.stats.seconds
    ours_s = seconds["network"] + seconds["glance"]
    print(f"{len(dense)} frames of {video.rsplit('/', 1)[-1]}: how far poses are from MediaPipe's own of that frame")
    print(f"{'':36}calls  seconds     px")
    print(f"{'MediaPipe on every frame':36}{frames:5}{dense_s:9.2f}    0.0")
    for name, poses, cost_s in (
        ("at 3 Hz: its newest answer, held", newest, seconds["estimator"]),
        ("at 3 Hz, through a Stream: at once", at_once, seconds["estimator"] + ours_s),
        ("at 3 Hz, through a Stream: final", final, seconds["estimator"] + ours_s),
    ):
        errors_px = [np.nanmean(np.linalg.norm(poses[i] - pose, axis=1)) for i, pose in dense.items() if i in poses]
        print(f"{name:36}{calls:5}{cost_s:9.2f}{np.mean(errors_px):7.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
