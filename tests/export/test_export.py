"""Pose files: their contents, and the part that stays when a run breaks off."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pyarrow.parquet import read_table
from support.motions import AHEAD, motion, motions, pose_at, sigma_at, without_joint, world_at

from mixsynth_stream.errors import OutputError
from mixsynth_stream.export import FORMATS, Settings, open_sinks
from mixsynth_stream.export.header import ORIGIN_WORDS, Header
from mixsynth_stream.export.jsonl import JsonlSink
from mixsynth_stream.export.trc import TrcSink
from mixsynth_stream.pipeline.frame import VideoInfo
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.skeleton import BLAZEPOSE_33

INFO = VideoInfo(source="walk.mp4", width=640, height=480, rate_hz=30.0)


def write(folder: Path, items, **options) -> list[Path]:
    """Write Motions in every format; returns the files."""
    sinks = open_sinks(folder, INFO, formats=FORMATS, **options)
    for item in items:
        for sink in sinks:
            sink.write(item)
    for sink in sinks:
        sink.close()
    return [path for sink in sinks for path in sink.paths]


def read_jsonl(path: Path) -> tuple[dict, list[dict]]:
    header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    return header, lines


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_trc(path: Path) -> tuple[dict[str, str], list[str], np.ndarray]:
    """(counts by name, marker names, rows [R, 2 + 3 * markers]), as OpenSim reads them."""
    first, names, values, markers, axes, blank, *rows = path.read_text().split("\n")
    assert first == f"PathFileType\t4\t(X/Y/Z)\t{path.name}"
    assert not blank
    assert axes.split("\t")[2:5] == ["X1", "Y1", "Z1"]
    counts = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    numbers = [[float(cell) if cell else np.nan for cell in row.split("\t")] for row in rows if row]
    return counts, markers.split("\t")[2::3], np.array(numbers)


def test_the_header_says_what_the_numbers_are(tmp_path):
    settings = Settings(every=10, lag=1, horizon_s=0.4, estimator="mediapipe full", weights=("image-n10", "world-n10"))
    write(tmp_path, motions(1), settings=settings)
    header, _ = read_jsonl(tmp_path / "poses.jsonl")
    assert header["format"] == "mixsynth-stream poses" and header["version"] == 1
    assert tuple(header["joints"]) == BLAZEPOSE_33.joints
    assert (header["source"], header["width"], header["height"], header["rate_hz"]) == ("walk.mp4", 640, 480, 30.0)
    assert (header["every"], header["lag"], header["horizon_s"]) == (10, 1, 0.4)
    assert (header["estimator"], header["weights"]) == ("mediapipe full", ["image-n10", "world-n10"])
    assert "pixels" in header["units"]["pose_px"] and "metres" in header["units"]["world_m"]
    words = [origin.name.lower() for origin in Origin]
    assert words == list(ORIGIN_WORDS)
    assert header["origins"] == words[:-1]
    write(tmp_path, motions(1), settings=Settings(glance=True))
    header, _ = read_jsonl(tmp_path / "poses.jsonl")
    assert header["origins"] == words


def test_json_lines_hold_every_number(tmp_path):
    write(tmp_path, motions(12, people=(0, 3)))
    _, lines = read_jsonl(tmp_path / "poses.jsonl")
    assert [line["index"] for line in lines] == list(range(12))
    assert [line["keyframe"] for line in lines] == [i % 10 == 0 for i in range(12)]
    line = lines[7]
    assert line["time_s"] == pytest.approx(7 / 30, abs=1e-6)
    assert [person["id"] for person in line["people"]] == [0, 3]
    for number, person in zip((0, 3), line["people"], strict=True):
        np.testing.assert_allclose(person["pose_px"], pose_at(7 / 30, number), atol=0.0051)
        np.testing.assert_allclose(person["world_m"], world_at(7 / 30, number), atol=0.000051)
        assert person["scores"] == [0.9] * 33
        assert person["origin"] == "2" * 33


def test_the_same_numbers_in_every_format(tmp_path):
    write(tmp_path, motions(11))
    _, lines = read_jsonl(tmp_path / "poses.jsonl")
    from_json = np.array([line["people"][0]["pose_px"] for line in lines])
    rows = read_csv(tmp_path / "poses.csv")
    from_csv = np.array([[row["x_px"], row["y_px"]] for row in rows], float).reshape(11, 33, 2)
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["pose_px"], from_json, atol=0.0051)
        np.testing.assert_allclose(arrays["pose_px"], from_csv, atol=0.0051)
        world = arrays["world_m"]
    csv_world = np.array([[row["x_m"], row["y_m"], row["z_m"]] for row in rows], float).reshape(11, 33, 3)
    np.testing.assert_allclose(world, csv_world, atol=0.000051)
    _, _, trc = read_trc(tmp_path / "poses_person0.trc")
    np.testing.assert_allclose(trc[:, 2:].reshape(11, 33, 3) * [1, -1, -1], world, atol=0.0000051)


def test_a_joint_that_is_not_known_has_no_numbers(tmp_path):
    write(tmp_path, [without_joint(motion(0), joint=4)])
    person = read_jsonl(tmp_path / "poses.jsonl")[1][0]["people"][0]
    assert (person["pose_px"][4], person["world_m"][4], person["scores"][4]) == ([None] * 2, [None] * 3, None)
    assert person["origin"] == "1111" + "0" + "1" * 28
    assert np.isnan(np.array(person["pose_px"], float)[4]).all()
    row = read_csv(tmp_path / "poses.csv")[4]
    assert [row[name] for name in ("x_px", "y_px", "x_m", "y_m", "z_m", "score")] == [""] * 6
    assert row["origin"] == "missing"
    with np.load(tmp_path / "poses.npz") as arrays:
        assert np.isnan(arrays["pose_px"][0, 4]).all() and np.isnan(arrays["score"][0, 4])
        assert arrays["origin"][0, 4] == Origin.MISSING and np.isfinite(arrays["pose_px"][0, 5]).all()
    trc = read_trc(tmp_path / "poses_person0.trc")[2][0, 2:].reshape(33, 3)
    assert np.isnan(trc[4]).all() and np.isfinite(np.delete(trc, 4, axis=0)).all()


def test_every_format_has_sigma(tmp_path):
    write(tmp_path, [motion(i, sigma=True) for i in range(2)])
    _, lines = read_jsonl(tmp_path / "poses.jsonl")
    measured, filled = (line["people"][0] for line in lines)
    assert measured["sigma_px"] == measured["sigma_m"] == [None] * 33
    np.testing.assert_allclose(filled["sigma_px"], 2 * sigma_at(np.array([1 / 30]))[0], atol=0.0051)
    np.testing.assert_allclose(filled["sigma_m"], sigma_at(np.array([1 / 30]))[0] / 100, atol=0.000051)
    ahead = lines[0]["forecast"]["people"][0]
    times_s = np.arange(1, AHEAD + 1) / 30
    np.testing.assert_allclose(ahead["sigma_px"], 2 * sigma_at(times_s), atol=0.0051)
    rows = read_csv(tmp_path / "poses.csv")
    assert {(row["sigma_px"], row["sigma_m"]) for row in rows[:33]} == {("", "")}
    np.testing.assert_allclose([float(row["sigma_px"]) for row in rows[33:]], filled["sigma_px"], atol=1e-9)
    np.testing.assert_allclose([float(row["sigma_m"]) for row in rows[33:]], filled["sigma_m"], atol=1e-9)
    assert float(read_csv(tmp_path / "poses_forecast.csv")[-1]["sigma_m"]) == ahead["sigma_m"][-1][-1]
    with np.load(tmp_path / "poses.npz") as arrays:
        assert np.isnan(arrays["sigma_px"][0]).all() and np.isnan(arrays["sigma_m"][0]).all()
        np.testing.assert_allclose(arrays["sigma_px"][1], filled["sigma_px"], atol=0.0051)
        np.testing.assert_allclose(arrays["forecast_sigma_m"], ahead["sigma_m"], atol=0.000051)


def test_weights_without_an_uncertainty_table_say_nothing_of_it(tmp_path):
    write(tmp_path, motions(2))
    header, lines = read_jsonl(tmp_path / "poses.jsonl")
    assert header["uncertainty"] == {"sigma_px": None, "sigma_m": None}
    assert "sigma_px" not in lines[1]["people"][0] and "sigma_m" not in lines[0]["forecast"]["people"][0]
    assert read_csv(tmp_path / "poses.csv")[40]["sigma_px"] == ""
    with np.load(tmp_path / "poses.npz") as arrays:
        assert np.isnan(arrays["sigma_px"]).all() and arrays["sigma_px"].shape == (2, 33)


def test_frames_without_people_are_frames_all_the_same(tmp_path):
    write(tmp_path, motions(3, people=()))
    assert [line["people"] for line in read_jsonl(tmp_path / "poses.jsonl")[1]] == [[], [], []]
    assert read_csv(tmp_path / "poses.csv") == []
    with np.load(tmp_path / "poses.npz") as arrays:
        assert arrays["frame_index"].tolist() == [0, 1, 2] and arrays["pose_px"].shape == (0, 33, 2)
    assert not list(tmp_path.glob("*.trc"))


@pytest.mark.parametrize(("every_frame", "indices"), [(False, [0, 10]), (True, list(range(12)))])
def test_forecasts_at_keyframes_or_always(tmp_path, every_frame, indices):
    write(tmp_path, motions(12), write_forecast=every_frame)
    lines = read_jsonl(tmp_path / "poses.jsonl")[1]
    assert [line["index"] for line in lines if "forecast" in line] == indices
    forecast = lines[10]["forecast"]
    np.testing.assert_allclose(forecast["time_s"], 10 / 30 + np.arange(1, AHEAD + 1) / 30, atol=1e-6)
    np.testing.assert_allclose(forecast["people"][0]["pose_px"][-1], pose_at(16 / 30), atol=0.0051)
    assert forecast["people"][0]["origin"] == ["3" * 33] * AHEAD
    rows = read_csv(tmp_path / "poses_forecast.csv")
    assert [int(row["index"]) for row in rows[:: 33 * AHEAD]] == indices
    assert float(rows[-1]["time_s"]) == pytest.approx(float(rows[-1]["made_s"]) + AHEAD / 30, abs=1e-5)
    assert {row["origin"] for row in rows} == {"forecast"}
    with np.load(tmp_path / "poses.npz") as arrays:
        assert arrays["forecast_index"].tolist() == list(np.repeat(indices, AHEAD))
        np.testing.assert_allclose(arrays["forecast_pose_px"][AHEAD - 1], pose_at(AHEAD / 30), rtol=1e-6)


def test_only_final_poses_are_written_unless_asked(tmp_path):
    items = [motion(0, final=False), motion(0), motion(1, final=False)]
    write(tmp_path / "finals", items)
    assert [line["index"] for line in read_jsonl(tmp_path / "finals" / "poses.jsonl")[1]] == [0]
    assert len(read_csv(tmp_path / "finals" / "poses.csv")) == 33
    with JsonlSink(tmp_path / "all.jsonl", Header(), final_only=False) as sink:
        for item in items:
            sink.write(item)
    lines = read_jsonl(tmp_path / "all.jsonl")[1]
    assert [(line["index"], line["final"]) for line in lines] == [(0, False), (0, True), (1, False)]


def test_trc_is_what_opensim_reads(tmp_path):
    sink = TrcSink(tmp_path / "gait.trc", Header(rate_hz=1000.0))
    for item in motions(12, people=(2, 7)):
        sink.write(item)
    sink.close()
    assert [path.name for path in sink.paths] == ["gait_person2.trc", "gait_person7.trc"]
    counts, markers, rows = read_trc(tmp_path / "gait_person7.trc")
    assert tuple(markers) == BLAZEPOSE_33.joints
    assert (int(counts["NumFrames"]), int(counts["OrigNumFrames"]), counts["Units"]) == (12, 12, "m")
    # The rate is measured, whatever the source said when it was opened.
    assert [float(counts[name]) for name in ("DataRate", "CameraRate", "OrigDataRate")] == [30.0] * 3
    assert int(counts["NumMarkers"]) == 33
    assert rows[:, 0].tolist() == list(range(1, 13))
    np.testing.assert_allclose(rows[:, 1], np.arange(12) / 30, atol=1e-6)
    # Half a turn about x keeps left and right apart; turning y alone would swap them.
    np.testing.assert_allclose(rows[0, 2:5], world_at(0, 7)[0] * [1, -1, -1], atol=1e-5)


def test_trc_follows_many_people_one_after_the_other(tmp_path):
    sink = TrcSink(tmp_path / "day.trc", Header(rate_hz=30.0))
    for index in range(50):
        sink.write(motion(index, people=(index,)))
    sink.write(motion(50, people=(0,)))
    sink.close()
    assert len(list(tmp_path.iterdir())) == 50
    counts, _, rows = read_trc(tmp_path / "day_person0.trc")
    assert int(counts["NumFrames"]) == 2 and rows[:, 0].tolist() == [1, 51]


def test_two_runs_write_the_same_bytes(tmp_path):
    first, second = (write(tmp_path / name, motions(12)) for name in ("a", "b"))
    names = {"poses.jsonl", "poses.csv", "poses_forecast.csv", "poses.npz", "poses_person0.trc"}
    names |= {"poses.parquet", "poses_forecast.parquet"}
    assert {path.name for path in first} == names
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_files_get_their_names_when_they_are_complete(tmp_path):
    sinks = open_sinks(tmp_path, INFO, formats=("jsonl", "csv", "npz"))
    for sink in sinks:
        sink.write(motion(0))
    names = ["poses.csv", "poses.jsonl", "poses.npz", "poses_forecast.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.part" for name in names]
    # A live stream can be read while it is written.
    assert len((tmp_path / "poses.jsonl.part").read_text().splitlines()) == 2
    for sink in sinks:
        sink.close()
        sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("name", FORMATS)
def test_an_interrupted_run_leaves_complete_files(tmp_path, name):
    def interrupted():
        (sink,) = open_sinks(tmp_path, INFO, formats=(name,))
        with sink:
            for item in motions(5):
                sink.write(item)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.glob("*.part"))
    if name == "jsonl":
        assert len(read_jsonl(tmp_path / "poses.jsonl")[1]) == 5
    elif name == "csv":
        assert len(read_csv(tmp_path / "poses.csv")) == 5 * 33
    elif name == "npz":
        with np.load(tmp_path / "poses.npz") as arrays:
            assert arrays["pose_px"].shape == (5, 33, 2)
    elif name == "parquet":
        assert len(read_table(tmp_path / "poses.parquet")) == 5
    else:
        assert len(read_trc(tmp_path / "poses_person0.trc")[2]) == 5


# A limit on the size of files looks like a full disk to the program: a write fails in the middle.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.motions import motion
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export import open_sinks
from mixsynth_stream.pipeline.frame import VideoInfo
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
info = VideoInfo(source="walk.mp4", width=640, height=480, rate_hz=30.0)
(sink,) = open_sinks(Path(sys.argv[2]), info, formats=(sys.argv[3],))
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
frames = 0
try:
    with sink:
        while True:
            sink.write(motion(frames + 1 if frames % 10 == 9 else frames))
            frames += 1
except OutputError as error:
    print(frames, error)
"""


