"""Small stand-ins shared by tests: a network and an uncertainty table of known numbers, people of known motion."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.interpolation import catmull_rom_matrix
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.uncertainty import GROUPS, SigmaTable
from mixsynth_stream.weights import Model

_DIMS = {"image": 2, "world": 3}


class CatmullRom:
    """The untrained network, whose output is known in closed form. `batches` counts the windows of each call."""

    def __init__(self, space: str = "image", *, sample_interval: int = 10, step: int = 4, horizon: int = 28) -> None:
        dims = _DIMS[space]
        self.config = ModelConfig(
            sample_interval=sample_interval,
            step=step,
            horizon=horizon,
            joint_dim=17 * dims,
            emb_dim=8,
            num_encoder_layers=1,
        )
        normalisation = {"image": "root_scale", "world": "root"}[space]
        self.info: Any = SimpleNamespace(
            skeleton=CORE_17.name,
            skeleton_joints=CORE_17.joints,
            space=space,
            rate_hz=30.0,
            normalisation=normalisation,
        )
        self.sigma_table: SigmaTable | None = None
        self.backend = "fake"
        self.batches: list[int] = []
        self._matrix = catmull_rom_matrix(sample_interval, step, horizon)

    expect = Model.expect

    def __call__(self, keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        self.batches.append(len(keyframes))
        assert keyframes.shape[1:] == (self.config.num_keyframes, self.config.joint_dim)
        assert keyframes.dtype == np.float32
        return np.einsum("tq,bqd->btd", self._matrix, keyframes)


GAP_STEPS, AHEAD_STEPS = (0, 2, 5, 8, 10), (1, 7, 14, 28)


def sigma_table() -> SigmaTable:
    """A hump in the gap, growth ahead, twice as much in every column; the wrist's is three times the others'."""
    rows = np.array([0.01, 0.03, 0.05, 0.03, 0.01] * 2 + [0.02, 0.1, 0.2, 0.4])
    sigma = rows[:, None] * np.array([1.0, 2.0, 4.0]) * np.where(np.array(GROUPS) == "wrist", 3, 1)[:, None, None]
    weights = np.array([[0.3, 0.2, 0.2, 0.2, 0.1], [0.4, 0.2, 0.2, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1, 0.1]])
    multipliers = np.array([[[0.7, 2.0]] * len(GROUPS), [[0.8, 2.0]] * len(GROUPS)])
    return SigmaTable(GAP_STEPS, GAP_STEPS, AHEAD_STEPS, (0.03, 0.3, 3.0), weights, sigma, multipliers)


def with_sigma(space: str = "image") -> CatmullRom:
    """The untrained network with `sigma_table`."""
    model = CatmullRom(space)
    model.sigma_table = sigma_table()
    return model


def models(**shape: int) -> tuple[Any, Any]:
    """An (image, world) pair of untrained networks."""
    return CatmullRom("image", **shape), CatmullRom("world", **shape)


def standing_pose(x_px: float = 300.0, y_px: float = 200.0, size_px: float = 100.0) -> np.ndarray:  # -> [33, 2]
    """A rough front view: shoulders at the top, hips one torso below, and so on."""
    pose = np.zeros((33, 2))
    pose[:11] = [0.0, -0.5]
    pose[:11, 0] += np.linspace(-0.1, 0.1, 11)
    left_side = {11: (0.2, 0), 13: (0.3, 0.5), 15: (0.3, 0.9), 17: (0.33, 1.0), 19: (0.3, 1.05), 21: (0.25, 0.95)}
    left_side |= {23: (0.12, 1.0), 25: (0.13, 1.8), 27: (0.13, 2.5), 29: (0.12, 2.6), 31: (0.2, 2.7)}
    for joint, (x, y) in left_side.items():
        pose[joint], pose[joint + 1] = (x, y), (-x, y)
    return pose * size_px + [x_px, y_px]


def person(pose: np.ndarray | None = None, **place: float) -> Person:
    """A Person at a place in the picture; their world pose is the picture's, scaled to metres about the hips."""
    pose = standing_pose(**place) if pose is None else pose
    centred = pose - (pose[23] + pose[24]) / 2
    world = np.concatenate([centred / 200.0, np.zeros((33, 1))], axis=1)
    return Person(pose, world, np.full(33, 0.9))


@dataclass
class FakeFrame:
    """A frame without a decoder."""

    index: int
    time_s: float
    width: int = 640
    height: int = 480
    rgb: np.ndarray = field(default_factory=lambda: np.zeros((480, 640, 3), np.uint8), repr=False)
    stored_size: Any = None  # square samples

    def __post_init__(self) -> None:
        self.stored_size = self.stored_size or (self.width, self.height)
