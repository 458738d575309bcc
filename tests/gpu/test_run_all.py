"""The run of `make gpu` without a card: time limits, what is kept, and what a command that is missing costs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from run_all import MOST_SECONDS, OUT_OF_TIME, Stage, run, stages


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_each_stage_ends_in_its_time_and_leaves_what_it_has(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    all_stages = [
        Stage("first", 30, {"good": python("print('ready')"), "bad": python("raise SystemExit('broken')")}),
        Stage("slow", 1, {"waits": python(f"print('begun', flush=True); {child}"), "missing": ["/no/such/program"]}),
        Stage("last", 30, {"good": python("import pathlib; print(pathlib.Path('run.json').exists())")}),
    ]
    start = time.monotonic()
    assert run(all_stages, tmp_path / "out") == 3
    assert time.monotonic() - start < 20
    document = json.loads((tmp_path / "out" / "run.json").read_text())
    facts = {(row["stage"], row["name"]): (row["code"], row["output"].strip()) for row in document["commands"]}
    assert facts[("first", "good")] == (0, "ready") and facts[("first", "bad")] == (1, "broken")
    assert facts[("slow", "waits")] == (OUT_OF_TIME, "begun")
    assert facts[("slow", "missing")][0] == 127 and "/no/such/program cannot be run" in facts[("slow", "missing")][1]
    log = (tmp_path / "out" / "log.txt").read_text()
    assert log.index("first: good, exit code 0") < log.index("slow: waits, exit code 124") < log.index("last: good")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["log.txt", "run.json"]


def test_no_stage_begins_after_the_last_second(tmp_path: Path) -> None:
    all_stages = [
        Stage("slow", 30, {"waits": python("import time; time.sleep(60)")}),
        Stage("late", 30, {"a": ["true"]}),
    ]
    assert run(all_stages, tmp_path, most_seconds=1) == 2
    rows = json.loads((tmp_path / "run.json").read_text())["commands"]
    assert [(row["stage"], row["code"]) for row in rows] == [("slow", OUT_OF_TIME), ("late", OUT_OF_TIME)]


def test_correctness_comes_before_speed_and_all_takes_less_than_nine_minutes(tmp_path: Path) -> None:
    names = [stage.name for stage in stages(tmp_path)]
    assert names.index("the CUDA encoder") < names.index("its speed")
    assert names.index("the Triton kernels") < names.index("their speed")
    assert MOST_SECONDS < 540
    measured = [stage for stage in stages(tmp_path) if stage.name.endswith("speed")]
    assert all(len(stage.commands) == 1 for stage in measured), "what is measured runs alone"
