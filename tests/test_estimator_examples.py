"""The examples for rtmlib, Ultralytics and MMPose, with stand-ins that give what these libraries give."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.skeleton import COCO_17

# Somebody seen from the front, in pixels about the middle of the hips.
SHAPE = [(0, -80), (5, -85), (-5, -85), (12, -82), (-12, -82), (25, -55), (-25, -55), (35, -25), (-35, -25), (38, 5)]
SHAPE += [(-38, 5), (15, 0), (-15, 0), (16, 45), (-16, 45), (17, 90), (-17, 90)]
FRAMES = 41


def pose_at(x_px: float) -> np.ndarray:  # -> [17, 2]
    return np.add(SHAPE, [x_px, 120]).astype(np.float32)


def picture(x_px: int) -> np.ndarray:
    """Black, with the place of the hips as the red of its first pixel: 0 where nobody is."""
    rgb = np.zeros((240, 320, 3), np.uint8)
    rgb[0, 0, 0] = x_px
    return rgb


def hips_in(bgr: np.ndarray) -> int:
    """What a library that expects BGR reads in the picture."""
    assert bgr.flags.c_contiguous and bgr.dtype == np.uint8
    assert bgr[0, 0, 0] == 0, "the picture has red where the library expects blue"
    return int(bgr[0, 0, 2])


class Tensor:
    """A tensor on some device, as Ultralytics gives."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def cpu(self) -> SimpleNamespace:
        return SimpleNamespace(numpy=lambda: self.values)


def rtmlib_body(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arrays; without anybody one person of low scores. Scores may exceed 1."""
    x = hips_in(bgr)
    return pose_at(x)[None], np.full((1, 17), 1.05 if x else 0.1, np.float32)


def ultralytics_model(bgr: np.ndarray, *, verbose: bool) -> list[Any]:
    """A list of one result, whose scores are None where nobody is."""
    x = hips_in(bgr)
    assert not verbose
    poses = Tensor(pose_at(x)[None] if x else np.zeros((0, 17, 2), np.float32))
    return [SimpleNamespace(keypoints=SimpleNamespace(xy=poses, conf=Tensor(np.full((1, 17), 0.9)) if x else None))]


def mmpose_inferencer(bgr: np.ndarray) -> Iterator[dict[str, Any]]:
    """A generator of dictionaries, with people as lists of numbers by picture."""
    x = hips_in(bgr)
    scores = [1.02 if x else 0.05] * 17
    person = {"keypoints": pose_at(x).tolist(), "keypoint_scores": scores, "bbox": ([0, 0, 1, 1],), "bbox_score": 0.9}
    yield {"visualization": [], "predictions": [[person]]}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / "examples" / "estimators" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "kind", "library"),
    [
        ("rtmlib_body", "RtmlibEstimator", rtmlib_body),
        ("ultralytics_pose", "UltralyticsEstimator", ultralytics_model),
        ("mmpose_inferencer", "MMPoseEstimator", mmpose_inferencer),
    ],
)
def test_what_a_library_gives_becomes_motion(name: str, kind: str, library: Any) -> None:
    estimator = getattr(example(name), kind)(library)
    assert estimator(picture(0), 0.0) == []
    frames = [(picture(120 + k), k / 30) for k in range(FRAMES)]
    with Stream(frames, estimator=estimator) as stream:
        motions = [motion for motion in stream if motion.final]
    assert len(motions) == FRAMES and all(motion.skeleton == COCO_17 for motion in motions)
    for motion in motions:
        assert np.abs(motion.poses[0] - pose_at(120 + motion.index)).max() < 2.0
