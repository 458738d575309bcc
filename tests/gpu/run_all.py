"""Run all that asks for a card, in less than nine minutes: `make gpu`.

Correctness comes before speed, and what one stage gives is on disk before the next begins. A stage that is over its
time ends, and the others go on. Commands of a stage run beside each other, each a process of its own, because a kernel
that reads out of bounds fails all that follows in its process; what is measured runs alone.

`run.json` in the folder given tells each command, its exit code (124: out of time), its seconds and the end of its
output; `log.txt` has the whole output. It needs neither pytest nor torch itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Of a machine that is lent for fifteen minutes, so that a second run after a fix is possible.
MOST_SECONDS = 530.0
OUT_OF_TIME = 124
_TAIL = 4000
_TRITON_TESTS = ("test_kernels_on_a_card", "test_training_on_a_card", "test_bounds_on_a_card")


@dataclass(frozen=True)
class Stage:
    """Commands that run beside each other, by name, and the seconds that they have."""

    name: str
    limit_s: float
    commands: dict[str, list[str]]


def stages(out: Path) -> list[Stage]:
    """All of them, in their order."""
    python = sys.executable
    bench = [python, "-m", "mixsynth_stream", "bench"]
    encoder = [*bench, "encoder", "--device", "cuda", "--rounds", "15", "--seconds", "110", "--compile-s", "40"]
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    watched = [python, str(HERE / "sanitized.py")]
    sanitizer = shutil.which("compute-sanitizer") or "compute-sanitizer"
    return [
        Stage("install", 100, {"install": pip}),
        Stage(
            "the CUDA encoder",
            100,
            {
                "test_cuda_on_a_card": _pytest("test_cuda_on_a_card"),
                **{
                    tool: [sanitizer, "--tool", tool, "--error-exitcode", "9", *watched]
                    for tool in ("memcheck", "racecheck", "initcheck", "synccheck")
                },
                "warm_up": [python, str(HERE / "warm_up.py")],
            },
        ),
        Stage("its speed", 130, {"encoder": [*encoder, "--json", str(out / "encoder.json")]}),
        Stage(
            "the Triton kernels",
            110,
            {name: _pytest(name) for name in _TRITON_TESTS},
        ),
        Stage("their speed", 110, {"kernels": [*bench, "kernels", "--quick", "--json", str(out / "kernels.json")]}),
    ]


def _pytest(name: str) -> list[str]:
    # The conftest is left out, because it needs hypothesis.
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "--durations=5"]
    return [sys.executable, "-m", "pytest", *options, str(HERE / f"{name}.py")]


def run(all_stages: Sequence[Stage], out: Path, most_seconds: float = MOST_SECONDS) -> int:
    """Run them, and write after each; how many commands failed."""
    out.mkdir(parents=True, exist_ok=True)
    start, rows = time.monotonic(), list[dict[str, Any]]()
    log = out / "log.txt"
    log.write_text("", encoding="utf-8")
    for stage in all_stages:
        left = most_seconds - (time.monotonic() - start)
        rows += _run_stage(stage, min(stage.limit_s, left), log) if left > 0 else _rows_left_out(stage)
        text = json.dumps({"card": _card(), "commit": _commit(), "commands": rows}, indent=1)
        (out / "run.json").write_text(text + "\n", encoding="utf-8")
    return sum(row["code"] != 0 for row in rows)


def _run_stage(stage: Stage, limit_s: float, log: Path) -> list[dict[str, Any]]:
    start = time.monotonic()
    folder = log.parent
    # Output goes to files: nobody reads a pipe while the others are waited for.
    texts = {name: folder / f"{name}.part" for name in stage.commands}
    processes: dict[str, subprocess.Popen[bytes] | None] = {}
    for name, command in stage.commands.items():
        with texts[name].open("wb") as output:
            try:
                processes[name] = subprocess.Popen(
                    command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                output.write(f"{command[0]} cannot be run: {error}\n".encode())
                processes[name] = None
    codes, seconds = {}, {}
    for name, process in processes.items():
        codes[name] = 127 if process is None else _wait(process, start + limit_s - time.monotonic())
        seconds[name] = time.monotonic() - start
    rows = []
    for name, path in texts.items():
        text = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
        heading = f"== {stage.name}: {name}, exit code {codes[name]} after {seconds[name]:.0f} s"
        print(heading, text[-_TAIL:], sep="\n", flush=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{heading}\n{text}\n")
        row = {"stage": stage.name, "name": name, "code": codes[name], "seconds": round(seconds[name], 1)}
        rows.append({**row, "output": text[-_TAIL:]})
    return rows


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Its exit code. Where it is over its time, it ends with all that it has started."""
    try:
        return process.wait(max(0.1, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return OUT_OF_TIME


def _rows_left_out(stage: Stage) -> list[dict[str, Any]]:
    print(f"== {stage.name}: left out, the time is spent", flush=True)
    return [{"stage": stage.name, "name": name, "code": OUT_OF_TIME, "seconds": 0} for name in stage.commands]


def _card() -> str:
    return _first_line("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def _commit() -> str:
    return _first_line("git", "rev-parse", "HEAD")


def _first_line(*command: str) -> str:
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return text.partition("\n")[0] or "unknown"


def main() -> int:
    if len(sys.argv) != 2:
        print("run_all.py takes one folder, for its results", file=sys.stderr)
        return 2
    out = Path(sys.argv[1])
    return 1 if run(stages(out), out) else 0


if __name__ == "__main__":
    sys.exit(main())
