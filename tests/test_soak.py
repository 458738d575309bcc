"""The soak run: a short one passes, and its accounts notice what they are there for."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOAK = ROOT / "scripts" / "soak"
# Those that take no longer than the run itself.
QUICK = "killed,damaged packets,size change,stamp jump,estimator error,slow consumer,full disk"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the soak run reads /proc")


def test_a_short_soak_run_passes(tmp_path: Path) -> None:
    pytest.importorskip("websockets", reason="the view in a browser needs websockets: make dev")
    report = tmp_path / "soak.json"
    options = ["--minutes", "0.2", "--pace", "3", "--fault-every", "0.8", "--faults", QUICK, "--json", str(report)]
    run = subprocess.run([sys.executable, str(SOAK / "run.py"), *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    document = json.loads(report.read_text())
    assert set(document["run"]["faults"]) == set(QUICK.split(","))
    assert document["run"]["captured"] > 100
    assert document["run"]["counters"]["corrupt_pictures"] > 0
    assert {"lost", "back", "size"} <= set(document["run"]["events"])
    assert all(row["passed"] for row in document["rows"])


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SOAK))
    return importlib.import_module("accounts")


def motion(index: int, *, final: bool, people: int = 1) -> Any:
    return SimpleNamespace(index=index, final=final, ids=[1] * people)


def failures(rows: list[dict[str, Any]]) -> list[str]:
    return [row["check"] for row in rows if not row["passed"]]


def test_frames_that_are_lost_or_not_final_are_noticed(accounts: Any) -> None:
    frames = accounts.Frames()
    for one in [motion(0, final=False), motion(1, final=False), motion(0, final=True), motion(1, final=True)]:
        frames.take(one)
    assert failures(accounts.checks_of_frames(frames, 2, {})) == []
    assert failures(accounts.checks_of_frames(frames, 4, {"dropped_consumer_behind": 2})) == []
    assert failures(accounts.checks_of_frames(frames, 3, {"reopened": 1})) == [
        "captured frames that are neither shown nor dropped"
    ]
    frames.take(motion(2, final=False))
    assert failures(accounts.checks_of_frames(frames, 3, {})) == [
        "shown frames without a final one",
        "of these with a person",
    ]
    frames.take(motion(2, final=True))
    frames.take(motion(2, final=True))
    assert failures(accounts.checks_of_frames(frames, 3, {})) == ["frames out of order, or final twice"]


def test_memory_threads_and_handles_that_grow_are_noticed(accounts: Any) -> None:
    def check(more: tuple[float, int, int], most_mb: float | None) -> list[str]:
        samples = [
            accounts.Sample(time_s, 200.0 + more[0] * late, 20 + more[1] * late, 19 + more[2] * late, 0)
            for time_s in range(100)
            for late in [int(time_s > 80)]
        ]
        return failures(accounts.checks_of_process(samples, 10.0, 100.0, most_mb=most_mb))

    assert check((9.0, 0, 0), 10.0) == []
    assert check((11.0, 0, 0), 10.0) == ["memory since the warm-up (200 MB), in MB"]
    assert check((11.0, 1, 1), None) == ["threads since the warm-up (20)", "handles since the warm-up (19)"]
