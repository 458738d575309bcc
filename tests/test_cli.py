"""The command line as a user meets it.

Every bad input gives one clear sentence and the right exit code, and results before it are complete.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from support import clips
from support.command_line import run_apart

from mixsynth_stream.cli import main
from mixsynth_stream.files import ASSETS
from mixsynth_stream.parameters import untrained_state
from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene
from mixsynth_stream.weights import load_weights, save_weights, untrained_model

DEMO = str(ASSETS / "demo.mp4")


class Result:
    """The exit code and the output of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def fails(self, code: int, *parts: str) -> None:
        """The exit code, and one sentence on standard error that names each part."""
        assert self.code == code, f"exit code {self.code}, expected {code}: {self.err}"
        lines = [line for line in self.err.splitlines() if line.startswith("mixsynth-stream: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        for part in parts:
            assert part in lines[0], lines[0]


@pytest.fixture
def command(capfd):
    """Run a command in this process: its exit code and what it printed."""

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def estimates(tmp_path_factory):
    """Recorded estimates of a walker over 20 s, which take the place of a pose model in short clips."""
    scene = SyntheticScene(seconds=20)
    times_s = np.arange(600) / 30
    people = [scene.truth(time_s)[0] for time_s in times_s]
    path = tmp_path_factory.mktemp("estimates") / "walker.npz"
    np.savez(
        path,
        time_s=times_s,
        poses=[p.pose for p in people],
        world=[p.world for p in people],
        scores=[p.scores for p in people],
    )
    return path


def frames_of(folder: Path) -> list[dict]:
    """The frames in a folder's JSON lines."""
    lines = [json.loads(line) for line in (folder / "poses.jsonl").read_text().splitlines()]
    return [line for line in lines if "index" in line]


def video_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_no_arguments_and_unknown_words_are_usage_errors(command):
    command().fails(2, "COMMAND")
    command("fly").fails(2, "fly", "run")
    command("run", DEMO, "--sideways").fails(2, "--sideways")
    command("run", DEMO, "--lag", "2").fails(2, "--lag")
    command("run", DEMO, "--max-people", "0").fails(2, "at least 1")
    command("run", DEMO, "--horizon", "soon").fails(2, "soon")
    command("run", DEMO, "--format", "xlsx", "--out", "x").fails(2, "xlsx", "jsonl")
    command("run", DEMO, "--overlay").fails(2, "--out")


def test_version_goes_to_standard_output(command):
    result = command("--version")
    assert result.code == 0
    assert result.out.startswith("mixsynth-stream 0.")


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (None, ["there is no file"]),
        (lambda path: path.mkdir(), ["is a folder"]),
        (clips.empty, ["empty"]),
        (clips.text, ["not a video"]),
        (clips.audio_only, ["no video"]),
        (clips.zero_length, ["not one frame"]),
        (clips.without_index, ["index"]),
    ],
    ids=["missing", "folder", "empty", "text", "audio only", "no frames", "no index"],
)
def test_a_source_that_is_no_video(command, tmp_path, make, parts):
    source = tmp_path / "clip.mp4"
    if make:
        make(source)
    result = command("run", source, "--out", tmp_path / "out")
    result.fails(3, "clip.mp4", *parts)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_pattern_that_matches_nothing(command, tmp_path):
    command("run", tmp_path / "*.mp4").fails(3, "no file matches")


def test_a_truncated_file_keeps_every_pose_up_to_the_break(command, tmp_path, estimates):
    source = clips.truncated(tmp_path / "clip.mp4")
    out = tmp_path / "out"
    result = command("run", source, "--estimates", estimates, "--out", out, "--overlay", "--quiet")
    frames = frames_of(out)
    result.fails(3, "clip.mp4", f"{len(frames)} frames")
    assert 10 < len(frames) < 60
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert video_frames(out / "overlay.mp4") == len(frames)
    assert not list(out.glob("*.part"))


