"""Requests that `evaluate` cannot meet: it says so before it starts."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pytest

from mixsynth_stream.commands import evaluate
from mixsynth_stream.data import mocap as data_mocap
from mixsynth_stream.data.mocap import DEFAULT_DATA
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.evaluate import report
from mixsynth_stream.evaluate.video import DensePoses, dense_poses, save_dense
from mixsynth_stream.files import ASSETS, CHECKOUT

FILE = CHECKOUT / DEFAULT_DATA[0]


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args(list(words))


def test_bad_requests_say_what_to_do(tmp_path, monkeypatch, capsys):
    weights = str(ASSETS / "world-n10.safetensors")
    with pytest.raises(ModelError, match="no weights named 'no-such'"):
        evaluate.main(_arguments("--model", "no-such"))
    with pytest.raises(SourceError, match="missing\\.npz"):
        evaluate.main(_arguments("--model", weights, "--data", str(tmp_path / "missing.npz")))
    # Before the minutes that the evaluation takes, not after them.
    data = ["--model", weights, "--data", str(FILE)]
    for option in ("--json", "--plot"):
        with pytest.raises(OutputError, match=r"cannot write .*: there is no folder"):
            evaluate.main(_arguments(*data, option, str(tmp_path / "none" / "file")))
    with pytest.raises(SourceError, match="missing\\.npz"):
        evaluate.main(_arguments(*data, str(tmp_path / "missing.npz")))
    with pytest.raises(SourceError, match="no file missing.mp4"):
        evaluate.main(_arguments(*data, "--video", "missing.mp4"))
    with pytest.raises(ValueError, match="--data names no file"):
        evaluate.main(_arguments("--model", weights, "--data"))
    with pytest.raises(ValueError, match="--seed must be 0 or more, found -1"):
        evaluate.main(_arguments(*data, "--seed", "-1"))
    with monkeypatch.context() as patched, pytest.raises(ModelError, match="--plot needs matplotlib: pip install"):
        patched.setattr("importlib.util.find_spec", lambda name: None)
        evaluate.main(_arguments(*data, "--plot", str(tmp_path / "a.png")))
    assert capsys.readouterr().out == ""
    with pytest.raises(OutputError, match=r"rows\.json cannot be written: No such file or directory"):
        report.write_rows(tmp_path / "none" / "rows.json", [])
    monkeypatch.setattr(data_mocap, "CHECKOUT", tmp_path / "site-packages")
    with pytest.raises(SourceError, match="run evaluate from a checkout, or give"):
        evaluate.main(_arguments("--model", weights))


def _standing(frames: int) -> DensePoses:
    """Somebody who does not move, 30 frames a second."""
    pose = np.linspace(100.0, 300.0, 66).reshape(33, 2)
    poses, world, scores = np.repeat(pose[None], frames, axis=0), np.ones((frames, 33, 3)), np.ones((frames, 33))
    time_s = np.arange(frames) / 30
    return DensePoses(name="a.mp4", time_s=time_s, poses=poses, world=world, scores=scores, height_px=640)


@pytest.mark.parametrize("frames", [0, 1, 90])
def test_videos_in_which_nobody_is_followed_are_named_and_write_nothing(tmp_path, capsys, frames):
    dense = _standing(frames)
    dense.poses[...] = np.nan
    words = ["--video", str(save_dense(tmp_path, dense)), "--json", str(tmp_path / "rows.json")]
    with pytest.raises(SourceError, match="nothing could be judged"):
        evaluate.main(_arguments("--model", "world-n10", *words))
    assert "0 of 1 videos" in capsys.readouterr().out
    assert not (tmp_path / "rows.json").exists()


@pytest.mark.parametrize("times", [np.arange(20, 0, -1) / 30, np.ones(20), np.full(20, np.nan)])
def test_dense_poses_whose_time_does_not_pass_are_refused(tmp_path, times):
    np.savez(tmp_path / "a.npz", **{**np.load(save_dense(tmp_path / "kept", _standing(20))), "time_s": times})
    with pytest.raises(SourceError, match=r"a.npz: time_s must be seconds that grow from frame to frame"):
        dense_poses(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height_px": [640, 480]}, r"a.npz: height_px is \[640, 480\], expected the height of the frames"),
        ({"height_px": 0}, "height_px is 0, expected"),
        ({"height_px": np.nan}, "height_px is nan, expected"),
        ({"height_px": "high"}, "height_px is high, expected"),
        (
            {"name": ["a", "b"]},
            r"a.npz: name is \[2\] of <U1, expected one text; give poses that evaluate --keep-dense",
        ),
        ({"name": 7}, r"name is \[\] of int64, expected one text"),
    ],
)
def test_dense_poses_with_wrong_facts_are_refused(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **{**np.load(save_dense(tmp_path / "kept", _standing(20))), **changes})
    with pytest.raises(SourceError, match=message):
        dense_poses(tmp_path / "a.npz")


def test_videos_may_be_a_pattern(tmp_path, capsys):
    dense = _standing(20)
    for name in ("a.mp4", "b.mp4"):
        save_dense(tmp_path, replace(dense, name=name))
    with pytest.raises(SourceError, match="nothing could be judged"):
        evaluate.main(_arguments("--model", "world-n10", "--video", str(tmp_path / "*.npz")))
    assert "0 of 2 videos" in capsys.readouterr().out
    with pytest.raises(SourceError, match="no file matches .*mp4: check the pattern"):
        evaluate.main(_arguments("--model", "world-n10", "--video", str(tmp_path / "*.mp4")))


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_folder_in_the_place_of_a_result_is_refused_at_the_start(tmp_path, capsys, option):
    with pytest.raises(OutputError, match=f"{tmp_path.name} cannot be written: a folder of that name is in the way"):
        evaluate.main(_arguments("--model", "world-n10", "--data", str(FILE), option, str(tmp_path)))
    assert "evaluating" not in capsys.readouterr().err


def test_videos_of_one_name_in_folders_of_one_name_are_kept_apart(tmp_path, monkeypatch):
    videos = [tmp_path / day / "camera" / "clip.mp4" for day in ("monday", "tuesday")]
    for video in videos:
        video.parent.mkdir(parents=True)
        video.touch()
    monkeypatch.setattr(
        "mixsynth_stream.evaluate.session.dense_poses", lambda path, name: replace(_standing(30), name=name)
    )
    words = ["--video", *map(str, videos), "--keep-dense", str(tmp_path / "kept")]
    with pytest.raises(SourceError, match="nothing could be judged"):
        evaluate.main(_arguments("--model", "world-n10", *words))
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_folder_that_cannot_take_poses_is_refused_before_the_estimator_runs(tmp_path, capsys):
    video, place = save_dense(tmp_path / "kept", _standing(20)), tmp_path / "place"
    place.touch()
    with pytest.raises(OutputError, match=r"place/\*\.npz cannot be written: a file is in the place of the folder"):
        evaluate.main(_arguments("--model", "world-n10", "--video", str(video), "--keep-dense", str(place)))
    assert "looking at" not in capsys.readouterr().err


def test_poses_are_kept_of_videos_only(tmp_path):
    words = ["--model", "world-n10", "--data", str(FILE), "--keep-dense", str(tmp_path / "place")]
    with pytest.raises(ValueError, match="--keep-dense keeps what the estimator said of videos; name them with --vid"):
        evaluate.main(_arguments(*words))
    assert not (tmp_path / "place").exists()