# Parquet grows by small files, which fill a disk and reach no limit: tests/export/test_full_disk.py.
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "parquet"])
def test_a_full_disk_is_reported_and_keeps_what_was_written(tmp_path, name):
    command = [sys.executable, "-c", FULL_DISK, str(Path(__file__).parents[1]), str(tmp_path), name]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    count, sentence = result.stdout.split(" ", 1)
    frames = int(count)
    assert frames > 5
    assert "cannot be written" in sentence and "kept" in sentence and str(tmp_path) in sentence
    if name == "jsonl":
        assert len(read_jsonl(tmp_path / "poses.jsonl")[1]) == frames
    elif name == "csv":
        # The two tables are separate files: the poses of a frame may be there and its forecast not.
        rows = read_csv(tmp_path / "poses.csv")
        assert len(rows) in (33 * frames, 33 * (frames + 1)) and None not in rows[-1].values()
        assert all(len(row) == 16 for row in read_csv(tmp_path / "poses_forecast.csv"))
    elif name == "npz":
        poses = np.load(tmp_path / "poses.npz.part" / "pose_px.npy")
        assert len(poses) == len(np.load(tmp_path / "poses.npz.part" / "origin.npy")) >= frames - 1
        np.testing.assert_allclose(poses[3], pose_at(3 / 30), rtol=1e-6)
    else:
        counts, _, rows = read_trc(tmp_path / "poses_person0.trc")
        assert int(counts["NumFrames"]) == len(rows) == frames


