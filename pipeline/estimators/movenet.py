"""MoveNetEye: Google's MoveNet on a region that is known, beside MediaPipe's person detector.

MediaPipe's wheel runs the network: a LiteRT interpreter is in it, and its ImageEmbedder gives the output of any network
for one picture. So no other library is needed.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.estimators.detector import PersonDetector
from mixsynth_stream.pipeline.estimators.mediapipe import first_line, import_mediapipe, quiet_stderr
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import COCO_17

# The side of each network's input, in pixels.
MOVENETS = {"movenet-lightning": 192, "movenet-thunder": 256}
# Where the joints score less than this on average, the region shows nobody.
_LEAST_SCORE = 0.15


def movenet_path(model: str) -> Path:
    """The file of a MoveNet network, which lies in the package's assets. `ModelError` where it does not."""
    path = ASSETS / f"{model.replace('-', '_')}.tflite"
    if not path.is_file():
        raise ModelError(
            f"the network {model} is not installed: {path} is missing. Build it with "
            f"`python scripts/build_movenet.py --models {model.removeprefix('movenet-')}` in a checkout, or use "
            "movenet-lightning, which ships"
        )
    return path


class MoveNetEye:
    """An `Eye` for COCO-17 in pixels; MoveNet gives no world poses.

    model: one of `MOVENETS`. `ModelError` where it is not installed, or MediaPipe cannot be used.
    """

    skeleton = COCO_17.name
    width = 1.0

    def __init__(self, model: str) -> None:
        self.model = model
        self.path = movenet_path(model)
        self._size = MOVENETS[model]
        self._detector: PersonDetector | None = PersonDetector()
        self._mediapipe: Any = import_mediapipe()
        self._network = self._opened()
        self._end = weakref.finalize(self, _close, self._network)

    def _opened(self) -> Any:
        vision = self._mediapipe.tasks.vision
        base = self._mediapipe.tasks.BaseOptions(model_asset_path=str(self.path))
        try:
            with quiet_stderr():
                network = vision.ImageEmbedder.create_from_options(vision.ImageEmbedderOptions(base_options=base))
                # Its first call logs.
                network.embed(self._image(np.zeros((self._size, self._size, 3), np.uint8)))
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"MediaPipe cannot use {self.path}: {first_line(error)}. Build it anew with scripts/build_movenet.py"
            ) from error
        return network

    def _image(self, picture: np.ndarray) -> Any:
        return self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, picture)

    def look(self, rgb: np.ndarray, region: Region) -> Person | None:  # rgb: [H, W, 3] uint8
        """The person in the region, or None."""
        self._open()
        result = self._network.embed(self._image(region.crop(rgb, self._size)))
        joints = np.asarray(result.embeddings[0].embedding, np.float64).reshape(len(COCO_17), 3)
        scores = np.clip(joints[:, 2], 0.0, 1.0)
        if scores.mean() < _LEAST_SCORE:
            return None
        pose = region.in_picture(joints[:, 1::-1])  # from (y, x)
        return Person(pose, np.full((len(COCO_17), 3), np.nan), scores)

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:  # rgb: [H, W, 3] uint8
        """Regions as MediaPipe's detector gives them, the surest first."""
        return self._open().find(rgb, part)

    def _open(self) -> PersonDetector:
        if self._detector is None:
            raise ValueError("this MoveNetEye is closed")
        return self._detector

    def close(self) -> None:
        """Free the networks; the eye cannot be used afterwards."""
        if self._detector is not None:
            self._end()
            self._detector.close()
            self._detector = None


def _close(network: Any) -> None:
    """Free a network. At the exit of Python MediaPipe cannot do that any more, and would print a traceback."""
    try:
        network.close()
    except RuntimeError:
        network._handle = None  # what its __del__ looks at
