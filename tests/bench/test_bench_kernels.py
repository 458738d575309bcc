"""`bench kernels` without a card: the gate, the ratios and the table, in the interpreter, with a made-up clock."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.card_clock import FakeCard
from support.networks import ODD, random_state

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch

from mixsynth_stream.bench.kernels import card as bench_kernels_card
from mixsynth_stream.bench.kernels import run as bench_kernels
from mixsynth_stream.bench.kernels.contenders import FORWARD, TRAINING, Case, Contender
from mixsynth_stream.bench.kernels.ops import OP_CONTENDERS, OPS, OpCase
from mixsynth_stream.bench.kernels.run import OP_NAMES, Bench, gradient_error, least_bytes, motion_error
from mixsynth_stream.bench.measure import flops
from mixsynth_stream.cli import main
from mixsynth_stream.files import ASSETS
from mixsynth_stream.presets import shipped_shapes, shipped_weights
from mixsynth_stream.weights import load_weights

SMALL = dataclasses.replace(ODD, num_encoder_layers=1)
RUNNABLE = ("eager", "kernels strict", "kernels fp16")  # what neither compiles nor needs a card


def small_case(batch: int = 2) -> Case:
    return Case("odd", SMALL, random_state(SMALL), batch, torch.device("cpu"))


def off_by(error: float) -> Contender:
    def make(case: Case) -> Callable[[], torch.Tensor]:
        right = FORWARD["eager"].make(case)
        return lambda: right() + error

    return Contender(make, "fp32")


def test_kernels_pass_the_gate_and_every_row_is_filled() -> None:
    case = small_case()
    rows, wrong = Bench(FakeCard(), rounds=3).rows_of(case, {name: FORWARD[name] for name in RUNNABLE})
    assert not wrong
    assert [row["contender"] for row in rows] == list(RUNNABLE)
    for row in rows:
        assert row["launches"] == 7 and row["memory_mb"] == 3.0
        assert 0 < row["p20_us"] <= row["p50_us"] <= row["p80_us"]
        assert row["over_compiled"] is None and row["over_graph"] is None  # they did not take part
        assert row["gflops"] == pytest.approx(2 * flops(SMALL) / row["p50_us"] / 1e3)
        assert row["gb_s"] == pytest.approx(least_bytes(SMALL, 2) / row["p50_us"] / 1e3)
    strict = rows[RUNNABLE.index("kernels strict")]
    assert 0 < strict["max_error"] < 2e-5
    assert strict["of_flops"] == pytest.approx(strict["gflops"] * 1e9 / 2e12)


def test_a_contender_that_is_wrong_turns_the_gate_red() -> None:
    card = FakeCard()
    contenders = {"eager": FORWARD["eager"], "careless": off_by(1e-3), "lost": off_by(float("nan"))}
    rows, wrong = Bench(card, rounds=3).rows_of(small_case(), contenders)
    assert [row["contender"] for row in rows] == ["eager"], "no speed of those that are wrong"
    assert len(set(card.timed)) == 1
    assert re.fullmatch(r"careless is off by \d\.\de-0[34] from float64, more than 2e-05", wrong[0])
    assert "lost is off by nan" in wrong[1]


def test_contenders_take_turns_and_are_compared_round_by_round() -> None:
    card = FakeCard()
    contenders = dict.fromkeys(("eager", "torch.compile"), FORWARD["eager"])
    rows, _ = Bench(card, rounds=4).rows_of(small_case(), contenders)
    # Two to warm up and two to count; then rounds of 5 6 | 7 8 | 9 10 | 11 12 microseconds, the second first in
    # every other round.
    eager, compiled = np.array([5, 8, 9, 12]), np.array([6, 7, 10, 11])
    assert rows[1]["over_eager"] == pytest.approx(np.median(eager / compiled))
    assert rows[0]["over_compiled"] == pytest.approx(np.median(compiled / eager))
    assert rows[0]["p50_us"] == pytest.approx(8.5)


def test_compilers_stop_when_their_time_is_spent(capsys: pytest.CaptureFixture[str]) -> None:
    contenders = dict.fromkeys(("eager", "torch.compile", "torch.compile reduce-overhead"), FORWARD["eager"])
    rows, _ = Bench(FakeCard(), rounds=1, compile_s=1e-9).rows_of(small_case(), contenders)
    assert [row["contender"] for row in rows] == ["eager", "torch.compile"]
    assert "without torch.compile reduce-overhead at odd, batch 2: the time for compilers" in capsys.readouterr().out


def test_a_compiler_that_fails_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(case: Case) -> Callable[[], Any]:
        raise RuntimeError("no compiler\nhere")

    contenders = {"eager": FORWARD["eager"], "torch.compile": Contender(fail, "fp32")}
    rows, wrong = Bench(FakeCard(), rounds=1).rows_of(small_case(), contenders)
    assert [row["contender"] for row in rows] == ["eager"] and not wrong
    assert "without torch.compile at odd, batch 2: RuntimeError: no compiler here" in capsys.readouterr().out
    rows, wrong = Bench(FakeCard(), rounds=1).rows_of(
        small_case(), contenders | {"kernels bf16": Contender(fail, "bf16")}
    )
    assert wrong == ["kernels bf16 fails: RuntimeError: no compiler here"]
    assert [row["contender"] for row in rows] == ["eager"], "the others are measured all the same"


def test_a_training_step_is_held_against_gradients_in_float64() -> None:
    case = small_case(batch=3)
    rows, wrong = Bench(FakeCard(), rounds=1).rows_of(case, {"eager": TRAINING["eager"]}, what="training step")
    assert not wrong and rows[0]["what"] == "training step" and rows[0]["max_error"] < 1e-4
    right = case.true_gradients
    name = max(right, key=lambda name: float(right[name].norm()))
    assert gradient_error(right | {name: 1.1 * right[name]}, right) == pytest.approx(0.1)
    assert gradient_error({name: right[name]}, right) == float("inf")


@pytest.mark.parametrize("name", OP_NAMES)
def test_an_op_is_held_against_its_reference_in_float64(name: str) -> None:
    contenders = {contender: OP_CONTENDERS[contender] for contender in RUNNABLE}
    case = OpCase(name, SMALL, 3, torch.device("cpu"))
    rows, failures = Bench(FakeCard(), rounds=1).rows_of(case, contenders, what="op")
    assert not failures and [row["contender"] for row in rows] == list(RUNNABLE)
    assert {row["case"] for row in rows} == {name} and {row["what"] for row in rows} == {"op"}
    operations, moved = case.work()
    assert rows[0]["gflops"] == pytest.approx(operations / rows[0]["p50_us"] / 1e3)
    assert rows[0]["gb_s"] == pytest.approx(moved / rows[0]["p50_us"] / 1e3)
    largest = max(case.truth, key=lambda result: float(case.truth[result].norm()))
    assert gradient_error(case.truth | {largest: 1.1 * case.truth[largest]}, case.truth) == pytest.approx(0.1)


def test_an_op_is_measured_where_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(OPS) == sorted(OP_NAMES)
    monkeypatch.setattr(bench_kernels_card, "Card", FakeCard)
    monkeypatch.setattr("mixsynth_stream.kernels.card.INTERPRETED", False)
    monkeypatch.setattr(bench_kernels, "network_of", lambda name: (SMALL, random_state(SMALL)))
    monkeypatch.setattr("mixsynth_stream.bench.kernels.ops.OP_CONTENDERS", {"eager": OP_CONTENDERS["eager"]})
    report = tmp_path / "ops.json"
    options = ["--case", "synth_mix", "training/synth_mix", "--batch", "2", "--rounds", "1", "--json", str(report)]
    assert main(["bench", "kernels", *options]) == 0
    assert "training/synth_mix, batch 2, op" in capsys.readouterr().out
    rows = json.loads(report.read_text())["rows"]
    assert [(row["case"], row["what"]) for row in rows] == [("synth_mix", "op"), ("training/synth_mix", "op")]


def test_errors_are_held_against_the_size_of_the_output() -> None:
    truth = torch.full((1, 2, 3), 10.0, dtype=torch.float64)
    assert motion_error(truth + 1e-3, truth) == pytest.approx(5e-4)
    assert motion_error(truth / 10 + 1e-3, truth / 10) == pytest.approx(1e-3)
    assert motion_error(truth[:, :1], truth) == float("inf")


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_kernels_card, "Card", FakeCard)
    monkeypatch.setattr("mixsynth_stream.kernels.card.INTERPRETED", False)
    monkeypatch.setattr(bench_kernels, "network_of", lambda name: (SMALL, random_state(SMALL)))
    contenders = {"eager": FORWARD["eager"], "kernels strict": FORWARD["eager"]}
    monkeypatch.setattr("mixsynth_stream.bench.kernels.contenders.FORWARD", contenders)
    monkeypatch.setattr("mixsynth_stream.bench.kernels.contenders.TRAINING", {"eager": TRAINING["eager"]})
    report, plot = tmp_path / "kernels.json", tmp_path / "kernels.png"
    options = ["--case", "3dpw", "--batch", "1", "2", "--rounds", "2", "--json", str(report), "--plot", str(plot)]
    assert main(["bench", "kernels", *options]) == 0
    text = capsys.readouterr().out
    assert "a card that is not there: 1 T bytes/s, 1 T fp32/s" in text
    assert "3dpw, batch 2, forward" in text and "3dpw, batch 512, training step" in text
    rows = json.loads(report.read_text())["rows"]
    assert [(row["batch"], row["what"], row["contender"]) for row in rows] == [
        (1, "forward", "eager"),
        (1, "forward", "kernels strict"),
        (2, "forward", "eager"),
        (2, "forward", "kernels strict"),
        (512, "training step", "eager"),
    ]
    assert {row["card"] for row in rows} == {"a card that is not there"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    contenders = {"eager": FORWARD["eager"], "kernels bf16": off_by(1.0)}
    monkeypatch.setattr("mixsynth_stream.bench.kernels.contenders.FORWARD", contenders)
    assert main(["bench", "kernels", *options[:7]]) == 1
    assert (
        "3dpw, batch 2: gate RED, and no speed measured of these\n  kernels bf16 is off by" in capsys.readouterr().out
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it runs")
def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels"]) == 4
    assert "bench kernels measures on a CUDA device, and there is none here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--case", "3dwp"], "--case must be of jhmdb, h36m, 3dpw, .*world-n15, found 3dwp"),
        (["--rounds", "0"], "--rounds and --batch must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "kernels", *options]) == 2
    assert re.search(sentence, capsys.readouterr().err)


@pytest.mark.parametrize("name", shipped_shapes())
def test_weights_that_ship_are_read_without_their_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, config, _ = load_weights(ASSETS / f"{name}.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    weights = shipped_weights(name)
    assert config == shipped_shapes()[name] and weights.keys() == expected.keys()
    for tensor, value in expected.items():
        np.testing.assert_array_equal(weights[tensor], value)
