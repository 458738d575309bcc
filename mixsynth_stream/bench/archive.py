"""`bench archive`: many short files by `run`, with and without `--jobs`, a second time, and with files that go wrong.

It runs the command itself, as its user does, and looks from outside: wall clock, processor time, the memory of each
process, and the manifest. No speed is printed where the results differ in a byte.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import av

from mixsynth_stream.bench.runs import long_enough
from mixsynth_stream.errors import OutputError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.memory import resident_bytes
from mixsynth_stream.reports import processor, table, write_json
from mixsynth_stream.spaces import GRID_HZ

_SHORTEST_S, _LONGEST_S = 2.0, 10.0
_CLIPS = ("demo.mp4", "demo_hard.mp4")
# A file that hangs is ended after so many times the mean time of a file, and not before some seconds.
_PATIENCE, _LEAST_TIMEOUT_S = 10.0, 20.0
_SAMPLE_EVERY_S = 0.1
CONTENDERS: dict[str, list[str]] = {"this process": [], "--jobs 1": ["--jobs", "1"], "--jobs 2": ["--jobs", "2"]}
# A Ray on this machine, whose start and end are part of the run.
RAY = {"--engine ray": ["--engine", "ray", "--jobs", "2"]}


@dataclass
class ArchiveRun:
    """One run of the command: its code, its times, the lines of its manifest, and samples of its processes' memory."""

    code: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    text: str = ""
    entries: list[dict[str, Any]] = field(default_factory=list)
    samples: list[tuple[float, int]] = field(default_factory=list)  # seconds since the start, bytes of the largest

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each result, by its name."""
        return {file["name"]: file["sha256"] for entry in self.entries for file in entry["files"]}

    def peak_mb(self, first: float = 0.0, last: float = 1.0) -> float:
        """The most memory that one of its processes had, between two shares of its time."""
        sizes = [size for time_s, size in self.samples if first * self.seconds <= time_s <= last * self.seconds]
        return max(sizes, default=0) / 2**20


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where results differ, or anything is lost."""
    if args.clips < 4 or args.rounds < 1:
        raise ValueError(f"--clips must be at least 4 and --rounds 1, found {args.clips} and {args.rounds}")
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips([Path(clip) for clip in args.clip] or [ASSETS / name for name in _CLIPS], args.clips, folder)
        contenders = CONTENDERS | (RAY if args.ray else {})
        runs: dict[str, list[ArchiveRun]] = {name: [] for name in contenders}
        for number in range(args.rounds):
            for name, options in list(contenders.items())[:: 1 if number % 2 == 0 else -1]:
                runs[name].append(run(clips, Path(folder, f"{name}-{number}"), options))
        problem = difference([one for several in runs.values() for one in several], len(clips))
        if problem:
            print(f"gate RED, so no speed is measured: {problem}")
            return 1
        rows = [_row(name, runs) for name in contenders]
        second = {"case": "a second run", "ms_a_file": resume_ms(clips, Path(folder, "this process-0"))}
        bad = faults(clips, Path(folder), runs["--jobs 1"][0].seconds / len(clips)) if args.faults else {}
    print(f"{processor()}, {os.cpu_count()} cores: {len(clips)} clips, {args.rounds} rounds, the same bytes from all")
    print(table([["", "s", "speed over --jobs 1", "processor s", "MB a process", "growth"], *map(_cells, rows)]))
    print(f"a second run over complete results: {second['ms_a_file']:.1f} ms of processor time a file")
    if bad:
        print(f"with three bad files: {bad['done']} complete, {bad['failed']} named ({bad['causes']})")
    if args.json is not None:
        write_json(args.json, [*rows, second, *([bad] if bad else [])])
    return int(bool(bad) and (bad["done"], bad["failed"]) != (len(clips) - 3, 3))


