"""ONNX files: which head a network has, and what is refused with a sentence, by every way in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import clips

pytest.importorskip("onnxruntime", reason="ONNX networks take the extra [onnx]")
pytest.importorskip("onnx", reason="networks for the tests are written by the package onnx")
from support import pose_networks

from mixsynth_stream.cli import main
from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.estimators.onnx.model import open_onnx
from mixsynth_stream.skeleton import COCO_17, HALPE_26, JHMDB_15, Skeleton


@pytest.mark.parametrize("skeleton", [COCO_17, HALPE_26])
@pytest.mark.parametrize(("write", "head"), [(pose_networks.simcc, "SimCC"), (pose_networks.heatmaps, "heatmaps")])
def test_a_network_for_one_person_is_known_by_its_outputs(
    write: Callable[..., Path], head: str, skeleton: Skeleton, tmp_path: Path
) -> None:
    model = open_onnx(str(write(tmp_path / "pose.onnx", skeleton)))
    assert (model.head, model.skeleton, model.is_top_down) == (head, skeleton, True)
    assert (model.width, model.height) == (96, 128)


@pytest.mark.parametrize("ended", [False, True])
def test_yolo_is_known_with_and_without_its_doubles(ended: bool, tmp_path: Path) -> None:
    model = open_onnx(str(pose_networks.yolo(tmp_path / "yolo.onnx", ended=ended)))
    assert (model.skeleton, model.is_top_down) == (COCO_17, False)


def refused(path: Path) -> str:
    """The sentence of the command line, whose exit code is that of a model."""
    with pytest.raises(ModelError) as error:
        open_onnx(str(path))
    sentence = str(error.value)
    assert str(path) in sentence and "\n" not in sentence
    return sentence


def test_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    assert "its outputs must be those of SimCC" in refused(pose_networks.other(path))
    assert "found [1, 3], [1, 3] for a picture of 32 x 32" in refused(pose_networks.other(path, outputs=2))
    assert "or YOLO pose ([1, 5 + 3 K, A] or [1, A, 6 + 3 K]) for K joints, found [1, 84, 2100]" in refused(
        pose_networks.detections(path)
    )
    assert "one picture of floating-point numbers [1, 3, H, W]" in refused(pose_networks.other(path, channels=1))


def test_another_number_of_joints_is_refused(tmp_path: Path) -> None:
    sentence = refused(pose_networks.simcc(tmp_path / "fifteen.onnx", JHMDB_15))
    assert "gives 15 joints, and known are 17 (COCO-17), 26 (HALPE-26), 133 (WholeBody-133)" in sentence


def test_a_top_down_network_of_any_size_is_refused(tmp_path: Path) -> None:
    sentence = refused(pose_networks.any_size(tmp_path / "any.onnx"))
    assert "leaves the size of its input open: export the network with a fixed height and width" in sentence


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pose.onnx"
    path.write_bytes(b"\x08 no network")
    assert "ONNX Runtime cannot run" in refused(path)
    path.write_bytes(b"")
    assert "ONNX Runtime cannot run" in refused(path)
    path.unlink()
    assert "give the path of an ONNX file" in refused(path)
    path.mkdir()
    assert "give the path of an ONNX file" in refused(path)


def test_without_onnx_runtime_the_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    sentence = refused(pose_networks.simcc(tmp_path / "pose.onnx"))
    assert "pip install 'mixsynth-stream[onnx]'" in sentence


def test_numbers_that_are_not_finite_end_the_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pose_networks.overflowing(tmp_path / "half.onnx")
    out = ["--out", str(tmp_path / "out"), "--limit-frames", "20"]
    assert main(["run", str(clips.PERSON), *out, "--model", str(path)]) == 4
    assert f"{path} gives numbers that are not finite: export the network as float32" in capsys.readouterr().err


def test_a_network_that_follows_cannot_search_each_keyframe(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--eye keyframe"):
        pose_estimator(str(pose_networks.simcc(tmp_path / "pose.onnx")), eye="keyframe")


def test_the_command_line_refuses_before_it_opens_the_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pose_networks.other(tmp_path / "other.onnx")
    arguments = ["run", str(clips.PERSON), "--out", str(tmp_path / "out"), "--model"]
    assert main([*arguments, str(path)]) == 4
    assert "no pose network that is known" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "none.onnx")]) == 4
    assert "none.onnx" in capsys.readouterr().err
