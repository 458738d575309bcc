"""Results of an estimator with its own skeleton: files, overlay, plot and page have its joints, and no others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
from support.fakes import person

from mixsynth_stream.cli import main
from mixsynth_stream.draw.canvas import Canvas
from mixsynth_stream.draw.pose import SIDE_COLORS, Look, draw_motion
from mixsynth_stream.export.earlier import results_in
from mixsynth_stream.pipeline.motion import Motion, Origin
from mixsynth_stream.skeleton import BLAZEPOSE_33, COCO_17, H36M_17
from mixsynth_stream.viewer.web import messages

ROWS = [BLAZEPOSE_33.index(name) for name in COCO_17.joints]
TIMES = np.arange(30) / 30


@pytest.fixture(scope="module", params=[True, False], ids=["metres", "pixels"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, Path]:
    """A run with recorded estimates of COCO-17: whether they had a world, and the folder."""
    folder = tmp_path_factory.mktemp("coco")
    people = [person(x_px=150 + 60 * t, y_px=60.0, size_px=40.0) for t in TIMES]
    arrays = {"time_s": TIMES, "poses": np.array([one.pose[ROWS] for one in people]), "skeleton": "COCO-17"}
    if request.param:
        arrays["world"] = np.array([one.world[ROWS] for one in people])
    np.savez(folder / "coco.npz", **arrays)
    out = folder / "out"
    options = ("--estimates", str(folder / "coco.npz"), "--format", "jsonl,csv,npz,trc", "--overlay", "--plot")
    assert main(["run", "synthetic:seconds=1", *options, "--out", str(out)]) == 0
    return request.param, out


def test_files_have_the_names_of_the_skeleton(results: tuple[bool, Path]) -> None:
    has_world, out = results
    header, *frames = map(json.loads, (out / "poses.jsonl").read_text().splitlines())
    assert header["skeleton"] == "COCO-17" and tuple(header["joints"]) == COCO_17.joints
    assert len(frames) == 30 and {len(frame["people"][0]["pose_px"]) for frame in frames} == {17}
    assert len(header["uncertainty"]["sigma_px"]["filled"]["90"]) == 17
    world = np.array([frame["people"][0]["world_m"] for frame in frames], float)
    assert np.isfinite(world).all() if has_world else np.isnan(world).all()
    with np.load(out / "poses.npz") as arrays:
        assert arrays["joints"].tolist() == list(COCO_17.joints) and arrays["pose_px"].shape == (30, 17, 2)
    with (out / "poses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["joint"] for row in rows[:17]] == list(COCO_17.joints) and len(rows) == 30 * 17
    assert all(bool(row["x_m"]) == has_world and row["x_px"] for row in rows)


def test_trc_has_people_in_metres_only(results: tuple[bool, Path]) -> None:
    has_world, out = results
    assert (out / "poses_person0.trc").exists() == has_world
    if has_world:
        lines = (out / "poses_person0.trc").read_text().split("\n")
        assert lines[2].split("\t")[3] == "17" and lines[3].split("\t")[2::3][:17] == list(COCO_17.joints)
        assert len(lines[6].split("\t")) == 2 + 3 * 17


def test_results_of_any_skeleton_are_known_as_earlier_results(results: tuple[bool, Path]) -> None:
    _, out = results
    assert {path.name for path in results_in(out)} == {path.name for path in out.iterdir()}
    with av.open(str(out / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30


def test_bones_of_the_skeleton_are_drawn() -> None:
    pose = np.full((1, 17, 2), np.nan)
    pose[0, :2] = [[20.0, 50.0], [80.0, 50.0]]  # pelvis and right hip: a bone of H36M-17, and none of BlazePose-33
    motion = Motion(
        poses=pose,
        world=np.full((1, 17, 3), np.nan),
        scores=np.ones((1, 17)),
        origin=np.full((1, 17), Origin.FILLED, np.uint8),
        index=0,
        time_s=0.0,
        final=True,
        keyframe=False,
        ids=np.array([0]),
        measured=None,
        skeleton=H36M_17,
    )
    canvas = Canvas(np.zeros((100, 100, 3), np.uint8))
    draw_motion(canvas, motion, Look.of(400, 400), ghost=False)
    assert np.abs(canvas.rgb[50, 50].astype(int) - SIDE_COLORS["right"]).max() < 10


def test_a_page_is_told_the_skeleton() -> None:
    hello = json.loads(messages.hello("x", live=True, horizon_s=0.4, skeleton=COCO_17))
    assert hello["joints"] == list(COCO_17.joints) and hello["bones"] == [list(bone) for bone in COCO_17.bones]
    assert hello["sides"][5:7] == ["left", "right"]


def test_avatars_take_blazepose_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"time_s": TIMES, "poses": np.array([person().pose[ROWS]] * 30), "skeleton": "COCO-17"}
    np.savez(tmp_path / "coco.npz", **arrays)
    options = ["--estimates", str(tmp_path / "coco.npz"), "--send", "vmc://127.0.0.1:39539", "--quiet"]
    assert main(["run", "synthetic:seconds=1", *options, "--out", str(tmp_path / "out")]) == 2
    assert "and this stream has COCO-17: send to ws://" in capsys.readouterr().err


def test_options_that_do_not_go_together_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "synthetic:seconds=1", "--skeleton", "COCO-17", "--out", str(tmp_path)]) == 2
    assert "--skeleton is for --estimates that name none" in capsys.readouterr().err
    for option in ("--estimates", "--model"):  # of a variable of the shell that is not set
        assert main(["run", "synthetic:seconds=1", option, "", "--out", str(tmp_path)]) == 2
        assert f"{option} is empty: give a file, or leave it out" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["run", "synthetic:seconds=1", "--estimates", "coco.npz", "--skeleton", "kinect", "--out", str(tmp_path)])
    assert end.value.code == 2
    assert "the skeleton 'kinect' is not known: give one of BlazePose-33, COCO-17" in capsys.readouterr().err
