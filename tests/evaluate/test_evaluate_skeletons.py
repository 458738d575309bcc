"""Evaluation by skeleton: joints that an estimator lacks cost the others at most 5 %."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixsynth_stream.cli import main
from mixsynth_stream.evaluate.skeletons import skeleton_rows
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.weights import load_model

CMU = CHECKOUT / "benchmarks/mocap/cmu_val.npz"


@pytest.mark.parametrize("space", ["image", "world"])
def test_the_shipped_networks_bear_what_skeletons_lack(space: str) -> None:
    rows = skeleton_rows(CMU, load_model(f"{space}-n10"), stride=60)
    joints = {"COCO-17": 13, "HALPE-26": 15, "BODY-25": 15, "OpenPose-18": 13, "H36M-17": 12}
    assert {row.skeleton: row.joints for row in rows} == joints
    assert {row.question for row in rows} == {"filled", "now", "400 ms ahead"}
    for row in rows:
        assert row.whole != row.lacking and 0.5 < row.whole < 1.1, row
        assert row.lacking <= 1.05 * row.whole, row


def test_the_command_prints_a_table_and_writes_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--skeletons", "--model", "image-n15", "--data", str(CMU), "--json", str(tmp_path / "rows.json")]
    assert main(["evaluate", *options]) == 0
    assert "cmu_val.npz, image-n15: error over the best simple method's" in capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {row["skeleton"] for row in rows} == {"COCO-17", "HALPE-26", "BODY-25", "OpenPose-18", "H36M-17"}
    assert main(["evaluate", "--skeletons", "--coverage"]) == 2
    assert "--coverage does not go with --skeletons, which takes --model, --data and --json" in capsys.readouterr().err
