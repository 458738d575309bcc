"""Motions of known numbers, for tests of result files."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.fakes import FakeFrame, standing_pose

from mixsynth_stream.pipeline.motion import Forecast, Motion, Origin

RATE_HZ = 30.0
KEYFRAME_EVERY = 10
AHEAD = 6


def pose_at(time_s: float, person: int = 0) -> np.ndarray:  # -> [33, 2]
    """Somebody who walks to the right, 60 pixels a second."""
    return standing_pose(150 + 200 * person + 60 * time_s, 120, 90)


def world_at(time_s: float, person: int = 0) -> np.ndarray:  # -> [33, 3]
    """Different numbers for every joint, axis, person and time."""
    joints = np.arange(33)[:, None] / 100
    return joints + [0.1, 0.2, 0.3] + 0.01 * time_s + person


def sigma_at(times_s: np.ndarray) -> np.ndarray:  # [M] -> [M, 33]
    """Different numbers for every joint and time."""
    return 1 + np.arange(33) / 10 + times_s[:, None]


def motion(
    index: int,
    *,
    people: tuple[int, ...] = (0,),
    time_s: float | None = None,
    origin: Origin | None = None,
    final: bool = True,
    rgb: np.ndarray | None = None,
    ahead: int = AHEAD,
    sigma: bool = False,
) -> Motion:
    """One frame at 30 Hz, every tenth a keyframe. `people`: their ids, which also say where they stand.

    `sigma`: whether the weights carry an uncertainty table.
    """
    time_s = index / RATE_HZ if time_s is None else time_s
    keyframe = index % KEYFRAME_EVERY == 0
    origin = origin if origin is not None else Origin.MEASURED if keyframe else Origin.FILLED
    frame: Any = None
    if rgb is not None:
        frame = FakeFrame(index, time_s, rgb.shape[1], rgb.shape[0], rgb)
    count = len(people)

    def forecast() -> Forecast:
        times_s = time_s + np.arange(1, ahead + 1) / RATE_HZ
        return Forecast(
            time_s=times_s,
            poses=np.array([[pose_at(t, p) for t in times_s] for p in people]).reshape(count, ahead, 33, 2),
            world=np.array([[world_at(t, p) for t in times_s] for p in people]).reshape(count, ahead, 33, 3),
            scores=np.full((count, ahead, 33), 0.8),
            origin=np.full((count, ahead, 33), Origin.FORECAST, np.uint8),
            sigma=2 * sigma_at(times_s)[None].repeat(count, axis=0) if sigma else None,
            world_sigma=sigma_at(times_s)[None].repeat(count, axis=0) / 100 if sigma else None,
        )

    off = np.where(origin == Origin.MEASURED, np.nan, sigma_at(np.full(count, time_s)))

    return Motion(
        index=index,
        time_s=time_s,
        final=final,
        keyframe=keyframe,
        ids=np.array(people, np.int64),
        poses=np.array([pose_at(time_s, p) for p in people]).reshape(count, 33, 2),
        world=np.array([world_at(time_s, p) for p in people]).reshape(count, 33, 3),
        scores=np.full((count, 33), 0.9),
        origin=np.full((count, 33), origin, np.uint8),
        measured=None,
        sigma=2 * off if sigma else None,
        world_sigma=off / 100 if sigma else None,
        frame=frame,
        _forecaster=forecast,
    )


def motions(count: int, **kind: Any) -> list[Motion]:
    return [motion(index, **kind) for index in range(count)]


def without_joint(whole: Motion, joint: int) -> Motion:
    """The same Motion, in which one joint of everybody is MISSING."""
    whole.poses[:, joint] = np.nan
    whole.world[:, joint] = np.nan
    whole.scores[:, joint] = 0.0
    whole.origin[:, joint] = Origin.MISSING
    return whole
