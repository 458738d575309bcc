"""`bench encoder`: the gate turns red, ratios and counts add up, and missing packages are named."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from support.networks import ODD, random_state

from mixsynth_stream.backend import Forward
from mixsynth_stream.bench.encoder.contenders import CONTENDERS, Case
from mixsynth_stream.bench.encoder.run import all_networks, contender_rows, gate_failures, window_seconds
from mixsynth_stream.bench.measure import flops
from mixsynth_stream.cli import main
from mixsynth_stream.config import ModelConfig

QUICK = ["bench", "encoder", "--case", "3dpw", "--batch", "1", "2", "--rounds", "3"]


def allowed_cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@pytest.mark.parametrize("reduce_channel", [1, 3])
@pytest.mark.parametrize("reduce_token", [1, 4])
def test_operations_are_counted_as_torch_counts_them(reduce_token: int, reduce_channel: int) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mixsynth_stream.network import MixSynthFormer

    factors = {"reduce_token": reduce_token, "reduce_channel": reduce_channel}
    config = ModelConfig(sample_interval=4, step=3, horizon=5, joint_dim=7, emb_dim=24, num_encoder_layers=2, **factors)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        MixSynthFormer(config).eval()(torch.zeros(1, config.num_keyframes, config.joint_dim))
    assert flops(config) == counter.get_total_flops()


def test_report_holds_every_contender_and_its_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTENDERS, "peer", (CONTENDERS["eager"][0], ("a_package_that_is_nowhere",)))
    before, report, plot = allowed_cores(), tmp_path / "encoder.json", tmp_path / "encoder.png"
    assert main([*QUICK, "--contender", "peer", "--json", str(report), "--plot", str(plot)]) == 0
    assert allowed_cores() == before
    output = capsys.readouterr().out
    assert "without peer: a_package_that_is_nowhere not installed (pip install" in output
    assert "GFLOP/s" in output
    assert "3dpw, batch 2" in output
    document = json.loads(report.read_text())
    assert document["versions"]["torch"]
    rows = {(row["batch"], row["contender"]): row for row in document["rows"]}
    assert set(rows) == {(batch, name) for batch in (1, 2) for name in ("native", "eager")}
    operations = flops(all_networks()["3dpw"][0])
    for row in rows.values():
        assert 0 < row["p20_us"] <= row["p50_us"] <= row["p80_us"]
        assert row["max_error"] < 2e-5
        assert row["of_peak"] == pytest.approx(operations / row["p50_us"] / row["peak_gflops"] / 1e3)
    for batch in (1, 2):
        assert rows[batch, "eager"]["over_eager"] == 1.0
        assert rows[batch, "native"]["over_best_peer"] == rows[batch, "native"]["over_eager"] > 1.0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_contender_that_is_wrong_turns_the_gate_red(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(case: Case) -> Forward:
        right = CONTENDERS["native"][0](case)
        return lambda keyframes: right(keyframes) + np.float32(1e-3)

    monkeypatch.setitem(CONTENDERS, "careless", (careless, ()))
    assert main([*QUICK, "--contender", "careless"]) == 1
    output = capsys.readouterr().out
    assert "gate RED, so no speed is measured" in output
    assert "careless is off by 1.0e-03 from float64" in output
    assert "over eager" not in output


def test_the_gate_compares_with_the_error_of_eager() -> None:
    assert gate_failures({"native": 7e-6, "eager": 2e-6}) == []
    assert (
        "native is off by 9.0e-06 from float64, more than 8.0e-06" in gate_failures({"native": 9e-6, "eager": 2e-6})[0]
    )
    assert gate_failures({"native": 3e-5, "eager": 1e-5})
    assert gate_failures({"native": float("nan"), "eager": 1e-6})


def test_ratios_are_taken_round_by_round() -> None:
    """The machine was half as fast in the second round: the ratios do not see it."""
    seconds = {
        "native": [1e-6, 2e-6, 1e-6],
        "native AVX2": [2e-6, 4e-6, 2e-6],
        "eager": [10e-6, 20e-6, 12e-6],
        "fast peer": [3e-6, 6e-6, 3e-6],
    }
    case = Case("odd", ODD, random_state(ODD), 1)
    errors, peaks = dict.fromkeys(seconds, 1e-6), dict.fromkeys(seconds, 1e9)
    rows = {row["contender"]: row for row in contender_rows(case, seconds, errors, peaks)}
    assert rows["native"]["over_eager"] == pytest.approx(10.0)
    assert rows["native"]["over_best_peer"] == pytest.approx(3.0)
    assert rows["fast peer"]["over_eager"] == pytest.approx(10 / 3)
    assert rows["native"]["best_peer"] == "fast peer"  # and not ourselves with other registers
    assert rows["native AVX2"]["over_best_peer"] == pytest.approx(1.5)
    assert rows["native"]["of_peak"] == pytest.approx(flops(ODD) / 1e-6 / 1e9)


def test_contenders_take_turns() -> None:
    case = Case("odd", ODD, random_state(ODD), 2)
    calls: list[str] = []

    def named(name: str) -> Forward:
        def forward(keyframes: np.ndarray) -> np.ndarray:
            assert keyframes is case.keyframes
            calls.append(name)
            return keyframes

        return forward

    seconds = window_seconds(case, {name: named(name) for name in ("a", "b")}, rounds=4)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 4, "b": 4}
    turns = [name for i, name in enumerate(calls) if i == 0 or calls[i - 1] != name]
    # Warm-up a, b, then rounds a b, b a, a b, b a: neighbours of the same name run together.
    assert "".join(turns) == "abababa"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--case", "3dwp"], "--case must be of jhmdb, h36m, 3dpw, aist-smpl, .*, found 3dwp"),
        (["--contender", "tensorflow"], "--contender must be of native, native AVX2, eager, .*, found tensorflow"),
        (["--rounds", "0"], "--rounds and --batch must be at least 1"),
        (["--batch", "0"], "--rounds and --batch must be at least 1"),
        (["--core", "4096"], r"--core must be one of \[.*\], found 4096"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "encoder", *options]) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_cases_are_the_published_shapes_and_the_weights_that_ship() -> None:
    sizes = {name: (c.seq_len, c.emb_dim, c.num_encoder_layers, c.joint_dim) for name, (c, _) in all_networks().items()}
    assert sizes["jhmdb"] == (11, 128, 5, 30)
    assert sizes["h36m"] == (101, 64, 4, 51)
    assert sizes["3dpw"] == (51, 32, 4, 42)
    assert sizes["aist-smpl"] == (101, 128, 5, 144)
    assert sizes["image-n10"] == (69, 64, 4, 34)
    assert "world-n10" in sizes


def test_threads_are_compared_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "threads.json"
    options = ["--case", "3dpw", "--batch", "4", "--rounds", "1", "--threads", "2", "--json", str(report)]
    assert main(["bench", "encoder", *options]) == 0
    rows = json.loads(report.read_text())["rows"]
    assert [(row["case"], row["batch"], row["contender"]) for row in rows] == [
        ("3dpw", 4, "1 threads"),
        ("3dpw", 4, "2 threads"),
    ]
    assert rows[0]["over_one_thread"] == 1.0
    assert f"{rows[1]['over_one_thread']:.2f}x" in capsys.readouterr().out