@pytest.mark.parametrize("name", [*FORMATS, "overlay", "plot"])
def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path, name):
    (tmp_path / "results").write_text("a file in the way")
    options = {"formats": ()} if name in ("overlay", "plot") else {"formats": (name,)}
    with pytest.raises(OutputError, match=r"results.* cannot be written: .*choose another folder"):
        for sink in open_sinks(tmp_path / "results", INFO, overlay=name == "overlay", plot=name == "plot", **options):
            sink.write(motion(0))


@pytest.mark.parametrize("name", ["poses.csv", "overlay.mp4", "plot.png"])
def test_a_name_that_a_folder_has_taken_is_refused_at_once(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=f"{name} cannot be written: a folder of that name is in the way"):
        open_sinks(tmp_path, INFO, formats=("jsonl", "csv"), overlay=True, plot=True)


def test_a_folder_without_permission_is_refused_before_the_first_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # these tests may run as root, who may do anything
    with pytest.raises(OutputError, match=r"overlay.mp4 cannot be written: there is no permission"):
        open_sinks(tmp_path, INFO, formats=(), overlay=True)


def test_the_folder_is_made(tmp_path):
    write(tmp_path / "new" / "folder", motions(1))
    assert (tmp_path / "new" / "folder" / "poses.jsonl").is_file()


