"""Eight cameras, one person each, poses from your own estimator: a keyframe of all is one call of the network.

python examples/several_cameras.py [BACKEND]

The "estimator" is the truth of a synthetic scene, so no camera is needed. On a CUDA device, BACKEND is triton.
"""

from __future__ import annotations

import sys

import numpy as np

from mixsynth_stream import MotionWindow, load_model
from mixsynth_stream.pipeline import push_all
from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene
from mixsynth_stream.spaces import scale_floor

CAMERAS, EVERY_S, HEIGHT_PX = 8, 1 / 3, 480


def main(backend: str = "auto") -> None:
    scene = SyntheticScene(people=CAMERAS)
    model = load_model("image-n10", backend)  # one Model for all, so that their windows share a call
    windows = [MotionWindow(model, min_scale=scale_floor("image", HEIGHT_PX)) for _ in range(CAMERAS)]

    errors_px, held_px = [], []
    for keyframe in range(24):
        time_s = keyframe * EVERY_S
        people = scene.truth(time_s)  # one person a camera; pose is None where a camera sees nobody
        push_all(windows, [p.pose for p in people], [p.scores for p in people], [time_s] * CAMERAS)

        ahead_s = time_s + EVERY_S / 2  # between keyframes the poses are forecasts
        truth = scene.truth(ahead_s)
        if keyframe >= model.config.step:  # the windows are full
            for window, person, last in zip(windows, truth, people, strict=True):
                errors_px.append(np.linalg.norm(window.at([ahead_s]).poses[0] - person.pose, axis=1).mean())
                held_px.append(np.linalg.norm(last.pose - person.pose, axis=1).mean())
    summary = f"off by {np.mean(errors_px):.1f} px; holding the last pose {np.mean(held_px):.1f} px"
    print(f"{CAMERAS} cameras on {model.backend}: {EVERY_S / 2:.2f} s after a keyframe {summary}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
