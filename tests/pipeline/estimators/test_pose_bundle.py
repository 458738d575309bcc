"""The networks that ship: their bytes are the ones that the script makes, and it makes the same bytes again."""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from types import ModuleType

import pytest

from mixsynth_stream.files import ASSETS, CHECKOUT
from mixsynth_stream.pipeline.estimators.bundle import (
    CONSTANT_DETECTOR,
    CONSTANT_LANDMARKS,
    MODELS,
    Bundle,
    read_bundle,
)

BUNDLE = ASSETS / "pose_landmarker_full.task"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(CHECKOUT / "scripts")
    return importlib.import_module("build_pose_bundle")


@pytest.fixture
def tflite(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(CHECKOUT / "scripts")
    return importlib.import_module("tflite_graph")


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


def test_both_networks_say_how_their_input_is_normalised(tflite: ModuleType, networks: dict[str, bytes]) -> None:
    normalisations = {}
    for name, model in networks.items():
        metadata = tflite.metadata_of(model)
        parsed = tflite.metadata_schema.ModelMetadataT.InitFromPackedBuf(metadata)
        options = parsed.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0].options
        normalisations[name] = (list(options.mean), list(options.std))
    assert normalisations["pose_detector.tflite"] == ([127.5], [127.5])
    assert normalisations["pose_landmarks_detector.tflite"] == ([0.0], [255.0])


def test_building_again_gives_the_same_bytes(script: ModuleType, networks: dict[str, bytes]) -> None:
    metadata = script.normalisation_metadata(0.0, 255.0)
    landmarks = script.add_metadata(networks["pose_landmarks_detector.tflite"], metadata)
    assert Bundle(networks["pose_detector.tflite"], landmarks).packed() == BUNDLE.read_bytes()


@pytest.mark.parametrize("model", MODELS)
def test_without_its_segmentation_head_a_network_is_the_pinned_one(model: str, script: ModuleType) -> None:
    if not (ASSETS / f"pose_landmarker_{model}.task").is_file():
        pytest.skip(f"{model} is not built here")
    assert hashlib.sha256(read_bundle(model).landmarks).hexdigest() == script.CUT_SHA256[model]


@pytest.mark.parametrize(("name", "part"), [(CONSTANT_DETECTOR, "detector"), (CONSTANT_LANDMARKS, "landmarks")])
def test_the_constant_networks_are_the_ones_that_the_script_makes(name: str, part: str, script: ModuleType) -> None:
    network = (ASSETS / name).read_bytes()
    assert network == getattr(script, f"constant_{part}")()
    assert hashlib.sha256(network).hexdigest() == script.CONSTANT_SHA256[part]


def test_other_metadata_gives_other_bytes(tflite: ModuleType, networks: dict[str, bytes]) -> None:
    model = networks["pose_landmarks_detector.tflite"]
    changed = tflite.add_metadata(model, tflite.normalisation_metadata(127.5, 127.5))
    assert changed != model
    assert tflite.metadata_of(changed) == tflite.normalisation_metadata(127.5, 127.5)


def test_a_network_of_another_version_is_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="another package version"):
        script.checked(b"not the network", script.INPUT_SHA256["full"], "full")