def test_json_lines_go_to_standard_output_without_a_folder(capsys):
    (sink,) = open_sinks(None, INFO)
    with sink:
        sink.write(motion(0))
        assert len(capsys.readouterr().out.splitlines()) == 2
    assert sink.paths == []


def test_wrong_outputs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="jsonl, csv, npz, trc, parquet, found xml"):
        open_sinks(tmp_path, INFO, formats=("xml",))
    with pytest.raises(ValueError, match="give a folder"):
        open_sinks(None, INFO, formats=("csv",))
    with pytest.raises(ValueError, match="give a folder"):
        open_sinks(None, INFO, overlay=True)


def test_frames_that_are_pushed_have_no_source(tmp_path):
    for sink in open_sinks(tmp_path, None, formats=FORMATS, plot=True):
        with sink:
            sink.write(motion(0))
    assert read_jsonl(tmp_path / "poses.jsonl")[0]["source"] is None


def test_memory_does_not_grow_with_the_stream(tmp_path):
    sinks = open_sinks(tmp_path, INFO, formats=FORMATS, plot=True)
    tracemalloc.start()
    try:
        sizes = []
        for index in range(300):
            for sink in sinks:
                sink.write(motion(index, ahead=2))
            if index in (99, 299):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        for sink in sinks:
            sink.close()
    # The plot keeps up to 4096 small rows; a whole pose alone takes 1600 bytes.
    assert sizes[1] - sizes[0] < 200 * 500