def _row(name: str, runs: dict[str, list[ArchiveRun]]) -> dict[str, Any]:
    """The figures of a contender: medians over the rounds."""
    own, others = runs[name], runs["--jobs 1"]
    return {
        "case": name,
        "seconds": median(one.seconds for one in own),
        "over_one_job": median(other.seconds / one.seconds for one, other in zip(own, others, strict=True)),
        # Ray ends its processes without waiting for them, so that the system does not count their time.
        "cpu_s": None if name in RAY else median(one.cpu_s for one in own),
        "peak_mb": max(one.peak_mb() for one in own),
        "growth": median(one.peak_mb(2 / 3) / max(one.peak_mb(1 / 3, 2 / 3), 1e-9) for one in own),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    seconds = [
        f"{row['seconds']:.1f}",
        f"{row['over_one_job']:.2f}",
        "" if row["cpu_s"] is None else f"{row['cpu_s']:.1f}",
    ]
    return [row["case"], *seconds, f"{row['peak_mb']:.0f}", f"{row['growth']:.2f}"]


def make_clips(sources: Sequence[Path], count: int, folder: str) -> list[Path]:
    """Clips of 2 to 10 s, in turn from these videos, which are repeated where they are shorter. Nothing is encoded."""
    clips = []
    for number, source in zip(range(count), itertools.cycle(sources), strict=False):
        seconds = _SHORTEST_S + (_LONGEST_S - _SHORTEST_S) * number / (count - 1)
        whole = Path(folder, f"whole-{source.stem}")
        if not whole.exists():
            whole.mkdir()
        path = Path(folder, f"clip-{number:02d}{source.suffix}")
        _cut(long_enough(source, int(_LONGEST_S * GRID_HZ), whole), path, seconds)
        clips.append(path)
    return clips


def _cut(source: Path, path: Path, seconds: float) -> None:
    """The first seconds of a video, packet by packet."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is None or packet.time_base is None or packet.dts * packet.time_base > seconds:
                break
            packet.stream = stream
            part.mux(packet)


def run(sources: Sequence[Path], out: Path, options: Sequence[str], *, crash: Path | None = None) -> ArchiveRun:
    """The command over these files. Whatever has `crash` open is ended by SIGSEGV."""
    command = [sys.executable, "-m", "mixsynth_stream", "run", *map(str, sources), "--out", str(out), *options]
    result = ArchiveRun()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process, _watched(process.pid, result.samples, crash):
        result.text = process.communicate()[1]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result.seconds, result.code = time.perf_counter() - start, process.returncode
    result.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with suppress(OSError):
        lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        result.entries = [json.loads(line) for line in lines]
    return result


@contextmanager
def _watched(pid: int, samples: list[tuple[float, int]], crash: Path | None) -> Iterator[None]:
    """Within the block, a thread samples the memory of a process and of those that it starts, every 0.1 s."""
    over, start = threading.Event(), time.perf_counter()

    def watch() -> None:
        while not over.wait(_SAMPLE_EVERY_S):
            workers = _descendants(pid)
            samples.append((time.perf_counter() - start, max(map(resident_bytes, workers or [pid]))))
            for worker in workers if crash is not None else ():
                if _has_open(worker, crash):
                    with suppress(OSError):
                        os.kill(worker, signal.SIGSEGV)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have: Ray's workers are of the second kind."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    pids = list(children.get(pid, ()))
    for number in pids:  # which grows meanwhile
        pids += children.get(number, ())
    return pids


def _has_open(pid: int, path: Path | None) -> bool:
    with suppress(OSError):
        return any(os.readlink(entry) == str(path) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return False


def difference(runs: Sequence[ArchiveRun], count: int) -> str:
    """What is wrong with the runs of the same files; "" where all are complete, with the same bytes."""
    for one in runs:
        states = [entry["state"] for entry in one.entries]
        if one.code or states != ["done"] * count:
            return f"a run ended with code {one.code} and {states.count('done')} of {count} files complete: {one.text}"
        if one.hashes != runs[0].hashes:
            names = [name for name, digest in one.hashes.items() if runs[0].hashes.get(name) != digest]
            return f"{len(names)} results differ from those of another run, such as {names[0]}"
    return ""


def resume_ms(clips: Sequence[Path], out: Path) -> float:
    """Processor time of a file that is complete: of a run over all of them, less one over the first."""
    times_s = []
    for _ in range(3):
        several, one = (run(files, out, ["--quiet", "--resume"]) for files in (clips, clips[:1]))
        if several.code or one.code:
            raise OutputError(f"a second run over complete results failed: {several.text}{one.text}")
        times_s.append((several.cpu_s - one.cpu_s) / (len(clips) - 1))
    return 1e3 * median(times_s)


def faults(clips: Sequence[Path], folder: Path, seconds_a_file: float) -> dict[str, Any]:
    """The clips by two processes, three of them replaced: one whose process crashes, one that hangs, and garbage."""
    crash, hang, garbage = (folder / f"{name}.mp4" for name in ("crash", "hang", "garbage"))
    garbage.write_bytes(os.urandom(100_000))
    writers = []
    for pipe in (crash, hang):
        os.mkfifo(pipe)
        writers.append(os.open(pipe, os.O_RDWR))  # so that whoever reads it waits for data
    timeout_s = max(_PATIENCE * seconds_a_file, _LEAST_TIMEOUT_S)
    options = ["--jobs", "2", "--timeout-per-file", f"{timeout_s:.0f}"]
    outcome = run([crash, *clips[3:], hang, garbage], folder / "faults", options, crash=crash)
    for writer in writers:
        os.close(writer)
    failed = [entry for entry in outcome.entries if entry["state"] == "failed"]
    return {
        "case": "three bad files",
        "seconds": outcome.seconds,
        "done": len(outcome.entries) - len(failed),
        "failed": len(failed),
        "causes": ", ".join(sorted(entry["cause"] for entry in failed)),
    }
