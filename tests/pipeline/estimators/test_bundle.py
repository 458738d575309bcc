"""Bundle: the cut landmark network gives the published numbers; look and find give MediaPipe's poses and regions."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import av
import mediapipe
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from support import clips

from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.process import process
from mixsynth_stream.pipeline.estimators.bundle import (
    MODELS,
    Bundle,
    bundle_path,
    find_bundle,
    look_bundle,
    official,
    read_bundle,
    without_segmentation,
)
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator, open_landmarker
from mixsynth_stream.pipeline.motion import Person

SIDE = 256


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Every fifth frame of the clip of one man, who leans and turns."""
    with av.open(str(clips.PERSON)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::5]


def installed(model: str) -> str:
    if not (ASSETS / f"pose_landmarker_{model}.task").is_file():
        pytest.skip(f"{model} is not built here")
    return model


def assert_same(people: list[Person], others: list[Person]) -> None:
    assert len(people) == len(others)
    for person, other in zip(people, others, strict=True):
        for field in ("pose", "world", "scores"):
            np.testing.assert_array_equal(getattr(person, field), getattr(other, field))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["keyframe", "video", "image"])
def test_the_cut_network_gives_the_published_numbers_bit_for_bit(
    model: str, mode: str, pictures: list[np.ndarray]
) -> None:
    with (
        MediaPipeEstimator(installed(model), mode=mode, max_people=2) as cut,
        MediaPipeEstimator(official(model), mode=mode, max_people=2) as published,
    ):
        for index, picture in enumerate(pictures[:6]):
            both = np.concatenate([picture, picture[:, ::-1]], axis=1)
            people = cut(both, index / 6)
            assert people
            assert_same(people, published(both, index / 6))


def test_a_stream_writes_what_it_writes_with_the_published_network(tmp_path: Path) -> None:
    lines = {}
    for model in (None, "full-official"):
        folder = tmp_path / str(model)
        process(str(clips.PERSON), folder, JobOptions(pose_model=model, limit_frames=24, progress=False))
        lines[model] = (folder / "poses.jsonl").read_text(encoding="utf-8").splitlines()
    headers = [json.loads(text.pop(0)) for text in lines.values()]
    assert [header.pop("estimator") for header in headers] == ["MediaPipe full", "MediaPipe full-official"]
    settings = [header.pop("made_with") for header in headers]
    assert {name for name in settings[0] if settings[0][name] != settings[1][name]} == {"pose_model"}
    assert headers[0] == headers[1]
    assert len(lines[None]) >= 24 and lines[None] == lines["full-official"]


