"""`bench training`: no speed of wrong gradients, the same windows for both, ratios that are those of the rows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from support.swing_clips import small, write_swings

pytest.importorskip("torch", reason="training needs torch")
from mixsynth_stream.bench import training as bench_training
from mixsynth_stream.bench.training import (
    PRESET,
    batch_and_dropout,
    both_ways,
    gate_failures,
    layer_rows,
    same_layers,
    training_config,
)
from mixsynth_stream.cli import main
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.presets import shipped_shapes
from mixsynth_stream.train.native import use_native


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swings(tmp_path_factory.mktemp("clips") / "swing.npz")


def test_layers_and_steps_of_every_network_have_rows(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    report = tmp_path / "training.json"
    options = ["--case", "image-n5", "world-n5", PRESET, "--batch", "2", "--rounds", "3", "--seconds", "0.01"]
    assert main(["bench", "training", *options, "--data", str(clips), "--json", str(report)]) == 0
    assert before == (os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set())
    output = capsys.readouterr().out
    assert "windows of swing.npz" in output
    document = json.loads(report.read_text())
    assert document["versions"]["torch"]
    rows = {(row["what"], row["case"], row["contender"]): row for row in document["rows"]}
    cases = [("layer", "image-n5, world-n5"), ("layer", PRESET)]
    cases += [("step of train", name) for name in ("image-n5", "world-n5", PRESET)]
    assert list(rows) == [(*case, way) for case in cases for way in ("native", "torch")]
    for row in rows.values():
        assert row["p50_us"] > 0 and row["batch"] == 2
        assert f"{row['over_torch']:.2f}x" in output
    assert all(rows[(*case, "torch")]["over_torch"] == 1 for case in cases)
    assert [path.name for path in tmp_path.iterdir()] == ["training.json"]


def test_wrong_gradients_have_no_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def careless(network: MixSynthFormer) -> None:
        use_native(network)
        network.encoder.layers[1].ff.fc1.weight.register_hook(lambda gradient: gradient * 1.001)

    monkeypatch.setattr(bench_training, "use_native", careless)
    report = tmp_path / "training.json"
    assert main(["bench", "training", "--case", "image-n5", "--seconds", "0", "--json", str(report)]) == 1
    output = capsys.readouterr().out
    assert "gate RED" in output and "image-n5: a gradient of native is off by 1.0e-03" in output
    assert "torch is off" not in output and "over torch" not in output and not report.exists()


def test_a_gradient_that_is_no_number_is_wrong() -> None:
    assert gate_failures({"a": {"native": 0.0}}) == []
    assert len(gate_failures({"a": {"native": float("nan"), "torch": float("inf")}})) == 2


def test_both_ways_take_the_same_step(clips: Path, tmp_path: Path) -> None:
    with both_ways(small(clips, tmp_path / "nowhere")) as runs:
        for run in runs.values():
            run.advance()
        losses = [run.curves.state()["losses"] for run in runs.values()]
        assert ["forward" in vars(run.network.encoder) for run in runs.values()] == [True, False]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and len(losses[0]) == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_preset_is_measured_with_its_batch_and_its_dropout() -> None:
    assert batch_and_dropout(PRESET, None) == (256, 0.1)
    assert batch_and_dropout(PRESET, 2) == (2, 0.1)
    assert batch_and_dropout("image-n5", None) == (64, 0.0)
    with both_ways(training_config(PRESET, [], 4)) as runs:
        for run in runs.values():
            for _ in range(3):
                run.advance()
        losses = [run.curves.state()["losses"] for run in runs.values()]
    # The same windows and other masks, which the untrained network's output does not feel.
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5) and losses[0][2] != losses[1][2]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


def test_networks_share_a_layer_where_only_the_pose_differs() -> None:
    assert list(same_layers(shipped_shapes()).values()) == [[f"image-n{n}", f"world-n{n}"] for n in (5, 10, 15)]


def test_the_ratio_is_the_median_over_the_rounds() -> None:
    native, _ = layer_rows("a", 1, {"native": [1.0, 1.0, 2.0], "torch": [3.0, 2.0, 2.0]}, {"native": 0, "torch": 0})
    assert native["over_torch"] == 2 and native["p50_us"] == 1e6


def test_a_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "mixsynth_stream.bench.training")
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert main(["bench", "training"]) == 4
    assert "bench training needs threadpoolctl: pip install 'mixsynth-stream[train]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--case", "image-n7"], "--case must be of image-n5"),
        (["--rounds", "0"], "--rounds and --batch must be at least 1"),
        (["--batch", "0"], "--rounds and --batch must be at least 1"),
        (["--seconds", "-1"], "--seconds not negative"),
        (["--seconds", "nan"], "--seconds not negative"),
    ],
)
def test_wrong_options_are_named(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "training", *words]) == 2
    assert sentence in capsys.readouterr().err
