"""SyntheticReader: the source "synthetic:", people whose joints are known at every time, drawn as capsules.

It needs no file and no model: for tests, examples, and machines on which MediaPipe does not run.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame, VideoInfo
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.source import FrameSource
from mixsynth_stream.skeleton import BLAZEPOSE_33

_FOCAL = 1.1  # in frame heights, as of a lens of about 50 degrees
_DISTANCE_M = 3.2
_STRIDE_HZ = 0.9
_CROSSING_S = 8.0  # from one side to the other and back
_BACKGROUND = (70, 74, 80)
_SHIRTS = ((214, 69, 65), (52, 120, 196), (62, 150, 81), (222, 160, 40))
_SKIN = (224, 184, 152)
_LIMB_RADIUS_M = 0.05


@dataclass(frozen=True, kw_only=True)
class SyntheticScene:
    """The options in "synthetic:people=2&seconds=10&rate=30&size=640x480&live=0". A scene of 0 seconds has no end."""

    people: int = 1
    seconds: float = 10.0
    rate: float = 30.0
    size: tuple[int, int] = (640, 480)  # width, height
    live: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.people <= 16:
            raise ValueError(f"people must be in 0..16, not {self.people}")
        if not (self.rate > 0 and self.seconds >= 0 and min(self.size) >= 1):
            raise ValueError(f"rate and size must be above 0 and seconds not below it, not {self}")

    @classmethod
    def parse(cls, source: str) -> SyntheticScene:
        """A scene from its text; SourceError names the option that does not fit."""
        readers: dict[str, Callable[[str], Any]] = {"people": int, "seconds": float, "rate": float}
        readers |= {"size": _size, "live": _flag}
        options = {}
        for name, value in parse_qsl(source.removeprefix("synthetic:").lstrip("?"), keep_blank_values=True):
            if name not in readers:
                choices = ", ".join(field.name for field in fields(cls))
                raise SourceError(f"a synthetic source has no option {name!r}: choose from {choices}")
            try:
                options[name] = readers[name](value)
            except ValueError as error:
                raise SourceError(f"the synthetic source's {name}={value} cannot be read: {error}") from error
        try:
            return cls(**options)
        except ValueError as error:
            raise SourceError(f"{source}: {error}") from error

    def truth(self, time_s: float) -> list[Person]:
        """Everybody's true pose at a time: projected to pixels, and in metres about the hips; scores are 1."""
        return [self._person(number, time_s) for number in range(self.people)]

    def draw(self, time_s: float) -> np.ndarray:  # -> [H, W, 3] uint8
        """The picture at a time; nearer people cover those behind."""
        width, height = self.size
        rgb = np.full((height, width, 3), _BACKGROUND, np.uint8)
        for number in sorted(range(self.people), key=lambda n: -self._place(n, time_s)[2]):
            person = self._person(number, time_s)
            radius_px = _LIMB_RADIUS_M * _FOCAL * height / self._place(number, time_s)[2]
            _draw_person(rgb, person.pose, radius_px, _SHIRTS[number % len(_SHIRTS)])
        return rgb

    def _person(self, number: int, time_s: float) -> Person:
        width, height = self.size
        walk = walker(2 * math.pi * (_STRIDE_HZ * time_s + 0.31 * number), facing=1 if number % 2 == 0 else -1)
        place = walk + self._place(number, time_s)
        pose = place[:, :2] / place[:, 2:] * _FOCAL * height + [width / 2, height / 2]
        return Person(pose, walk, np.ones(len(walk)))

    def _place(self, number: int, time_s: float) -> np.ndarray:  # -> [3] metres, the hips from the camera
        """Each person walks a little further off than the one before and in the other direction, so that they cross."""
        swing = math.sin(2 * math.pi * time_s / _CROSSING_S + 0.4 * (number // 2))
        reach_m = 0.9 * min(1.0, self.size[0] / self.size[1])
        side = 1 if number % 2 == 0 else -1
        return np.array([side * reach_m * swing, -0.05, _DISTANCE_M + 0.6 * number])


class SyntheticReader(FrameSource):
    """Frames of a SyntheticScene. With live=1 the clock paces them, and those that nobody took in time are dropped."""

    def __init__(self, source: str | SyntheticScene = "synthetic:") -> None:
        super().__init__()
        self.scene = scene = source if isinstance(source, SyntheticScene) else SyntheticScene.parse(source)
        self.estimator = SyntheticEstimator(scene)
        count = round(scene.seconds * scene.rate) or None
        self.info = VideoInfo(
            source=source if isinstance(source, str) else "synthetic:",
            width=scene.size[0],
            height=scene.size[1],
            rate_hz=scene.rate,
            duration_s=scene.seconds or None,
            frame_count=count,
            live=scene.live,
        )
        self._index = 0
        self._start_s: float | None = None
        self._closed = threading.Event()

    def __next__(self) -> Frame:
        if self.scene.live:
            self._keep_pace()
        index = self._index
        if self._closed.is_set() or (self.info.frame_count is not None and index >= self.info.frame_count):
            raise StopIteration
        self._index += 1
        time_s = index / self.scene.rate
        received_s = max(self.now_s() or 0.0, time_s) if self.scene.live else None
        return Frame(index, time_s, *self.scene.size, partial(self.scene.draw, time_s), received_s=received_s)

    def now_s(self) -> float | None:
        """The present, on the clock of a live scene; None before its first frame, and for other scenes."""
        return None if self._start_s is None else time.perf_counter() - self._start_s

    def close(self) -> None:
        self._closed.set()

    def _keep_pace(self) -> None:
        now_s = time.perf_counter()
        self._start_s = now_s if self._start_s is None else self._start_s
        newest = int((now_s - self._start_s) * self.scene.rate)
        if newest > self._index:
            self._count("dropped_consumer_behind", newest - self._index)
            self._index = newest
        self._closed.wait(max(0.0, self._start_s + self._index / self.scene.rate - now_s))


class SyntheticEstimator:
    """An Estimator that knows the scene. It gives true poses, with noise and missed people where that is asked for.

    Its poses depend on the seed and the time only, not on the calls before.
    """

    skeleton = BLAZEPOSE_33.name

    def __init__(
        self, scene: SyntheticScene | None = None, *, noise_px: float = 0.0, miss_rate: float = 0.0, seed: int = 0
    ) -> None:
        self.scene = scene or SyntheticScene()
        self._noise_px = noise_px
        self._miss_rate = miss_rate
        self._seed = seed

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8
        rng = np.random.default_rng([self._seed, round(time_s * 1e6)])
        people = [person for person in self.scene.truth(time_s) if rng.random() >= self._miss_rate]
        return [
            replace(person, pose=person.pose + rng.normal(0, self._noise_px, person.pose.shape)) for person in people
        ]

    def forget(self) -> None:
        """Nothing to forget: it knows the scene, not the pictures."""

    def close(self) -> None:
        """Nothing to release."""


def walker(phase: float, facing: int) -> np.ndarray:  # -> [33, 3] metres about the hips, x right, y down, z away
    """A walker in the BlazePose-33 skeleton, seen from the side and a little from the front. One stride is 2 pi."""
    forward = np.array([0.8 * facing, 0.0, -0.6])  # the direction of the walk
    left = np.array([-forward[2], 0.0, forward[0]])
    up = np.array([0.0, -1.0, 0.0])
    joints = np.zeros((33, 3))

    def put(name: str, point: np.ndarray) -> np.ndarray:
        joints[BLAZEPOSE_33.index(name)] = point
        return point

    def limb(start: np.ndarray, length_m: float, angle: float) -> np.ndarray:
        """The end of a limb that hangs down at angle 0 and swings forward with a positive angle."""
        return start + length_m * (math.sin(angle) * forward - math.cos(angle) * up)

    bounce = 0.02 * math.cos(2 * phase) * up
    neck = 0.5 * up + bounce
    head = neck + 0.18 * up
    put("nose", head + 0.11 * forward)
    for side, sign, swing in (("left", 1, phase), ("right", -1, phase + math.pi)):
        for name, ahead_m, out_m, up_m in _FACE:
            put(name.format(side), head + ahead_m * forward + sign * out_m * left + up_m * up)
        shoulder = put(f"{side}_shoulder", neck + 0.18 * sign * left)
        elbow_angle = -0.45 * math.sin(swing)
        elbow = put(f"{side}_elbow", limb(shoulder, 0.28, elbow_angle))
        hand_angle = elbow_angle + 0.5 + 0.25 * math.sin(swing + 2.5)
        wrist = put(f"{side}_wrist", limb(elbow, 0.25, hand_angle))
        put(f"{side}_index", limb(wrist, 0.10, hand_angle))
        put(f"{side}_pinky", limb(wrist, 0.09, hand_angle - 0.4))
        put(f"{side}_thumb", limb(wrist, 0.06, hand_angle + 0.6))
        hip = put(f"{side}_hip", 0.10 * sign * left)
        thigh_angle = 0.5 * math.sin(swing)
        knee = put(f"{side}_knee", limb(hip, 0.43, thigh_angle))
        shin_angle = thigh_angle - 0.45 * (1 + math.sin(swing - 1.3))
        ankle = put(f"{side}_ankle", limb(knee, 0.42, shin_angle))
        put(f"{side}_heel", limb(ankle, 0.06, shin_angle - 0.7))
        put(f"{side}_foot_index", limb(ankle, 0.17, shin_angle + 1.2))
    return joints


# Face landmarks from the middle of the head: metres ahead, to the side, up.
_FACE = (
    ("{}_eye_inner", 0.09, 0.015, 0.035),
    ("{}_eye", 0.085, 0.03, 0.035),
    ("{}_eye_outer", 0.075, 0.045, 0.035),
    ("{}_ear", 0.0, 0.075, 0.02),
    ("mouth_{}", 0.09, 0.025, -0.045),
)


def _draw_person(rgb: np.ndarray, pose: np.ndarray, radius_px: float, shirt: tuple[int, int, int]) -> None:
    """Capsules along the bones and a disc for the head. rgb: [H, W, 3], pose: [33, 2]."""
    for first, second in BLAZEPOSE_33.bones:
        if first > 10:  # below the head
            _capsule(rgb, pose[first], pose[second], radius_px, shirt)
    _capsule(rgb, pose[[11, 12]].mean(axis=0), pose[[23, 24]].mean(axis=0), 3 * radius_px, shirt)
    head = pose[[7, 8]].mean(axis=0)
    _capsule(rgb, head, head, 2.4 * radius_px, _SKIN)


def _capsule(rgb: np.ndarray, a: np.ndarray, b: np.ndarray, radius_px: float, colour: tuple[int, int, int]) -> None:
    """Paint every pixel nearer than radius_px to the line from a to b. rgb: [H, W, 3], a and b: [2]."""
    radius_px = max(radius_px, 0.7)
    low = np.maximum(np.floor(np.minimum(a, b) - radius_px), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + radius_px) + 1, rgb.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    x = np.arange(low[0], high[0])[None, :] - a[0]
    y = np.arange(low[1], high[1])[:, None] - a[1]
    dx, dy = b - a
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    near = (x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius_px**2
    rgb[low[1] : high[1], low[0] : high[0]][near] = colour


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise ValueError("a size is written WIDTHxHEIGHT, such as 640x480")
    return int(width), int(height)


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("it is 0 or 1")
    return text == "1"
