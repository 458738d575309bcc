"""Build the pose landmarker bundles (`pose_landmarker_{lite,full,heavy}.task`) from two public packages.

MediaPipe's wheels ship no model. Older ones did: `mediapipe==0.10.21` contains the person detector and the full
landmark network, and the npm package `@mediapipe/pose` contains the lite, full and heavy landmark networks, all under
Apache-2.0. The Tasks API takes both networks in one uncompressed zip, each with a note on how its input is normalised.
The result depends on the pinned inputs only, and its SHA-256 is checked.

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

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema

from mixsynth_stream.files import ASSETS, zip_entry

WHEEL = "mediapipe==0.10.21"
NPM_PACKAGE = "@mediapipe/pose@0.5.1675469404"
MODELS = ("lite", "full", "heavy")
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

_METADATA_NAME = "TFLITE_METADATA"
_MEMBER_ALIGNMENT = 64


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns every byte array to 16 bytes, which the TFLite schema requires and the Python generator does not do."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        if x.dtype != np.uint8:
            return int(super().CreateNumpyVector(x))
        payload = x.tobytes()
        self.StartVector(1, len(payload), 16)
        self.head = self.head - len(payload)
        self.Bytes[self.head : self.head + len(payload)] = payload
        self.vectorNumElems = len(payload)
        return int(self.EndVector())


def normalisation_metadata(mean: float, std: float) -> bytes:
    """The TFLITE_METADATA of an RGB image model whose input is (pixel - mean) / std."""
    options = metadata_schema.NormalizationOptionsT()
    options.mean, options.std = [mean], [std]
    unit = metadata_schema.ProcessUnitT()
    unit.optionsType = metadata_schema.ProcessUnitOptions.NormalizationOptions
    unit.options = options
    image = metadata_schema.ImagePropertiesT()
    image.colorSpace = metadata_schema.ColorSpaceType.RGB
    content = metadata_schema.ContentT()
    content.contentPropertiesType = metadata_schema.ContentProperties.ImageProperties
    content.contentProperties = image
    tensor = metadata_schema.TensorMetadataT()
    tensor.name, tensor.content, tensor.processUnits = "image", content, [unit]
    subgraph = metadata_schema.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [tensor]
    model = metadata_schema.ModelMetadataT()
    model.subgraphMetadata, model.minParserVersion = [subgraph], "1.0.0"
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"M001")
    return bytes(builder.Output())


def metadata_of(model: bytes) -> bytes | None:
    """The TFLITE_METADATA of a TFLite model, or None."""
    parsed = tflite_schema.ModelT.InitFromPackedBuf(model)
    for entry in parsed.metadata or []:
        if entry.name == _METADATA_NAME.encode():
            return bytes(parsed.buffers[entry.buffer].data)
    return None


def add_metadata(model: bytes, metadata: bytes) -> bytes:
    """The same TFLite model with this TFLITE_METADATA buffer, in place of its own if it has one."""
    parsed = tflite_schema.ModelT.InitFromPackedBuf(model)
    data = np.frombuffer(metadata, np.uint8)
    for entry in parsed.metadata or []:
        if entry.name == _METADATA_NAME.encode():
            parsed.buffers[entry.buffer].data = data
            break
    else:
        buffer, entry = tflite_schema.BufferT(), tflite_schema.MetadataT()
        buffer.data = data
        entry.name, entry.buffer = _METADATA_NAME, len(parsed.buffers)
        parsed.buffers.append(buffer)
        parsed.metadata = [*(parsed.metadata or []), entry]
    builder = _AlignedBuilder(0)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_bundle(path: Path, detector: bytes, landmarks: bytes) -> None:
    """An uncompressed zip of both networks, the same bytes every time, each on a 64-byte boundary (it is mapped)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        for name, data in (("pose_detector.tflite", detector), ("pose_landmarks_detector.tflite", landmarks)):
            member = zip_entry(name)
            member.create_system, member.external_attr = 3, 0o644 << 16
            start = bundle.fp.tell() + 30 + len(name) + 4  # type: ignore[union-attr]
            padding = -start % _MEMBER_ALIGNMENT
            # An extra field is a 2-byte tag and a 2-byte length; 0xD935 is the tag of Android's zip alignment.
            member.extra = b"\x35\xd9" + padding.to_bytes(2, "little") + bytes(padding)
            bundle.writestr(member, data)


def checked(data: bytes, name: str) -> bytes:
    """The data itself. Where its SHA-256 is not the pinned one, the script ends with a sentence."""
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != INPUT_SHA256[name]:
        sys.exit(f"the {name} network has SHA-256 {sha256}, expected {INPUT_SHA256[name]}: another package version?")
    return data


def read_networks(wheel: Path, npm: Path | None, models: list[str]) -> dict[str, bytes]:
    """The detector and the landmark networks of these models, from the two packages."""
    networks = {}
    with zipfile.ZipFile(wheel) as archive:
        networks["detector"] = checked(archive.read(DETECTOR_IN_WHEEL), "detector")
        if "full" in models:
            networks["full"] = checked(archive.read(FULL_IN_WHEEL), "full")
    others = [name for name in models if name != "full"]
    if others and npm is not None:
        with tarfile.open(npm) as tarball:
            for name in others:
                member = tarball.extractfile(f"package/pose_landmark_{name}.tflite")
                if member is None:
                    sys.exit(f"{npm} has no pose_landmark_{name}.tflite: it should be {NPM_PACKAGE}")
                networks[name] = checked(member.read(), name)
    return networks


def fetch_wheel(folder: Path) -> Path:
    """Download the old wheel (any platform's holds the same networks)."""
    command = [sys.executable, "-m", "pip", "download", WHEEL, "--no-deps", "--only-binary", ":all:", "--quiet"]
    platform = ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    subprocess.run([*command, *platform, "--dest", str(folder)], check=True)
    return next(folder.glob("mediapipe-*.whl"))


def fetch_npm(folder: Path) -> Path:
    """Download the npm package."""
    subprocess.run(["npm", "pack", NPM_PACKAGE, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("mediapipe-pose-*.tgz"))


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
    status = 0
    for name in arguments.models:
        path = arguments.out / f"pose_landmarker_{name}.task"
        # The detector of the wheel has its metadata already; the landmark networks have none.
        write_bundle(path, networks["detector"], add_metadata(networks[name], normalisation_metadata(0.0, 255.0)))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        matches = sha256 == BUNDLE_SHA256[name]
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB  sha256 {sha256}{'' if matches else '  NOT AS EXPECTED'}")
        status |= not matches
    return status


if __name__ == "__main__":
    sys.exit(main())
