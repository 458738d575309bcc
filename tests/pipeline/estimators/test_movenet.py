"""MoveNet: the network that ships is the one that the script writes, and its joints lie where MediaPipe's do."""

from __future__ import annotations

import base64
import hashlib
import importlib
import math
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS, CHECKOUT
from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.estimators import choose, movenet
from mixsynth_stream.pipeline.estimators.choose import model_path, model_title, pose_estimator
from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator, import_mediapipe
from mixsynth_stream.pipeline.estimators.movenet import MoveNetEye
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.several.sharing import SharedEstimator
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.skeleton import BLAZEPOSE_33, COCO_17
from mixsynth_stream.spaces import space_of

LIGHTNING = "movenet-lightning"
STEP = 10


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    with av.open(str(clips.PERSON)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::STEP]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(CHECKOUT / "scripts")
    return importlib.import_module("build_movenet")


def gap(coco: np.ndarray, blazepose: np.ndarray) -> float:
    """The mean distance of the joints that both have, in body scales."""
    core = [
        space_of("image", skeleton).core_of(pose) for skeleton, pose in ((COCO_17, coco), (BLAZEPOSE_33, blazepose))
    ]
    return distance_in_scales(core[0], core[1], min_scale=1.0)


def test_the_network_that_ships_is_the_one_that_the_script_writes(script: ModuleType) -> None:
    digest = hashlib.sha256((ASSETS / "movenet_lightning.tflite").read_bytes()).hexdigest()
    assert digest == script.NETWORK_SHA256["lightning"]
    assert digest in (ASSETS / "README.md").read_text(encoding="utf-8")


def test_the_people_are_where_mediapipe_sees_them(pictures: list[np.ndarray]) -> None:
    with pose_estimator(LIGHTNING) as estimator, MediaPipeEstimator(mode="image") as mediapipe:
        for k, rgb in enumerate(pictures):
            people = estimator(rgb, k * STEP / 30)
            assert len(people) == 1
            assert gap(people[0].pose, mediapipe(rgb, 0.0)[0].pose) < 0.15
            assert people[0].scores.mean() > 0.4 and np.isnan(people[0].world).all()


@pytest.mark.parametrize("turn", [0.0, 0.5, math.pi / 2])
def test_a_turned_region_gives_the_same_place_in_the_picture(pictures: list[np.ndarray], turn: float) -> None:
    rgb = np.ascontiguousarray(np.rot90(pictures[0])) if turn > 1 else pictures[0]
    eye = MoveNetEye(LIGHTNING)
    with MediaPipeEstimator(mode="image") as mediapipe:
        truth = mediapipe(pictures[0], 0.0)[0].pose
    if turn > 1:  # counterclockwise: x, y -> y, width - x
        truth = np.column_stack([truth[:, 1], pictures[0].shape[1] - truth[:, 0]])
    region = Region.of_pose(truth, margin=1.3)
    assert region is not None
    person = eye.look(rgb, Region(region.x, region.y, region.side, region.angle + (turn if turn < 1 else 0.0)))
    eye.close()
    assert person is not None and gap(person.pose, truth) < (0.15 if turn in (0.0, math.pi / 2) else 0.3)


def test_a_stream_follows_by_the_name_of_the_network() -> None:
    with Stream(str(clips.PERSON), estimator=LIGHTNING) as stream:
        motions = list(stream)
    assert len(motions) == stream.stats.frames
    assert all(motion.skeleton == COCO_17 and motion.poses.shape == (1, 17, 2) for motion in motions)


def test_what_is_closed_says_so(pictures: list[np.ndarray]) -> None:
    eye = MoveNetEye(LIGHTNING)
    eye.close()
    eye.close()
    with pytest.raises(ValueError, match="this MoveNetEye is closed"):
        eye.look(pictures[0], Region(100.0, 100.0, 50.0))
    with pytest.raises(ValueError, match="this MoveNetEye is closed"):
        eye.find(pictures[0])


def test_an_empty_region_shows_nobody() -> None:
    eye = MoveNetEye(LIGHTNING)
    assert eye.look(np.full((200, 200, 3), 90, np.uint8), Region(100.0, 100.0, 150.0)) is None
    eye.close()


def test_a_network_that_is_not_there_or_broken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movenet, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match="build_movenet.py --models thunder"):
        pose_estimator("movenet-thunder")
    (tmp_path / "movenet_thunder.tflite").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"MediaPipe cannot use .*movenet_thunder.tflite"):
        pose_estimator("movenet-thunder")


