"""`evaluate --video`: its questions, its people and its reference, on known motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from support.fakes import CatmullRom, standing_pose

from mixsynth_stream.cli import main
from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.evaluate.scores import HORIZONS_MS, NETWORK, Row
from mixsynth_stream.evaluate.video import DensePoses, dense_poses, evaluate_videos, question_frames, save_dense, tracks
from mixsynth_stream.pipeline.motion import Person


def _values(rows: list[Row]) -> dict[tuple[str, str, int | None, str], float]:
    return {(r.question, r.target, r.horizon_ms, r.method): r.value for r in rows if r.metric == "mpjpe"}


def _dense(frames: int, rate_hz: float, speed_px: float = 0.0) -> DensePoses:
    time_s = np.arange(frames) / rate_hz
    poses = np.tile(standing_pose(), (frames, 1, 1))
    poses[..., 0] += speed_px * time_s[:, None]
    world = np.concatenate([poses / 200, np.zeros((frames, 33, 1))], axis=2)
    return DensePoses(
        name="clip.mp4", time_s=time_s, poses=poses, world=world, scores=np.full((frames, 33), 0.9), height_px=480
    )


@pytest.mark.parametrize("rate_hz", [25.0, 30.0, 60.0])
def test_a_video_of_steady_motion(rate_hz: float):
    together, each = evaluate_videos([_dense(int(3 * rate_hz), rate_hz, speed_px=50.0)], "m", CatmullRom("image"))
    values = _values(together.rows)
    torso_px = 100.0
    for question in ("filled", "filled_later", "filled_cold"):
        assert values[question, "dense", None, "linear"] == pytest.approx(0, abs=1e-9)
    # At 25 Hz keyframes are 8 or 9 frames apart and the grid takes them for even: 0.1 px.
    assert values["filled", "dense", None, NETWORK] == pytest.approx(0, abs=1e-3 if rate_hz == 25 else 1e-5)
    # The nearest frame to the horizon is judged, at its own time.
    lag_s = values["ahead", "dense", 400, "hold"] * torso_px / 50.0
    assert lag_s == pytest.approx(0.4, abs=0.5 / rate_hz + 1e-6)
    damped = values["ahead", "dense", 400, "damped_velocity"]
    assert values["ahead", "dense", 400, NETWORK] == pytest.approx(damped, rel=0.02)
    assert [result.title for result in each] == ["clip.mp4"]


@pytest.mark.parametrize("rate_hz", [25.0, 60.0])
def test_a_video_is_judged_by_joints_and_by_speed_too(rate_hz: float):
    """Somebody who walks at 1.5 torso lengths a second and whose left wrist swings."""
    dense = _dense(int(2 * rate_hz), rate_hz, speed_px=150.0)
    dense.poses[:, 15, 1] += 40 * np.sin(12 * dense.time_s)
    together, each = evaluate_videos([dense, replace(dense, name="twin.mp4")], "m", CatmullRom("image"))
    assert together.cost is not None and together.cost.dense_calls_hz == pytest.approx(rate_hz)
    assert {row.data for row in together.detail} == {"videos"}
    assert [{row.data for row in result.detail} for result in each] == [{"clip.mp4"}, {"twin.mp4"}]
    errors = [[row.value for row in part if row.unit != "1"] for part in (together.detail, each[0].detail)]
    assert errors[0] == pytest.approx(errors[1])
    parts = {r.group or r.band: r for r in together.detail if (r.question, r.metric) == ("filled", "mpjpe")}
    assert {name for name, row in parts.items() if row.value > 0.01} == {"wrists", "2-4", ">4"}
    # All joints but the wrist walk in one band, in which the wrist sometimes is, too.
    assert 16 / 17 < parts["1-2"].poses / sum(parts[name].poses for name in ("1-2", "2-4", ">4")) < 1


def test_keyframes_are_never_judged_and_later_frames_never_seen():
    time_s = np.arange(120) / 60
    frames = question_frames(time_s, [0, 20, 40], [60], is_warm=True)
    assert list(frames["filled", None]) == list(range(21, 40))
    assert list(frames["filled_later", None]) == list(range(1, 20))
    assert list(frames["now", None]) == list(range(41, 60))
    ahead = {ms: list(f) for (question, ms), f in frames.items() if question == "ahead"}
    assert ahead == {ms: [40 + round(ms * 60 / 1000)] for ms in HORIZONS_MS}
    assert all(list(frames["ahead_mean", ms]) == list(range(41, ahead[ms][0] + 1)) for ms in HORIZONS_MS)
    # What comes later must not matter to the frames of a window that is not full yet.
    moving = _dense(120, 60.0)
    moving.poses[..., 0] += 50 * np.sin(4 * moving.time_s)[:, None]
    ended = replace(moving, poses=moving.poses.copy())
    ended.poses[100:] = np.nan
    rows = [evaluate_videos([dense], "m", CatmullRom("image"))[0].rows for dense in (moving, ended)]
    a, b = ([row for row in part if (row.metric, row.question) == ("mpjpe", "filled_cold")] for part in rows)
    a, b = ({row.method: row.value for row in part} for part in (a, b))
    assert a.keys() == b.keys()
    assert all(a[key] == pytest.approx(b[key], abs=1e-6) for key in a)


def test_only_people_who_are_followed_well_are_judged():
    dense = _dense(200, 30.0)
    dense.poses[60] = np.nan  # lost in one frame
    dense.poses[130:] += 400.0  # somebody else from here
    assert [(t.time_s[0], len(t.time_s)) for t in tracks(dense, 1.5)] == [(0.0, 60), (61 / 30, 69), (130 / 30, 70)]
    assert [len(t.time_s) for t in tracks(dense, 2.2)] == [69, 70]
    assert tracks(replace(dense, scores=np.full((200, 33), 0.3)), 1.5) == []
    assert tracks(replace(dense, poses=dense.poses * 0.3), 1.5) == []
    together, each = evaluate_videos([replace(dense, poses=np.full((200, 33, 2), np.nan))], "m", CatmullRom("image"))
    assert each == together.rows == []
    assert "0 of 1 videos" in together.title
    assert "left out, as nobody was followed well for 1.5 s: clip.mp4" in together.title


def test_joints_that_the_reference_doubts_are_not_judged():
    dense = _dense(90, 30.0, 50.0)
    doubted = replace(dense, scores=dense.scores.copy(), poses=dense.poses.copy())
    doubted.scores[:, 15] = 0.1
    doubted.poses[:, 15] += np.random.default_rng(0).normal(0, 30, (90, 2))
    rows = evaluate_videos([doubted], "m", CatmullRom("image"))[0].rows
    assert _values(rows)["filled", "dense", None, "linear"] == pytest.approx(0, abs=1e-9)


def _write_black_frames(path: Path) -> Path:
    """Twelve frames of nothing at 25 Hz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        for _ in range(12):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def test_the_reference_is_mediapipe_unless_another_estimator_is_given(tmp_path):
    dense = dense_poses(_write_black_frames(tmp_path / "black.mp4"))
    assert dense.poses.shape == (12, 33, 2)
    assert np.isnan(dense.poses).all()


