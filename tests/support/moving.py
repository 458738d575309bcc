"""People who move in pictures with texture, as frames and as what a perfect estimator says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from support.textured import draw_person, shifted, texture

from mixsynth_stream.pipeline.frame import Frame, Luma
from mixsynth_stream.pipeline.glance.glance import Glance
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.pipeline.timeline import Timeline
from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, CORE_FROM_BLAZEPOSE, Skeleton
from mixsynth_stream.spaces import space_of
from mixsynth_stream.weights import load_model

CORE = list(CORE_FROM_BLAZEPOSE)
SIZE = (320, 300)  # width and height
SCALE = 48.0  # pixels from shoulders to hips
RATE_HZ = 30.0
EVERY = 10
_STANDING = {
    "nose": (0.0, -1.5),
    "shoulder": (0.35, -1.0),
    "elbow": (0.55, -0.4),
    "wrist": (0.6, 0.2),
    "index": (0.62, 0.35),
    "hip": (0.2, 0.0),
    "knee": (0.25, 0.9),
    "ankle": (0.25, 1.8),
    "foot_index": (0.35, 1.95),
}

Motion2D = Callable[[float], np.ndarray]  # seconds -> [17, 2] pixels


def standing(centre: Sequence[float], scale: float = SCALE) -> np.ndarray:  # [17, 2]
    """A person who faces the camera; their left is at the right of the picture."""
    rows = []
    for name in CORE_17.joints:
        x, y = _STANDING[name.removeprefix("left_").removeprefix("right_")]
        rows.append((-x if name.startswith("right_") else x, y))
    return np.array(rows) * scale + centre


def dancing(time_s: float, x: float = 160.0, speed: float = 0.0) -> np.ndarray:  # [17, 2]
    """Uneven swings of arms and trunk, which no curve through keyframes 333 ms apart can follow."""
    pose = standing((x + speed * time_s, 150.0))
    swing = 0.5 * np.sin(6 * time_s) + 0.3 * np.sin(11 * time_s + 1)
    for name, share in (("elbow", 0.5), ("wrist", 1.0), ("index", 1.1)):
        for side, sign in (("left", 1), ("right", -1)):
            joint = CORE_17.index(f"{side}_{name}")
            pose[joint] += SCALE * share * np.array([0.25 * sign * swing, -0.5 - 0.5 * swing])
    pose[[j for j, name in enumerate(CORE_17.joints) if "knee" not in name and "ankle" not in name]] += [6 * swing, 0]
    return pose


def estimate(pose: np.ndarray, skeleton: Skeleton = BLAZEPOSE_33) -> Person:  # [17, 2]
    """What a perfect estimator says: every landmark lies on its carrier, and metres are pixels over the scale."""
    landmarks = space_of("image", skeleton).carried(pose[None])[0, : len(skeleton)]
    hips = pose[[CORE_17.index("left_hip"), CORE_17.index("right_hip")]].mean(axis=0)
    world = np.concatenate([(landmarks - hips) * 0.5 / SCALE, np.zeros((len(skeleton), 1))], axis=1)
    return Person(landmarks, world, np.ones(len(skeleton)))


def picture(poses: Sequence[np.ndarray], camera: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:  # [H, W] uint8
    # Coarser and paler than the people, as what is behind people mostly is.
    background = 128 + (texture(SIZE[1], SIZE[0], 11, 14.0) - 128) / 2
    background = shifted(background, *camera) if any(camera) else background
    for person, pose in enumerate(poses):
        draw_person(background, pose, seed=20 + 40 * person)
    return np.asarray(background.clip(0, 255).astype(np.uint8))


def follow(
    people: Sequence[Motion2D],
    *,
    glance: bool = True,
    lag: int = 0,
    frames: int = 52,
    late: int = 0,
    luma: Callable[[int, np.ndarray], np.ndarray | None] = lambda _, plane: plane,
    camera: Callable[[float], tuple[float, float]] = lambda _: (0.0, 0.0),
    seen: Callable[[int, int], bool] = lambda _frame, _person: True,
    skeleton: Skeleton = BLAZEPOSE_33,
) -> list[Motion]:
    """The Motions of a stream; keyframes come every 10 frames, and their estimates `late` frames afterwards."""
    models = load_model(f"image-n{EVERY}"), load_model(f"world-n{EVERY}")
    timeline = Timeline(
        People(models, skeleton.name, max_people=len(people)),
        lag=lag,
        horizon_s=0.4,
        glance=Glance() if glance else None,
    )
    motions: list[Motion] = []
    pending: tuple[Frame, list[Person]] | None = None
    for index in range(frames):
        time_s = index / RATE_HZ
        poses = [person(time_s) for person in people]
        # Drawing takes longest.
        plane = luma(index, picture(poses, camera(time_s))) if glance else None
        stored = None if plane is None else Luma(plane)
        frame = Frame(index, time_s, *SIZE, lambda: np.zeros((1, 1, 3), np.uint8), luma=lambda stored=stored: stored)
        is_keyframe = index % EVERY == 0
        if is_keyframe:
            pending = frame, [estimate(pose, skeleton) for person, pose in enumerate(poses) if seen(index, person)]
        if not is_keyframe or late:
            motions += timeline.frame(frame)
        if pending is not None and index == pending[0].index + late:
            motions += timeline.keyframe(*pending)
    return motions + timeline.flush()


def error(motions: Sequence[Motion], people: Sequence[Motion2D], *, final: bool, ids: Sequence[int] = (0,)) -> float:
    """Mean distance from the truth, in body scales, in frames between keyframes after the third one.

    Joints of the network count, as far as the skeleton has them.
    """
    distances = []
    for motion in motions:
        if motion.final is not final or motion.index % EVERY == 0 or motion.index <= 2 * EVERY:
            continue
        for person, track in enumerate(ids):
            (row,) = np.flatnonzero(motion.ids == track)
            truth = people[person](motion.time_s)
            core = space_of("image", motion.skeleton).core_of(motion.poses[row])
            distances.append(np.nanmean(np.linalg.norm(core - truth, axis=1)) / SCALE)
    return float(np.mean(distances))
