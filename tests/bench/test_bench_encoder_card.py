"""`bench encoder --device cuda` without a card: what it compares, prints and writes, with a made-up clock."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from support.card_clock import FakeCard
from support.networks import ODD, random_state

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch

from mixsynth_stream.backend import make_forward
from mixsynth_stream.bench.encoder import card as bench_card
from mixsynth_stream.bench.kernels.contenders import FORWARD, Case, Contender
from mixsynth_stream.cli import main

SMALL = dataclasses.replace(ODD, num_encoder_layers=1)


def off_by(error: float, precision: str) -> Contender:
    def make(case: Case) -> Callable[[], torch.Tensor]:
        right = FORWARD["eager"].make(case)
        return lambda: right() + error

    return Contender(make, precision, bench_card.TOLERANCE[precision])


@pytest.fixture
def without_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The native encoder in place of the CUDA one, and eager in place of the other contenders."""
    contenders = {"eager": FORWARD["eager"], "cuda bf16, graph": off_by(0.1, "bf16")}
    replacements = {
        "Card": FakeCard,
        "choose_backend": lambda name: name,
        "network_of": lambda name: (SMALL, random_state(SMALL)),
        "CONTENDERS": contenders,
        "encoder_of": lambda case, precision: types.SimpleNamespace(
            forward=make_forward("native", case.config, case.state)
        ),
        "launcher": lambda case, precision: (lambda: None, case.keyframes, case.keyframes),
        "captured": lambda case, call, count=1: types.SimpleNamespace(replay=call),
    }
    for name, replacement in replacements.items():
        monkeypatch.setattr(bench_card, name, replacement)


@pytest.mark.usefixtures("without_card")
def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, plot = tmp_path / "card.json", tmp_path / "card.png"
    options = ["--case", "3dpw", "--batch", "1", "65", "--rounds", "2", "--json", str(report), "--plot", str(plot)]
    assert main(["bench", "encoder", "--device", "cuda", *options]) == 0
    text = capsys.readouterr().out
    assert "a card that is not there: 1 T bytes/s" in text and "3dpw, batch 65, on the card" in text
    rows = json.loads(report.read_text())["rows"]
    for batch in (1, 65):
        of_batch = [row for row in rows if row["batch"] == batch]
        eager, ours = (row for row in of_batch if row["what"] == "forward")
        assert (eager["contender"], ours["contender"]) == ("eager", "cuda bf16, graph")
        assert eager["device_us"] is None and (ours["device_us"] is None) == (batch > 64)
        assert ours["over_eager"] > 0 and ours["over_reduced"] is None
        assert 0.01 < ours["max_error"] < 0.11, "off by 0.1, at outputs of size 5"
        host = {row["contender"]: row for row in of_batch if row["what"] == "host to host"}
        assert list(host) == [
            "eager",
            *(["native, one core"] if batch == 1 else []),
            *(f"cuda {precision}" for precision in bench_card.PRECISIONS),
        ]
        assert all(row["p50_us"] > 0 and row["max_error"] < 1e-4 for row in host.values())
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("without_card")
def test_no_speed_of_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench_card.CONTENDERS, "cuda strict", off_by(1e-3, "strict"))
    assert main(["bench", "encoder", "--device", "cuda", "--case", "3dpw", "--batch", "1", "--rounds", "1"]) == 1
    assert re.search(r"gate RED.*\n  cuda strict is off by .* more than 5e-05", capsys.readouterr().out)


@pytest.mark.usefixtures("without_card")
def test_the_time_that_is_given_ends_the_run_between_two_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "encoder", "--device", "cuda", "--batch", "1", "2", "--rounds", "1", "--seconds", "0"]) == 0
    assert "the 0 s of --seconds are over before jhmdb, batch 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--case", "3dwp"], "--case must be of jhmdb, h36m, 3dpw, .*world-n15, found 3dwp"),
        (["--contender", "native"], "--contender must be of eager, torch.compile, .*cuda bf16, graph, found native"),
        (["--threads", "2"], "--threads does not go with --device cuda"),
        (["--core", "0"], "--core does not go with --device cuda"),
        (["--batch", "0"], "--rounds and --batch must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "encoder", "--device", "cuda", *options]) == 2
    assert re.search(sentence, capsys.readouterr().err)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it runs")
def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "encoder", "--device", "cuda"]) == 4
    assert "backend cuda cannot run here: " in capsys.readouterr().err