def test_a_file_corrupted_in_the_middle_is_read_to_its_end(command, tmp_path, estimates):
    source = clips.corrupted(tmp_path / "clip.mp4", frames=60)
    result = command("run", source, "--estimates", estimates, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert "corrupt packets" in result.err
    assert frames_of(tmp_path / "out")[-1]["time_s"] > 1.9


def test_one_bad_source_among_several(command, tmp_path, estimates, caplog):
    clips.make(tmp_path / "a.mp4", frames=12)
    clips.text(tmp_path / "b.mp4")
    clips.make(tmp_path / "c.mp4", frames=12)
    result = command("run", tmp_path / "*.mp4", "--estimates", estimates, "--out", tmp_path / "out", "--quiet")
    assert result.code == 3
    assert "b.mp4" in result.err
    assert "1 of 3 sources failed" in result.err
    assert f"{estimates} is replayed for each of the 3 sources" in caplog.text
    assert len(frames_of(tmp_path / "out" / "a")) == len(frames_of(tmp_path / "out" / "c")) == 12


def test_an_8k_frame(command, tmp_path):
    source = clips.make(tmp_path / "clip.mkv", frames=1, size=(7680, 4320), codec="mjpeg", pix_fmt="yuvj420p")
    result = command("run", source, "--out", tmp_path / "out", "--quiet")
    assert result.code == 0, result.err
    assert len(frames_of(tmp_path / "out")) == 1


def test_a_single_pixel(command, tmp_path):
    source = clips.make(tmp_path / "clip.mkv", frames=3, size=(1, 1), codec="ffv1", pix_fmt="bgr0")
    result = command("run", source, "--out", tmp_path / "out", "--quiet", "--overlay")
    assert result.code == 0, result.err
    assert len(frames_of(tmp_path / "out")) == 3


def test_nobody_in_sight(command, tmp_path):
    source = clips.make(tmp_path / "clip.mp4", frames=25)
    result = command("run", source, "--out", tmp_path / "out", "--format", "jsonl,csv,npz,trc", "--overlay", "--plot")
    assert result.code == 0, result.err
    # OpenSim refuses a TRC without rows, so there is none, and a word about it.
    assert "nobody was seen, so there is no TRC file" in result.err
    assert not list((tmp_path / "out").glob("*.trc*"))
    assert len(frames_of(tmp_path / "out")) == 25
    assert all(frame["people"] == [] for frame in frames_of(tmp_path / "out"))
    assert video_frames(tmp_path / "out" / "overlay.mp4") == 25


def record(path: Path, scene: SyntheticScene, seen) -> Path:
    """Recorded estimates of a scene at 30 Hz: `seen(people, time_s)` picks and orders them, None is nobody."""
    times_s = np.arange(round(30 * scene.seconds)) / 30
    people = [seen(scene.truth(time_s), time_s) for time_s in times_s]
    nobody = np.full((33, 2), np.nan), np.full((33, 3), np.nan)
    poses, world = (
        [[nobody[space] if p is None else (p.pose, p.world)[space] for p in now] for now in people] for space in (0, 1)
    )
    np.savez(path, time_s=times_s, poses=poses, world=world)
    return path


def test_a_person_who_leaves_and_comes_back(command, tmp_path):
    scene = SyntheticScene(seconds=9)
    estimates = record(tmp_path / "e.npz", scene, lambda people, t: [None if 3 <= t < 6 else people[0]])
    result = command("run", "synthetic:seconds=9", "--estimates", estimates, "--out", tmp_path / "out", "--quiet")
    assert result.code == 0, result.err
    is_known = {frame["time_s"]: bool(frame["people"]) for frame in frames_of(tmp_path / "out")}
    assert all(known for time_s, known in is_known.items() if time_s <= 2.6 or time_s >= 6.4)
    assert not any(known for time_s, known in is_known.items() if 4.4 <= time_s <= 5.6)


def test_two_people_who_cross_keep_their_ids(command, tmp_path):
    scene = SyntheticScene(seconds=8, people=2)
    shuffle = np.random.default_rng(0)
    estimates = record(tmp_path / "e.npz", scene, lambda people, t: [people[p] for p in shuffle.permutation(2)])
    out = tmp_path / "out"
    result = command(
        "run", "synthetic:seconds=8&people=2", "--estimates", estimates, "--max-people", "2", "--out", out, "--quiet"
    )
    assert result.code == 0, result.err
    walkers_of_id: dict[int, set[int]] = {}
    for frame in frames_of(out):
        truth = [person.pose for person in scene.truth(frame["time_s"])]
        if abs(truth[0][0, 0] - truth[1][0, 0]) < 100:
            continue  # where they cross, a pose lies near both
        for person in frame["people"]:
            pose = np.array(person["pose_px"], float)
            distances = [np.linalg.norm(one - pose, axis=1).mean() for one in truth]
            walkers_of_id.setdefault(person["id"], set()).add(int(np.argmin(distances)))
    assert sorted(map(tuple, walkers_of_id.values())) == [(0,), (1,)]


def test_a_live_source_gives_each_frame_at_once_and_again_when_final(command):
    result = command("run", "synthetic:live=1&seconds=1.5")
    assert result.code == 0, result.err
    lines = [json.loads(line) for line in result.out.splitlines()][1:]
    at_once = [line["index"] for line in lines if not line["final"]]
    final = [line["index"] for line in lines if line["final"]]
    # A keyframe comes once more when the estimator has answered.
    assert sorted(set(at_once)) == final
    assert lines.index(next(line for line in lines if line["final"])) > 5
    assert "fps" in result.err or "frames" in result.err


def test_no_camera(command):
    command("webcam", "--camera", "73", "--view", "none").fails(3, "camera 73")


@pytest.mark.skipif(sys.platform != "linux", reason="displays are found by environment variables on Linux only")
def test_no_display(command, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    command("run", "synthetic:seconds=1", "--view", "window").fails(1, "no window", "--view none")


def test_a_keyframe_spacing_without_weights(command):
    command("run", "synthetic:seconds=1", "--every", "7").fails(4, "image-n7", "image-n10")


def test_a_pose_model_that_is_not_there(command):
    command("run", DEMO, "--model", "huge").fails(4, "huge", "full")


def test_a_backend_that_does_not_exist(command):
    command("run", "synthetic:seconds=1", "--backend", "abacus").fails(2, "abacus", "native")


def write_weights(path: Path, change: str) -> Path:
    """Weights of the shipped shape with one thing wrong."""
    model = untrained_model("image")
    state, config, info = untrained_state(model.config), model.config, model.info
    if change == "skeleton":
        info = replace(info, skeleton="H36M-17", skeleton_joints=tuple(f"joint_{j}" for j in range(17)))
    save_weights(path, state, config, info)
    if change == "version":
        data = path.read_bytes()
        path.write_bytes(data.replace(b'\\"format_version\\": 1', b'\\"format_version\\": 9'))
    if change == "NaN":
        data = path.read_bytes()
        path.write_bytes(data[:-4] + np.float32("nan").tobytes())
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    return path


@pytest.mark.parametrize(
    ("change", "part"),
    [("skeleton", "H36M-17"), ("version", "version 9"), ("NaN", "NaN"), ("cut", "truncated")],
)
def test_weights_that_do_not_fit(command, tmp_path, change, part):
    path = write_weights(tmp_path / "bad.safetensors", change)
    result = command("run", "synthetic:seconds=1", "--weights", path, "--out", tmp_path / "out")
    result.fails(4, part)


def test_weights_for_another_spacing_than_the_one_asked_for(command):
    command("run", "synthetic:seconds=1", "--weights", "image-n10", "--every", "5").fails(2, "--every 5", "10 steps")


def test_weights_that_are_not_there(command):
    command("run", "synthetic:seconds=1", "--weights", "nowhere.safetensors").fails(4, "nowhere.safetensors")


def test_own_weights_are_used(command, tmp_path):
    """A network that is all zeros puts every joint on one spot, which no trained one does."""
    model = untrained_model("image")
    state = {name: np.zeros_like(value) for name, value in untrained_state(model.config).items()}
    save_weights(tmp_path / "zero.safetensors", state, model.config, model.info)
    load_weights(tmp_path / "zero.safetensors")
    result = command("run", "synthetic:seconds=2", "--weights", tmp_path / "zero.safetensors", "--limit-frames", "30")
    assert result.code == 0, result.err
    last = [json.loads(line) for line in result.out.splitlines()][-1]
    core = np.array(last["people"][0]["pose_px"])[[11, 12, 15, 16, 27, 28]]
    assert np.ptp(core, axis=0).max() < 1e-3


def test_an_output_folder_that_cannot_be_made(command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = command("run", "synthetic:seconds=1", "--out", tmp_path / "file" / "out")
    result.fails(1, "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's disk without room")
def test_standard_output_without_room():
    with open("/dev/full", "w") as full:
        process = run_apart("run", "synthetic:seconds=10", "--quiet", stdout=full)
    Result(process.returncode, "", process.stderr).fails(1, "No space left")


def test_a_reader_that_has_seen_enough():
    """`... | head -1`: no complaint."""
    command = [sys.executable, "-m", "mixsynth_stream", "run", "synthetic:seconds=60", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


ENDS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@pytest.mark.parametrize("number", ENDS)
def test_interrupted_work_is_complete(tmp_path, number):
    """Ctrl-C, SIGTERM and a closed terminal: files are closed and readable, and the exit code says so."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mixsynth_stream", "run", "synthetic:seconds=0", "--out", str(out), "--overlay"]
    command += ["--format", "jsonl,csv,npz"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        # The growing file says that the job is under way.
        while process.poll() is None and not any(path.stat().st_size > 20_000 for path in out.glob("poses.jsonl*")):
            pass
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    frames = frames_of(out)
    assert re.search(r"synthetic:seconds=0: \d+ frames in .* estimator calls, 1 person.*; results in", errors)
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert video_frames(out / "overlay.mp4") == len(frames)
    assert len(np.load(out / "poses.npz")["time_s"]) == len(frames)
    assert not list(out.glob("*.part"))


def test_standard_output_is_data_only(command):
    result = command("run", "synthetic:seconds=1")
    assert result.code == 0
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["index"] for line in lines if "index" in line] == list(range(30))
    assert "30 frames" in result.err


def test_info_names_backends_weights_and_pose_models(command):
    result = command("info")
    assert result.code == 0
    for part in ("native", "image-n10", "world-n10", "mediapipe 0.10.31", "cameras"):
        assert part in result.out
    # How a network is launched on a card is told where there is none, too.
    assert re.search(r"3dpw, 3dpw-pare +one launch for the network\n", result.out)
    assert re.search(r"h36m, .*image-n10.* one launch a layer, 4 in all\n", result.out)
