"""`bench push`: a row for each network and each person, and no speed where a window differs from its network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mixsynth_stream.bench import push as bench_push
from mixsynth_stream.cli import main
from mixsynth_stream.pipeline.curve import Curve
from mixsynth_stream.weights import untrained_model


def test_bench_push_has_each_network_and_each_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "push.json"
    assert main(["bench", "push", "--rounds", "3", "--json", str(report)]) == 0
    rows = {row["case"]: row for row in json.loads(report.read_text())["rows"]}
    assert {"image-n10", "world-n10", "a person, N = 10"} <= set(rows)
    output = capsys.readouterr().out
    for row in rows.values():
        assert min(row["push_us"], row["call_us"], row["read_us"]) > 0
        assert f"{row['push_over_call']:.2f}x" in output
    assert main(["bench", "push", "--rounds", "0"]) == 2


def test_bench_push_measures_nothing_where_a_window_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_push, "window_matches_network", lambda model: False)
    assert main(["bench", "push", "--rounds", "1"]) == 1
    output = capsys.readouterr().out
    assert "gate RED" in output and "over call" not in output


def test_a_window_that_adds_something_does_not_match(monkeypatch: pytest.MonkeyPatch) -> None:
    model = untrained_model("image")
    assert bench_push.window_matches_network(model)
    right = Curve.at
    monkeypatch.setattr(Curve, "at", lambda self, times: replace(poses := right(self, times), poses=poses.poses + 0.01))
    assert not bench_push.window_matches_network(model)
