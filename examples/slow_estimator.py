"""A slow estimator, made as quick as the camera: MediaPipe at 3 Hz, beside MediaPipe on every frame.

python examples/slow_estimator.py [SECONDS [VIDEO]]

The estimator answers with a future, so many seconds after its picture (a third), as a body mesh or a large transformer
does. Its answers count for the time of their own picture, and each frame has a pose at once.
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


class SlowEstimator:
    """MediaPipe in a thread of its own; a process or a server would do the same."""

    skeleton = "BlazePose-33"

    def __init__(self) -> None:
        self._mediapipe = pose_estimator()
        self._worker = ThreadPoolExecutor(1)

    def __call__(self, rgb: np.ndarray, time_s: float) -> Future[list[Person]]:
        return self._worker.submit(self._mediapipe, rgb, time_s)


def every_frame(video: str) -> dict[int, np.ndarray]:
    """MediaPipe's pose [33, 2] of the first person by the number of the frame."""
    poses, mediapipe = {}, pose_estimator()
    with VideoReader(video) as camera:
        for frame in camera:
            for person in mediapipe(frame.rgb, frame.time_s)[:1]:
                poses[frame.index] = person.pose
    return poses


def main(late: str = "0.333", video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4")) -> None:
    start_s = time.process_time()
    dense = every_frame(video)
    dense_s = time.process_time() - start_s
    newest, at_once, final = {}, {}, {}  # poses, too: known when the frame came; `final` is known a moment later
    answer = None
    with VideoReader(video) as camera, Stream(estimator=SlowEstimator(), glance=True) as stream:
        for frame in camera:
            # With answer_s a look counts that much after its picture, however quick this machine is.
            motions = stream.push(frame.rgb, frame.time_s, answer_s=float(late))
            answer = next((motion.measured[0].pose for motion in reversed(motions) if motion.measured), answer)
            if answer is not None and len(motions[-1].ids):
                newest[frame.index], at_once[frame.index] = answer, motions[-1].poses[0]
            final |= {motion.index: motion.poses[0] for motion in motions if motion.final and len(motion.ids)}
        final |= {motion.index: motion.poses[0] for motion in stream.close() if motion.final and len(motion.ids)}

    stream_s = time.process_time() - start_s - dense_s
    frames, calls = stream.stats.frames, stream.stats.estimator_calls
    rate = f"at {1 / float(late):.0f} Hz"
    print(f"{len(at_once)} frames of {video.rsplit('/', 1)[-1]}: how far poses are from MediaPipe's own of that frame")
    print(f"{'':36}calls  processor  error")
    print(f"{'MediaPipe on every frame':36}{frames:5}{dense_s:9.2f} s   0.0 px")
    for name, poses, cost in (
        (f"{rate}: its newest answer, held", newest, ""),
        (f"{rate}, through a Stream: at once", at_once, f"{stream_s:.2f} s"),
        (f"{rate}, through a Stream: final", final, ""),
    ):
        judged = [index for index in dense if index in at_once and index in poses]
        error_px = np.mean([np.nanmean(np.linalg.norm(poses[i] - dense[i], axis=1)) for i in judged])
        print(f"{name:36}{calls:5}{cost:>11}{error_px:6.1f} px")


if __name__ == "__main__":
    main(*sys.argv[1:3])