def test_the_reference_is_the_estimator_on_every_frame(tmp_path):
    clip = _write_black_frames(tmp_path / "clip.mp4")
    looks = []

    class Recorder:
        skeleton = "BlazePose-33"

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            looks.append((rgb.shape, time_s))
            pose = standing_pose(x_px=float(len(looks)))
            return [] if len(looks) == 5 else [Person(pose, np.zeros((33, 3)), np.ones(33))]

        def close(self) -> None:
            raise AssertionError("the estimator is the caller's")

    dense = dense_poses(clip, Recorder())
    assert [shape for shape, _ in looks] == [(48, 64, 3)] * 12
    np.testing.assert_allclose(dense.time_s, np.arange(12) / 25, atol=1e-3)
    assert list(np.flatnonzero(np.isnan(dense.poses).any((1, 2)))) == [4]
    np.testing.assert_array_equal(dense.poses[7], standing_pose(x_px=8.0))
    assert dense.height_px == 48
    with pytest.raises(SourceError):
        dense_poses(tmp_path / "missing.mp4", Recorder())


def test_dense_poses_in_a_file_stand_for_their_video(tmp_path, capsys):
    dense = replace(_dense(90, 30.0, speed_px=50.0), name="folder/clip.mp4")
    dense.poses[:3] = np.nan
    path = save_dense(tmp_path / "kept", dense)
    assert path == tmp_path / "kept" / "folder_clip.mp4.npz"
    again = dense_poses(path)
    assert (again.name, again.height_px) == (dense.name, dense.height_px)
    np.testing.assert_allclose(again.time_s, dense.time_s)
    np.testing.assert_allclose(again.poses, dense.poses, rtol=1e-6)
    words = ["evaluate", "--model", "image-n10", "--video", str(path), "--keep-dense", str(tmp_path / "twice")]
    assert main([*words, "--detail"]) == 0
    table = capsys.readouterr().out
    assert "folder/clip.mp4" in table and "MPJPE by joints and speed" in table
    assert (tmp_path / "twice" / path.name).read_bytes() == path.read_bytes()
    np.savez(tmp_path / "short.npz", **{**np.load(path), "scores": np.zeros((89, 33))})
    with pytest.raises(SourceError, match=r"short.npz: scores is \[89, 33\] of float64, expected \[90, 33\]"):
        dense_poses(tmp_path / "short.npz")
    with pytest.raises(OutputError, match="cannot be written: a file is in the place"):
        save_dense(path, dense)
