"""Bundle: the two networks of MediaPipe's pose landmarker, by name or from a .task file, and other pairs of them.

A person detector finds regions, and a landmark network looks at each. Both ship once, as they were published. The
models `lite`, `full` and `heavy` leave out the segmentation head of the landmark network, whose mask nobody reads: it
is cut when the file is opened. `full-official` and a .task file of the user's are taken as they are.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS, zip_entry

MODELS = ("lite", "full", "heavy")
DEFAULT_MODEL = "full"
_OFFICIAL = "-official"
POSE_MODELS = (*MODELS, *(model + _OFFICIAL for model in MODELS))

_DETECTOR, _LANDMARKS = "pose_detector.tflite", "pose_landmarks_detector.tflite"
# Constant networks, which `scripts/build_pose_bundle.py` makes.
CONSTANT_DETECTOR, CONSTANT_LANDMARKS = "constant_detector.tflite", "constant_landmarks.tflite"
# Outputs of a landmark network, in MediaPipe's order: landmarks, presence, mask, heatmap, world landmarks.
_OUTPUTS, _PRESENCE, _MASK = 5, 1, 2
# MediaPipe maps the networks where they lie in the bundle.
_MEMBER_ALIGNMENT = 64


def official(model: str) -> str:
    """The model as it was published: what dense means in comparisons. A .task file is itself."""
    return model + _OFFICIAL if model in MODELS else model


def is_cut(model: str) -> bool:
    """Whether the segmentation head of this model is cut when it is opened."""
    return model in MODELS


def bundle_path(model: str) -> Path:
    """The file of a model, by path or by name: lite, full and heavy lie in the package's assets."""
    if model in POSE_MODELS:
        name = model.removesuffix(_OFFICIAL)
        path = ASSETS / f"pose_landmarker_{name}.task"
        if not path.is_file():
            raise ModelError(
                f"the {name} pose model is not installed: {path} is missing. Build it with "
                f"`python scripts/build_pose_bundle.py --models {name}` in a checkout, or use the shipped model 'full'"
            )
        return path
    path = Path(model)
    if not path.is_file():
        raise ModelError(
            f"there is no pose model {model!r}: give {', '.join(MODELS)}, one of them with {_OFFICIAL!r} after it, or "
            "the path of a pose landmarker .task file"
        )
    return path


@dataclass(frozen=True)
class Bundle:
    """A person detector and a landmark network, each the bytes of a .tflite file."""

    detector: bytes
    landmarks: bytes

    def packed(self) -> bytes:
        """The bundle as a .task file that MediaPipe takes: an uncompressed zip, the same bytes every time."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in ((_DETECTOR, self.detector), (_LANDMARKS, self.landmarks)):
                member = zip_entry(name)
                member.create_system, member.external_attr = 3, 0o644 << 16
                padding = -(file.tell() + 30 + len(name) + 4) % _MEMBER_ALIGNMENT
                # An extra field is a 2-byte tag and a 2-byte length; 0xD935 is the tag of Android's zip alignment.
                member.extra = b"\x35\xd9" + padding.to_bytes(2, "little") + bytes(padding)
                archive.writestr(member, data)
        return file.getvalue()


def read_bundle(model: str) -> Bundle:
    """The networks of a model, by name or path. `ModelError` where the file is no pose landmarker bundle."""
    path = bundle_path(model)
    try:
        with zipfile.ZipFile(path) as archive:
            bundle = Bundle(archive.read(_DETECTOR), archive.read(_LANDMARKS))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} is not a pose landmarker bundle ({error}): it has to be a .task file that holds {_DETECTOR} and "
            f"{_LANDMARKS}"
        ) from error
    if not is_cut(model):
        return bundle
    try:
        return Bundle(bundle.detector, without_segmentation(bundle.landmarks))
    except (ValueError, struct.error) as error:
        raise ModelError(f"the {_LANDMARKS} of {path} {error}: use the model {official(model)!r} instead") from error


def look_bundle(model: str) -> Bundle:
    """The landmark network of a model behind a detector that always gives the whole of a square picture, upright."""
    return Bundle((ASSETS / CONSTANT_DETECTOR).read_bytes(), read_bundle(model).landmarks)


def find_bundle(model: str) -> Bundle:
    """The detector of a model, with landmarks that are always at the same places of the region that it gives.

    Landmarks 0-3 are its corners: upper left, upper right, lower right, lower left of an upright person in the picture.
    All others are its middle.
    """
    return Bundle(read_bundle(model).detector, (ASSETS / CONSTANT_LANDMARKS).read_bytes())


def without_segmentation(network: bytes) -> bytes:
    """A landmark network (.tflite) that does not compute its mask: the output of the mask is that of presence again.

    Only the list of operators and one number change, in place, so all other outputs keep their operators and weights.
    `ValueError` says what is not as in MediaPipe's landmark networks.
    """
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    data = bytearray(network)
    if not tflite.Model.ModelBufferHasIdentifier(data, 0):
        raise ValueError("is no TFLite network")
    model = tflite.Model.GetRootAs(data)
    if model.SubgraphsLength() != 1:
        raise ValueError(f"has {model.SubgraphsLength()} graphs instead of one")
    graph = model.Subgraphs(0)
    if graph.OutputsLength() != _OUTPUTS:
        raise ValueError(f"has {graph.OutputsLength()} outputs instead of {_OUTPUTS}")
    outputs = graph.OutputsAsNumpy()  # a view of `data`, as are all arrays below
    outputs[_MASK] = outputs[_PRESENCE]
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    required = set(outputs.tolist())
    kept = []
    for index, operator in reversed(list(enumerate(operators))):
        if not required.isdisjoint(operator.OutputsAsNumpy().tolist()):
            required.update(operator.InputsAsNumpy().tolist())
            kept.append(index)
    # A vector of tables: its length, then how far ahead of its own place each table lies.
    table = graph._tab
    start = table.Vector(table.Offset(10))
    length = np.frombuffer(data, np.uint32, 1, start - 4)
    ahead = np.frombuffer(data, np.uint32, len(operators), start)
    places = start + 4 * np.arange(len(operators), dtype=np.uint32)
    tables = places + ahead
    ahead[: len(kept)] = tables[kept[::-1]] - places[: len(kept)]
    ahead[len(kept) :] = 0
    length[0] = len(kept)
    return bytes(data)
