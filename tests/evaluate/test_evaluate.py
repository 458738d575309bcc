"""Evaluation: what goes in, what is scored, that no clip is lost, and what is written."""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fakes import CatmullRom, standing_pose

from mixsynth_stream.commands import evaluate
from mixsynth_stream.data.mocap import DEFAULT_DATA, load_clips
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.evaluate import report, ridge
from mixsynth_stream.evaluate.baselines import baselines
from mixsynth_stream.evaluate.mocap import evaluate_mocap, score_windows
from mixsynth_stream.evaluate.plot import save_error_plot
from mixsynth_stream.evaluate.scores import HORIZONS_MS, NETWORK, Case, Row, Scores
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.weights import save_weights, untrained_model, untrained_state

FILES = [CHECKOUT / name for name in DEFAULT_DATA]
CASE = Case(data="d", model="m", question="filled", target="clean", horizon_ms=None, metric="mpjpe", unit="mm")
N, T = 10, 69


def _windows(motion: np.ndarray, keyframes: np.ndarray | None = None) -> Windows:  # motion [B, T, 17, 3]
    keyframes = motion[:, : 4 * N + 1 : N] if keyframes is None else keyframes
    valid = np.ones(motion.shape[:2], bool)
    return Windows(keyframes=keyframes, clean=motion, carried=motion, valid=valid, clip=np.arange(len(motion)))


def _steady_motion(batch: int = 2) -> np.ndarray:
    """Everybody moves along x by 1 mm a step, in the shape of a standing person."""
    pose = np.concatenate([standing_pose(size_px=0.5)[_core()], np.zeros((17, 1))], axis=1)
    motion = np.tile(pose, (batch, T, 1, 1))
    motion[..., 0] += 0.001 * np.arange(T)[:, None]
    return motion


def _core() -> list[int]:
    from mixsynth_stream.skeleton import CORE_FROM_BLAZEPOSE

    return list(CORE_FROM_BLAZEPOSE)


def _values(rows: list[Row], metric: str = "mpjpe") -> dict[tuple[str, str, int | None, str], float]:
    return {(r.question, r.target, r.horizon_ms, r.method): r.value for r in rows if r.metric == metric}


def _scored(model: Any, windows: Windows) -> list[Row]:
    scores = Scores()
    score_windows(scores, CASE, model, windows, baselines())
    return scores.rows()


def test_errors_of_a_motion_with_known_answers():
    values = _values(_scored(CatmullRom("world"), _windows(_steady_motion())))
    for method in ("linear", "pchip", "catmull_rom", NETWORK):
        assert values["filled", "clean", None, method] == pytest.approx(0, abs=1e-4)
    for horizon_ms in HORIZONS_MS:
        assert values["ahead", "clean", horizon_ms, "hold"] == pytest.approx(horizon_ms * 0.03)
        assert values["ahead", "clean", horizon_ms, "constant_velocity"] == pytest.approx(0, abs=1e-9)
        damped = values["ahead", "clean", horizon_ms, "damped_velocity"]
        assert values["ahead", "clean", horizon_ms, NETWORK] == pytest.approx(damped, abs=1e-4)
    assert values["now", "clean", None, "hold"] == pytest.approx(np.mean(np.arange(1, N)))


