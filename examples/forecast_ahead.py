"""How good is the forecast? Compare poses forecast 0.1 ... 0.4 s ahead with the poses that came.

python examples/forecast_ahead.py [VIDEO]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from importlib.resources import files

import numpy as np

from mixsynth_stream import Stream

AHEAD_S = (0.1, 0.2, 0.3, 0.4)


def main(video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4")) -> None:
    poses: dict[float, np.ndarray] = {}  # [33, 2] by time
    forecasts: list[tuple[float, float, np.ndarray, np.ndarray]] = []
    with Stream(video, lag=1, horizon_s=max(AHEAD_S)) as stream:
        for motion in stream:
            if not len(motion.ids):
                continue
            poses[motion.time_s] = motion.poses[0]
            if motion.keyframe:  # its forecast knows keyframes up to this one only
                times_s, ahead = motion.forecast.time_s, motion.forecast.poses[0]  # [F], [F, 33, 2]
                for ahead_s in AHEAD_S:
                    nearest = np.abs(times_s - motion.time_s - ahead_s).argmin()
                    forecasts.append((ahead_s, times_s[nearest], ahead[nearest], motion.poses[0]))

    errors = defaultdict(list)
    for ahead_s, time_s, forecast, last in forecasts:
        nearest_s = min(poses, key=lambda t: abs(t - time_s))
        if abs(nearest_s - time_s) < 1 / 60:  # there is no pose past the end of the video
            pair = [np.linalg.norm(guess - poses[nearest_s], axis=1).mean() for guess in (forecast, last)]
            errors[ahead_s].append(pair)
    for ahead_s, pairs in errors.items():
        forecast_px, held_px = np.nanmean(pairs, axis=0)
        print(f"{ahead_s:.1f} s ahead: off by {forecast_px:5.1f} px; holding the last pose {held_px:5.1f} px")


if __name__ == "__main__":
    main(*sys.argv[1:2])
