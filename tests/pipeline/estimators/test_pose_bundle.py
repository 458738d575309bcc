"""The pose bundle that ships: its bytes are the ones the script builds, and the script builds the same bytes again."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from mixsynth_stream.files import ASSETS, CHECKOUT

BUNDLE = ASSETS / "pose_landmarker_full.task"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_pose_bundle", CHECKOUT / "scripts" / "build_pose_bundle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def networks() -> dict[str, bytes]:
    with zipfile.ZipFile(BUNDLE) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def test_the_shipped_bundle_is_the_one_that_the_script_builds(script: ModuleType) -> None:
    digest = hashlib.sha256(BUNDLE.read_bytes()).hexdigest()
    assert digest == script.BUNDLE_SHA256["full"]
    assert digest in (BUNDLE.parent / "README.md").read_text(encoding="utf-8")


def test_the_bundle_is_stored_and_its_detector_is_the_published_one(
    script: ModuleType, networks: dict[str, bytes]
) -> None:
    with zipfile.ZipFile(BUNDLE) as bundle:
        assert all(member.compress_type == zipfile.ZIP_STORED for member in bundle.infolist())
    assert list(networks) == ["pose_detector.tflite", "pose_landmarks_detector.tflite"]
    assert hashlib.sha256(networks["pose_detector.tflite"]).hexdigest() == script.INPUT_SHA256["detector"]


def test_both_networks_say_how_their_input_is_normalised(script: ModuleType, networks: dict[str, bytes]) -> None:
    normalisations = {}
    for name, model in networks.items():
        metadata = script.metadata_of(model)
        parsed = script.metadata_schema.ModelMetadataT.InitFromPackedBuf(metadata)
        options = parsed.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0].options
        normalisations[name] = (list(options.mean), list(options.std))
    assert normalisations["pose_detector.tflite"] == ([127.5], [127.5])
    assert normalisations["pose_landmarks_detector.tflite"] == ([0.0], [255.0])


def test_building_again_gives_the_same_bytes(script: ModuleType, networks: dict[str, bytes], tmp_path: Path) -> None:
    metadata = script.normalisation_metadata(0.0, 255.0)
    landmarks = script.add_metadata(networks["pose_landmarks_detector.tflite"], metadata)
    script.write_bundle(tmp_path / "again.task", networks["pose_detector.tflite"], landmarks)
    assert (tmp_path / "again.task").read_bytes() == BUNDLE.read_bytes()


def test_other_metadata_gives_other_bytes(script: ModuleType, networks: dict[str, bytes]) -> None:
    model = networks["pose_landmarks_detector.tflite"]
    changed = script.add_metadata(model, script.normalisation_metadata(127.5, 127.5))
    assert changed != model
    assert script.metadata_of(changed) == script.normalisation_metadata(127.5, 127.5)


def test_a_network_of_another_version_is_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="another package version"):
        script.checked(b"not the network", "full")
