"""OnnxModel: a pose network in an ONNX file, its input, and which of the known heads it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.skeleton import COCO_17, HALPE_26, WHOLEBODY_133, Skeleton
from mixsynth_stream.telemetry import import_onnxruntime

ONNX_SUFFIX = ".onnx"
SIMCC, HEATMAP, YOLO, YOLO_ENDED = "SimCC", "heatmaps", "YOLO pose", "YOLO pose without duplicates"
# The skeletons that such networks have, by their number of joints.
_SKELETONS = {len(skeleton): skeleton for skeleton in (COCO_17, HALPE_26, WHOLEBODY_133)}
# Numbers of a person beside the joints, of which each has three: a box and its score; then also its class.
_OF_BOX, _OF_ENDED_BOX = 5, 6
# So many places YOLO's own choice has at most, and its raw output more.
_MOST_CHOSEN = 1000
# More numbers than of the person with the most joints are places: networks that find things have them there, too.
_MOST_OF_A_PERSON = _OF_ENDED_BOX + 3 * max(_SKELETONS)
# The side of an input whose size the file leaves open, which only YOLO's exports do.
_OPEN_SIDE = 640
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class OnnxModel:
    """A network that is ready to run on pictures of `height` x `width`, whose `skeleton` has K joints.

    `head` is one of SIMCC, with outputs [1, K, X] and [1, K, Y]; HEATMAP, [1, K, h, w]; YOLO, [1, 5 + 3 K, A]; and
    YOLO_ENDED, [1, A, 6 + 3 K].
    """

    path: Path
    height: int
    width: int
    head: str
    skeleton: Skeleton
    _session: Any
    _dtype: Any

    @property
    def is_top_down(self) -> bool:
        """Whether it looks at one person, and not at a whole picture."""
        return self.head in (SIMCC, HEATMAP)

    def close(self) -> None:
        """Nothing to free: the session goes with its last user."""

    def run(self, picture: np.ndarray) -> list[np.ndarray]:  # [H, W, 3] float
        """The outputs as float64, without their first axis, for one picture, normalised as the network needs it.

        `ModelError` where one is not finite.
        """
        outputs = [output[0].astype(np.float64) for output in _outputs(self._session, picture, self._dtype)]
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelError(f"{self.path} gives numbers that are not finite: export the network as float32")
        return outputs


def onnx_path(model: str) -> Path:
    """The file itself. `ModelError` where there is none."""
    path = Path(model)
    if not path.is_file():
        raise ModelError(f"there is no pose network {model!r}: give the path of an ONNX file")
    return path


def open_onnx(model: str) -> OnnxModel:
    """The network in a file. `ModelError` where it cannot be run, or is none of the kinds that are known."""
    path = onnx_path(model)
    try:
        onnxruntime = import_onnxruntime()
    except (ImportError, OSError) as error:
        raise ModelError(
            f"the network {path} needs ONNX Runtime, which cannot be used here ({error}): install it with "
            "`pip install 'mixsynth-stream[onnx]'`"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        height, width, is_open, dtype = _input(session)
        outputs = _outputs(session, np.zeros((height, width, 3)), dtype)
        head, joints = _head([output.shape for output in outputs], height, width)
    except _UnknownError as error:
        raise ModelError(f"{path} is no pose network that is known: {error}") from None
    except Exception as error:  # ONNX Runtime has classes of errors of its own, derived from this one
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelError(f"ONNX Runtime cannot run {path} ({reason}): export the network anew") from error
    if is_open and head in (SIMCC, HEATMAP):
        raise ModelError(f"{path} leaves the size of its input open: export the network with a fixed height and width")
    if joints not in _SKELETONS:
        known = ", ".join(f"{count} ({skeleton.name})" for count, skeleton in _SKELETONS.items())
        raise ModelError(f"{path} gives {joints} joints, and known are {known}: write an estimator around it")
    return OnnxModel(path, height, width, head, _SKELETONS[joints], session, dtype)


class _UnknownError(Exception):
    """Why a network is none of the known kinds."""


def _input(session: Any) -> tuple[int, int, bool, Any]:
    """Height and width of the only input, whether the file leaves them open, and the type of its numbers."""
    inputs = session.get_inputs()
    shape = inputs[0].shape
    is_picture = len(shape) == 4 and shape[1] == 3 and (shape[0] == 1 or not isinstance(shape[0], int))
    if len(inputs) != 1 or not is_picture or inputs[0].type not in _TYPES:
        listing = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise _UnknownError(f"its input must be one picture of floating-point numbers [1, 3, H, W], found {listing}")
    is_open = not all(isinstance(side, int) for side in shape[2:])
    height, width = (side if isinstance(side, int) else _OPEN_SIDE for side in shape[2:])
    return height, width, is_open, _TYPES[inputs[0].type]


def _outputs(session: Any, picture: np.ndarray, dtype: Any) -> list[np.ndarray]:
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype)
    outputs: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: planes})
    return outputs


def _head(shapes: list[tuple[int, ...]], height: int, width: int) -> tuple[str, int]:
    """Which head gives outputs of these shapes, and its number of joints."""
    ranks = [len(shape) for shape in shapes]
    if ranks == [3, 3] and shapes[0][1] == shapes[1][1]:
        columns, rows = (shape[2] for shape in shapes)
        if columns >= width and columns * height == rows * width:
            return SIMCC, shapes[0][1]
    if ranks == [4] and min(shapes[0][2:]) > 1 and shapes[0][2] * width == shapes[0][3] * height:
        return HEATMAP, shapes[0][1]
    if ranks == [3]:
        _, rows, columns = shapes[0]
        if rows < columns and rows > _OF_BOX and (rows - _OF_BOX) % 3 == 0:
            return YOLO, (rows - _OF_BOX) // 3
        if rows <= _MOST_CHOSEN and _OF_ENDED_BOX < columns <= _MOST_OF_A_PERSON and (columns - _OF_ENDED_BOX) % 3 == 0:
            return YOLO_ENDED, (columns - _OF_ENDED_BOX) // 3
    listing = ", ".join(str(list(shape)) for shape in shapes)
    raise _UnknownError(
        f"its outputs must be those of {SIMCC} ([1, K, X], [1, K, Y]), {HEATMAP} ([1, K, h, w]) or {YOLO} "
        f"([1, 5 + 3 K, A] or [1, A, 6 + 3 K]) for K joints, found {listing} for a picture of {width} x {height}"
    )
