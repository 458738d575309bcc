"""A body of SMPL whose joints turn at known speeds, and networks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.presets import PREDICTIONS, named_preset
from mixsynth_stream.rotations import axis_angle_to_matrix, geodesic_error, matrix_from_6d
from mixsynth_stream.skeleton import SMPL_24
from mixsynth_stream.spaces import SPACES
from mixsynth_stream.weights import WeightsInfo, load_weights, save_weights, untrained_state

JOINTS = len(SMPL_24)
_AXES = np.random.default_rng(5).normal(size=(JOINTS, 3))
_AXES /= np.linalg.norm(_AXES, axis=1, keepdims=True)


def angles(time_s: np.ndarray | float, start: float = 2.6) -> np.ndarray:  # [...] -> [..., 24] radians
    """Joint j turns steadily; from `start` most of them pass half a turn within 2 s."""
    return np.asarray(start + np.asarray(time_s)[..., None] * np.linspace(0.2, 1.1, JOINTS))


def turning(time_s: np.ndarray | float, start: float = 2.6) -> np.ndarray:  # [...] -> [..., 24, 3] radians
    """As files hold it: past half a turn the vector flips to the other side."""
    angle = angles(time_s, start)
    return np.asarray(((angle + np.pi) % (2 * np.pi) - np.pi)[..., None] * _AXES)


def truth(time_s: np.ndarray | float, start: float = 2.6) -> np.ndarray:  # [...] -> [..., 24, 3, 3]
    return axis_angle_to_matrix(angles(time_s, start)[..., None] * _AXES)


def degrees_off(numbers: np.ndarray, time_s: np.ndarray | float, start: float = 2.6) -> float:  # [..., 24, 6]
    """The largest angle between these rotations and the truth."""
    return float(np.degrees(geodesic_error(matrix_from_6d(numbers), truth(time_s, start))).max())


def recording(seconds: float = 2.0, rate_hz: float = 30.0) -> dict[str, np.ndarray]:
    """Two people in the shape of an estimates file."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return {"time_s": time_s, "rotations": np.stack([turning(time_s), turning(time_s, 0.5)], axis=1)}


def preset_weights(folder: Path, preset: str) -> Path:
    """Untrained weights (Catmull-Rom) of a preset's joints, spacing and number of keyframes, in a small encoder."""
    published = named_preset(preset)
    config = ModelConfig(
        sample_interval=published.sample_interval,
        step=published.step,
        horizon=10 if preset in PREDICTIONS else 0,
        emb_dim=8,
        num_encoder_layers=1,
        joint_dim=len(published.skeleton) * SPACES[published.space].dims,
    )
    info = WeightsInfo(
        skeleton=published.skeleton.name,
        skeleton_joints=published.skeleton.joints,
        space=published.space,
        rate_hz=published.rate_hz,
        normalisation=published.normalisation,
        data="none",
        licence="CC0-1.0",
    )
    path = folder / f"{preset}.safetensors"
    save_weights(path, untrained_state(config), config, info)
    return path


def saved_again(path: Path, **changes: object) -> Path:
    """The same weights with other facts about them in the file."""
    state, config, info = load_weights(path)
    changed = path.with_name(f"changed-{path.name}")
    save_weights(changed, state, config, replace(info, **changes))  # type: ignore[arg-type]
    return changed