def test_the_truth_is_never_fed_as_input():
    """The published 3D evaluation overwrites the detected input with the truth. Ours sees the keyframes alone."""
    motion = _steady_motion()
    keyframes = motion[:, : 4 * N + 1 : N].copy()
    keyframes[..., 1] += 0.05  # the estimator sees everybody 50 mm lower, and the network sees nothing else
    inputs: list[np.ndarray] = []
    model = CatmullRom("world")
    model_call = type(model).__call__

    class Spy(CatmullRom):
        def __call__(self, keyframes: np.ndarray) -> np.ndarray:
            inputs.append(keyframes)
            return model_call(self, keyframes)

    windows = _windows(motion, keyframes)
    values = _values(_scored(Spy("world"), windows))
    for method in ("linear", "pchip", "catmull_rom", NETWORK):
        assert values["filled", "clean", None, method] == pytest.approx(50, abs=1e-3)
    assert values["ahead", "clean", 300, NETWORK] >= 50
    # Another truth changes no input.
    count = len(inputs)
    _scored(Spy("world"), replace(windows, clean=motion + 1.0, carried=motion - 1.0))
    for first, second in zip(inputs[:count], inputs[count:], strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_perfect_network_beats_everything_and_targets_do_not_mix():
    motion = _steady_motion()
    motion[:, 31:40] += 0.1

    class Perfect(CatmullRom):
        def __call__(self, keyframes: np.ndarray) -> np.ndarray:
            hips = motion[:, 40][:, [9, 10]].mean(1)[:, None, None]
            return (motion - hips).reshape(len(motion), T, -1)

    rows = _scored(Perfect("world"), replace(_windows(motion), carried=motion + np.array([0.02, 0.0, 0.0])))
    values = _values(rows)
    assert values["filled", "clean", None, NETWORK] == pytest.approx(0, abs=1e-3)
    assert values["filled", "carried", None, NETWORK] == pytest.approx(20, abs=1e-3)
    ratio = [r for r in rows if r.metric == "mpjpe_ratio" and r.question == "filled" and r.target == "clean"]
    assert [r.method for r in ratio] == [NETWORK]
    assert ratio[0].value == pytest.approx(0, abs=1e-4)
    assert ratio[0].over in ("linear", "pchip", "catmull_rom")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_clip_of_the_shipped_files_is_scored(path: Path):
    """The published Human3.6M loader evaluates one sequence. The shortest clips here are the runs: 32 frames."""
    clips = load_clips(path)
    windows = validation_windows(clips, CatmullRom("image").config, "image", seed=0, stride=60)
    has_truth = windows.valid[:, 41:50].any(axis=1)
    assert set(windows.clip[has_truth]) == set(range(len(clips)))


def test_short_clips_are_judged_on_what_they_have_only():
    clip = load_clips(FILES[0])[15]
    frames = len(clip.positions)
    assert frames == 32
    windows = validation_windows([clip], CatmullRom("world").config, "world", seed=0)
    for row in range(len(windows.clip)):
        assert windows.valid[row].sum() == frames
        first = int(np.argmax(windows.valid[row]))
        assert first % N == 0
        # Nothing is known before the clip: the oldest keyframe is repeated.
        assert (windows.keyframes[row, : first // N] == windows.keyframes[row, first // N]).all()
    assert sorted(np.argmax(windows.valid, axis=1)) == [10, 20, 30]


def test_the_shipped_files_give_every_row(tmp_path):
    result = evaluate_mocap(FILES[0], "untrained", CatmullRom("image"), seed=0)
    assert "41 of 41 clips" in result.title
    questions = {(row.question, row.target, row.horizon_ms) for row in result.rows}
    single = ("filled", "filled_later", "now", "filled_cold", "now_cold")
    expected = {(q, ms) for q in ("ahead", "ahead_mean") for ms in HORIZONS_MS} | {(q, None) for q in single}
    assert questions == {(q, target, ms) for q, ms in expected for target in ("clean", "carried")}
    network = [r for r in result.rows if r.metric == "mpjpe" and r.method == NETWORK]
    # Nine clips are shorter than a window.
    assert {(r.question, r.clips) for r in network if "cold" in r.question} == {("filled_cold", 41), ("now_cold", 41)}
    assert {r.clips for r in network if r.question == "filled"} == {32}
    assert all(r.interval is not None and r.interval[0] < r.value < r.interval[1] for r in network)
    # The untrained network is Catmull-Rom and damped velocity: nothing else may come out of the same poses.
    values = _values(result.rows)
    for (question, target, ms, method), value in values.items():
        twin = {"filled_later": "catmull_rom", "now": "damped_velocity", "ahead": "damped_velocity"}.get(question)
        if method == NETWORK and twin:
            assert value == pytest.approx(values[question, target, ms, twin], rel=1e-3)
    text = report.methods_table(result)
    gaps, after = 3, 2 + 2 * len(HORIZONS_MS)
    assert len(text.splitlines()) == 2 + (1 + 2 * gaps) + 1 + (1 + 2 * after)
    save_error_plot(tmp_path / "plot.png", [result])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_scores_refuse_methods_judged_on_different_poses():
    with pytest.raises(ValueError, match="same poses"):
        Scores().add(CASE, {NETWORK: np.array([1.0, np.nan]), "hold": np.array([1.0, 2.0])}, np.array([0, 1]))


def test_means_ratio_and_interval_of_known_numbers():
    scores = Scores()
    clip = np.repeat(np.arange(8), [1, 1, 1, 1, 1, 1, 1, 9])
    errors = {NETWORK: np.where(clip == 7, 2.0, 1.0), "linear": np.full(16, 4.0), "pchip": np.full(16, 3.0)}
    scores.add(CASE, errors, clip)
    rows = {(r.method, r.metric): r for r in scores.rows()}
    network = rows[NETWORK, "mpjpe"]
    assert network.value == pytest.approx((7 + 18) / 16)
    assert network.interval is not None
    assert 1.0 <= network.interval[0] < network.value < network.interval[1] <= 2.0
    assert rows["linear", "mpjpe"].interval == (4.0, 4.0)
    ratio = rows[NETWORK, "mpjpe_ratio"]
    assert (ratio.value, ratio.over) == (pytest.approx(25 / 48), "pchip")
    assert {r.value for r in scores.rows(equal_groups=True) if r.method == NETWORK and r.unit == "mm"} == {9 / 8}
    few = Scores()
    few.add(CASE, {NETWORK: np.ones(2), "linear": np.ones(2)}, np.array([0, 1]))
    assert all(row.interval is None for row in few.rows())


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args(list(words))


def _weights(path: Path) -> str:
    model = untrained_model("world")
    save_weights(path, untrained_state(model.config), model.config, model.info)
    return str(path)


def _few_clips(path: Path) -> str:
    with np.load(FILES[0]) as data:
        arrays = {key: data[key] for key in data.files}
    for key in ("starts", "lengths", "subject", "trial", "src", "licence"):
        arrays[key] = arrays[key][13:20]
    np.savez(path, **arrays)
    return str(path)


def test_the_command_prints_a_table_and_writes_rows_and_a_plot(tmp_path, capsys, monkeypatch):
    weights, data = _weights(tmp_path / "untrained.safetensors"), _few_clips(tmp_path / "few.npz")
    draw_few = partial(ridge.ridge_sums, count=512)
    monkeypatch.setattr(ridge, "ridge_sums", draw_few)
    words = ["--model", weights, "--data", data, "--train-data", data, "--detail", "all"]
    words += ["--json", str(tmp_path / "rows.json.gz"), "--plot", str(tmp_path / "plot.png")]
    assert evaluate.main(_arguments(*words)) == 0
    printed = capsys.readouterr().out
    assert "few.npz" in printed
    assert "7 of 7 clips" in printed
    assert [line.split()[0] for line in printed.splitlines()[1:5]] == ["tuned", "question", "filled", "filled"]
    document = json.loads(gzip.decompress((tmp_path / "rows.json.gz").read_bytes()))
    assert {"machine", "versions", "commit", "rows"} <= document.keys()
    for row in document["rows"]:
        assert {"question", "method", "horizon_ms", "metric", "value", "interval"} <= row.keys()
        # One of the seven clips is long enough for full windows: too few for an interval.
        assert row["interval"] is None or row["interval"][0] <= row["interval"][1]
    assert any(row["interval"] for row in document["rows"])
    metrics = {"mpjpe", "mpjpe_ratio", "mpjpe_ratio_ridge", "p_mpjpe", "accel_error", "accel_error_ratio_linear"}
    assert {row["metric"] for row in document["rows"]} >= metrics | {"pck@0.2", "pck@0.1", "pck@0.05"}
    assert {"wrists", "knees"} <= {row.get("group") for row in document["rows"]}
    whole = (row for row in document["rows"] if not {"group", "band"} & row.keys())
    ahead = {
        (row["metric"], row["method"]): row["value"]
        for row in whole
        if (row["question"], row["horizon_ms"], row["target"]) == ("ahead", 400, "carried")
    }
    over_ridge = ahead["mpjpe", NETWORK] / ahead["mpjpe", "ridge"]
    assert ahead["mpjpe_ratio_ridge", NETWORK] == pytest.approx(over_ridge, rel=1e-4)
    assert "ahead 400 ms, carried: ridge" in printed
    for metric in ("MPJPE", "P-MPJPE", "Accel error", "PCK@0.2", "PCK@0.1", "PCK@0.05"):
        assert f"\n{metric} by joints and speed" in printed
    # Every method by each of them, not the network alone.
    for metric in ("P-MPJPE", "Accel error", "PCK@0.2", "PCK@0.1", "PCK@0.05"):
        heads = [line.removeprefix(metric).split() for line in printed.splitlines() if line.startswith(f"{metric}  ")]
        assert [head[1] for head in heads] == ["linear", "hold"] and all("network" in head for head in heads)
    by_part = {row["metric"] for row in document["rows"] if row.get("group") == "wrists"}
    assert by_part >= metrics | {"pck@0.2", "pck@0.1", "pck@0.05"}
    assert by_part == {row["metric"] for row in document["rows"] if row.get("band") == "<0.5"}
    first = (tmp_path / "rows.json.gz").read_bytes()
    evaluate.main(_arguments(*words))
    assert (tmp_path / "rows.json.gz").read_bytes() == first


def test_the_command_prints_how_often_the_bounds_of_shipped_weights_hold(capsys):
    assert evaluate.main(_arguments("--model", "image-n10", "--data", str(FILES[0]), "--coverage")) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "cells: the" in line]
    assert len(lines) == 4  # of the file, and of all files
    half, most = (float(line.split("(mean ")[1].split(" %")[0]) for line in lines[:2])
    assert 40 < half < 60
    assert 85 < most < 95
