"""The command `forecast`: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.walks import recording, times_of, write_markers, write_openpose, write_results

from mixsynth_stream.cli import main

F = 27  # times of 0.9 s at 30 Hz


def forecast(*arguments: str | Path) -> int:
    return main(["forecast", *map(str, arguments)])


def test_a_folder_of_json_gives_forecasts_with_sigma_a_table_and_a_plot(tmp_path, capsys):
    poses = write_openpose(tmp_path / "json", times_of(60, 60.0), people=2)
    assert forecast(poses, "--rate", "60", "--out", tmp_path / "out", "--json", tmp_path / "rows.json") == 0
    printed = capsys.readouterr()
    assert "json, image-n10: mean error of" in printed.out and "ahead 900 ms" not in printed.out
    assert [line.split()[:2] for line in printed.out.splitlines()[2:7]] == [["ahead", f"{h}00"] for h in range(1, 6)]
    assert "60 frames with poses of COCO-17, 60 a second, 2 people" in printed.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["plot.png", "poses.npz"]
    with np.load(tmp_path / "out" / "poses.npz") as arrays:
        assert arrays["forecast_pose_px"].shape == (2 * 60 * F, 17, 2)
        assert (arrays["origin"] == 1).all() and arrays["index"].tolist() == sorted([*range(60)] * 2)
        late = arrays["forecast_made_s"] > 0.5
        assert (arrays["forecast_sigma_px"][late] > 0).all() and np.isnan(arrays["forecast_world_m"]).all()
        ahead_s = (arrays["forecast_time_s"] - arrays["forecast_made_s"]).reshape(-1, F)
        np.testing.assert_allclose(ahead_s, np.tile(np.arange(1, F + 1) / 30, (120, 1)), atol=1e-9)
        assert json.loads(str(arrays["header"]))["estimator"] == "recorded in json"
    assert (tmp_path / "out" / "plot.png").read_bytes()[:4] == b"\x89PNG"
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {"hold", "constant_velocity", "kalman", "network"}


def test_markers_go_through_the_world_network_onto_standard_output(tmp_path, capsys):
    assert forecast(write_markers(tmp_path / "walk.trc", times_of(30)), "--horizon", "0.2") == 0
    printed = capsys.readouterr()
    header, *frames = map(json.loads, printed.out.splitlines())
    assert header["skeleton"] == "BODY-25" and len(frames) == 30
    ahead = frames[-1]["forecast"]
    assert len(ahead["time_s"]) == 6 and np.isfinite(np.array(ahead["people"][0]["sigma_m"], float)[:, 3]).all()
    assert "walk.trc, world-n10" in printed.err and "image-n10" not in printed.err


def test_results_can_be_forecast_again_but_never_over_themselves(tmp_path, capsys):
    write_results(tmp_path / "run", recording(times_of(40)), ["jsonl"])
    assert forecast(tmp_path / "run", "--out", tmp_path / "ahead", "--every", "5", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert forecast(tmp_path / "ahead" / "poses.npz", "--out", tmp_path / "again", "--format", "npz,jsonl") == 0
    before = (tmp_path / "ahead" / "poses.npz").read_bytes()
    for source in (tmp_path / "ahead", tmp_path / "ahead" / "poses.npz"):
        assert forecast(source, "--out", tmp_path / "ahead") == 2
        assert "would be overwritten: give another folder" in capsys.readouterr().err
    assert (tmp_path / "ahead" / "poses.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere"], 3, "there is no file or folder nowhere"),
        (["poses.npz", "--format", "npz"], 2, "only JSON lines go to standard output: give --out DIR"),
        (["poses.npz", "--weights", "none"], 4, "there are no weights named 'none'"),
        (["poses.npz", "--weights", "a", "--weights", "b", "--weights", "c"], 2, "found 3"),
        (["poses.npz", "--skeleton", "h36m"], 3, "H36M-17 was expected, and this may be BlazePose-33"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, code, sentence):
    monkeypatch.chdir(tmp_path)
    np.savez("poses.npz", time_s=times_of(3), poses=np.array([recording(times_of(1)).people[0][0].pose] * 3))
    assert forecast(*arguments) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "csv"], "expected some of npz, jsonl, found 'csv'"),
        (["--every", "7"], "choose from 5, 10, 15"),
        (["--horizon", "11"], "expected seconds in 0..10, found '11'"),
        (["--rate", "0"], "above 0, found '0'"),
        (["--skeleton", "COCO-19"], "the skeleton 'COCO-19' is not known (do you mean COCO-17?)"),
    ],
)
def test_options_that_no_recording_has_are_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        forecast("poses.npz", *arguments)
    assert end.value.code == 2 and sentence in capsys.readouterr().err