def test_each_keyframe_cannot_be_searched() -> None:
    with pytest.raises(ValueError, match="movenet-lightning looks where people are expected"):
        pose_estimator(LIGHTNING, eye="keyframe")


def test_a_name_that_is_nearly_right_is_known() -> None:
    with pytest.raises(ModelError, match=r"do you mean movenet-thunder\?\): give lite, full"):
        model_path("MoveNet_Thunder")


def test_models_have_titles() -> None:
    titles = [model_title(model) for model in (None, "lite", LIGHTNING, "models/rtmpose-m.onnx")]
    assert titles == ["MediaPipe full", "MediaPipe lite", "MoveNet Lightning", "ONNX rtmpose-m.onnx"]


def test_several_people_share_one_network(pictures: list[np.ndarray]) -> None:
    pair = np.concatenate([pictures[0], pictures[3]], axis=1)
    with pose_estimator(LIGHTNING, max_people=2) as estimator:
        assert isinstance(estimator, FollowingEstimator)
        people = [estimator(pair, k / 3) for k in range(4)][-1]
    middles = sorted(float(person.pose[:, 0].mean()) for person in people)
    assert len(middles) == 2 and middles[0] < pictures[0].shape[1] < middles[1]


def test_several_streams_share_one_network(pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(choose, "MoveNetEye", lambda model: opened.append(model) or MoveNetEye(model))
    shared = SharedEstimator(LIGHTNING, 2, BLAZEPOSE_33.name, max_people=1, eye="follow")
    estimators = [shared.of_stream(number) for number in range(2)]
    poses = [estimator(pictures[0], 0.0)[0].pose for estimator in estimators]
    shared.close()
    assert opened == [LIGHTNING] and (poses[0] == poses[1]).all()


def constant(name: str, value: np.ndarray) -> tuple[dict[str, object], dict[str, object], bytes]:
    """A constant of a graph of TensorFlow.js: its node, its entry in the list of weights, and its bytes."""
    kind = "float32" if value.dtype == np.float16 else "int32"
    entry: dict[str, object] = {"name": name, "shape": list(value.shape), "dtype": kind}
    if kind == "float32":
        entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
    return {"name": name, "op": "Const"}, entry, value.tobytes()


def test_a_converted_graph_computes_what_the_original_does(script: ModuleType) -> None:
    """A filter and a sigmoid: the row of numbers is theirs, for pixels that are scaled to -1..1."""
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(1, 1, 3, 5)).astype(np.float16), rng.normal(size=5).astype(np.float16)
    constants = [constant("w", weights), constant("b", bias)]
    strings = [base64.b64encode(word).decode() for word in (b"VALID", b"BiasAdd", b"Relu")]
    filtered = {"padding": {"s": strings[0]}, "strides": {"list": {"i": ["1", "1", "1", "1"]}}}
    filtered["fused_ops"] = {"list": {"s": strings[1:]}}
    nodes = [
        {"name": "input", "op": "Placeholder"},
        {"name": "scaled", "op": "Mul", "input": ["input", "w"]},  # left out
        {"name": "filter", "op": "_FusedConv2D", "input": ["scaled", "w", "b"], "attr": filtered},
        {"name": "score", "op": "Sigmoid", "input": ["filter"]},
        *(node for node, _, _ in constants),
    ]
    dims = [{"size": size} for size in ("1", "2", "4", "3")]
    signature = {"inputs": {"x": {"tensorShape": {"dim": dims}}}, "outputs": {"y": {"name": "score:0"}}}
    manifest = [{"weights": [entry for _, entry, _ in constants]}]
    graph = {"modelTopology": {"node": nodes}, "weightsManifest": manifest, "signature": signature}
    network = script.Conversion(graph, b"".join(data for _, _, data in constants)).network()

    mediapipe = import_mediapipe()
    vision = mediapipe.tasks.vision
    options = vision.ImageEmbedderOptions(base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=network))
    picture = rng.integers(0, 256, (2, 4, 3), dtype=np.uint8)
    with vision.ImageEmbedder.create_from_options(options) as embedder:
        result = embedder.embed(mediapipe.Image(mediapipe.ImageFormat.SRGB, picture))
    numbers = np.asarray(result.embeddings[0].embedding).reshape(2, 4, 5)
    filtered_picture = np.maximum((picture / 127.5 - 1) @ weights[0, 0].astype(float) + bias.astype(float), 0)
    assert numbers == pytest.approx(1 / (1 + np.exp(-filtered_picture)), abs=2e-3)