def test_a_file_by_its_path_is_taken_as_it_is(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    path = tmp_path / "own.task"
    path.write_bytes(bundle_path("full").read_bytes())
    assert read_bundle(str(path)) == read_bundle("full-official") != read_bundle("full")
    with MediaPipeEstimator(str(path), mode="image") as own, MediaPipeEstimator(mode="image") as shipped:
        assert own.path == path
        assert_same(own(pictures[0], 0.0), shipped(pictures[0], 0.0))
    assert official(str(path)) == str(path)


def estimates(landmarker: Any, rgb: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Landmarks in pixels [33, 2] and whether they are there [33, 2] of everybody in a picture."""
    result = landmarker.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(rgb)))
    return [
        (
            np.array([(joint.x, joint.y) for joint in person]) * rgb.shape[1::-1],
            np.array([(joint.visibility, joint.presence) for joint in person]),
        )
        for person in result.pose_landmarks
    ]


def sampled(rgb: np.ndarray, corners: np.ndarray) -> np.ndarray:  # corners: [4, 2] pixels -> [256, 256, 3] uint8
    """The picture inside the corners, as MediaPipe samples it: pixel i of the region lies i / 256 along its side."""
    shares = np.arange(SIDE) / SIDE
    x, y = in_picture(np.stack(np.meshgrid(shares, shares), axis=-1), corners).transpose(2, 0, 1)
    planes = [map_coordinates(rgb[..., c].astype(float), [y, x], order=1, mode="nearest") for c in range(3)]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def in_picture(shares: np.ndarray, corners: np.ndarray) -> np.ndarray:  # [..., 2] shares of the region -> pixels
    """Where points of a region lie in the picture."""
    right, down = corners[1] - corners[0], corners[3] - corners[0]
    return corners[0] + shares[..., :1] * right + shares[..., 1:] * down


def test_a_look_at_the_region_that_find_gives_is_mediapipes_own_pose(pictures: list[np.ndarray]) -> None:
    find = open_landmarker(mediapipe, find_bundle("full").packed(), people=1, follows=False)
    look = open_landmarker(mediapipe, look_bundle("full").packed(), people=1, follows=False)
    whole = open_landmarker(mediapipe, bundle_path("full-official"), people=1, follows=False)
    with find, look, whole:
        for picture in pictures:
            (places, presence), (expected, _) = estimates(find, picture)[0], estimates(whole, picture)[0]
            corners = places[:4]
            assert (presence > 0.99).all()
            # A square, and all that is not a corner is its middle.
            np.testing.assert_allclose(places[4:], np.broadcast_to(corners.mean(axis=0), (29, 2)), atol=0.01)
            pose, _ = estimates(look, sampled(picture, corners))[0]
            error_px = np.linalg.norm(in_picture(pose / SIDE, corners) - expected, axis=1)
            # A few landmarks lie further off: those whose heatmap is just sure enough in one of both to refine them.
            assert error_px.mean() < 0.5 and np.quantile(error_px, 0.9) < 0.5, error_px


def test_find_gives_a_region_for_each_person(pictures: list[np.ndarray]) -> None:
    both = np.concatenate([pictures[0], pictures[0][:, ::-1]], axis=1)
    width = pictures[0].shape[1]
    find = open_landmarker(mediapipe, find_bundle("full").packed(), people=3, follows=False)
    with find, MediaPipeEstimator(max_people=2, mode="image") as estimator:
        regions = sorted((places[:4] for places, _ in estimates(find, both)), key=lambda corners: corners[:, 0].mean())
        people = sorted(estimator(both, 0.0), key=lambda person: person.pose[:, 0].mean())
        assert estimates(find, np.full((480, 640, 3), 90, np.uint8)) == []
    assert len(regions) == len(people) == 2
    for corners, person in zip(regions, people, strict=True):
        hips = person.pose[[23, 24]].mean(axis=0)
        side = np.linalg.norm(corners[1] - corners[0])
        np.testing.assert_allclose(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1), side, rtol=1e-3)
        assert np.linalg.norm(corners.mean(axis=0) - hips) < 0.1 * side
        # Up in the region is from the hips to the shoulders.
        up, torso = corners[0] - corners[3], person.pose[[11, 12]].mean(axis=0) - hips
        assert up @ torso > 0.9 * np.linalg.norm(up) * np.linalg.norm(torso)
    assert regions[0][:, 0].mean() < width < regions[1][:, 0].mean()


def test_other_networks_are_not_cut() -> None:
    with pytest.raises(ValueError, match="is no TFLite network"):
        without_segmentation(b"not a network, but long enough")
    with pytest.raises(ValueError, match="has 0 graphs instead of one"):
        without_segmentation(bytes(4) + b"TFL3")
    with pytest.raises(ValueError, match="has 2 outputs instead of 5"):
        without_segmentation(read_bundle("full").detector)


def test_bundles_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = read_bundle("full-official")
    (tmp_path / "text.task").write_text("not a bundle")
    with zipfile.ZipFile(tmp_path / "other.task", "w") as archive:
        archive.writestr("pose_detector.tflite", b"")
    for name in ("text", "other"):
        with pytest.raises(
            ModelError, match=rf"{name}.task is not a pose landmarker bundle .*it has to be a .task file"
        ):
            look_bundle(str(tmp_path / f"{name}.task"))
    monkeypatch.setattr("mixsynth_stream.pipeline.estimators.bundle.ASSETS", tmp_path)
    (tmp_path / "pose_landmarker_lite.task").write_bytes(Bundle(networks.detector, networks.detector).packed())
    with pytest.raises(ModelError, match="has 2 outputs instead of 5: use the model 'lite-official' instead"):
        read_bundle("lite")
    with pytest.raises(ModelError, match="the heavy pose model is not installed"):
        read_bundle("heavy-official")
