"""A soak run: a live source, a fault every few seconds, and in the end accounts of frames, memory and threads.

    python scripts/soak/run.py --minutes 3                 # the camera's own pace, MediaPipe
    python scripts/soak/run.py --minutes 3 --pace 10       # ten times as fast, with a stand-in for MediaPipe
    python scripts/soak/run.py --minutes 60 --json FILE    # with a report

The exit code is 1 where a check fails. `--seed N` shuffles the faults; without it they come in turn. Memory is compared
with that in the middle, or after five minutes, where each fault has come before; what was freed is given back to the
system at both times.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from accounts import (
    MOST_MORE_COLD,
    MOST_MORE_COLD_MB,
    MOST_MORE_MB,
    MOST_MORE_WITH_SIZES_MB,
    Frames,
    Watch,
    check,
    checks_of_frames,
    checks_of_process,
    compared_over_s,
)
from faults import Faults, FaultyEstimator, FullDisk, SlowViewer, StandIn, order, watch_well
from scene import PROTOCOLS, CameraProcess, make_clips

from mixsynth_stream.errors import OutputError
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import Outputs, open_outputs
from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.reports import write_json
from mixsynth_stream.viewer.web.access import Address
from mixsynth_stream.viewer.web.view import WebView

_SLOW_S = 2.0
# A loop that has not turned for so long stands still for ever.
_DEADLOCK_S = 30.0
_WARM_UP_S = 300.0
_WARM_UP_PART = 0.5  # of a run that is shorter than two warm-ups
# A fault is over after so long at most. What is held is compared while nothing goes wrong.
_LONGEST_FAULT_S = 13.0
_LONGEST_FAULT_PART = 0.07  # of a short run, whose faults are the quick ones
_SHORT_S = 60.0
_FRAMES_OF_SHORT = 60  # of the clip
_MOST_SAMPLES = 120  # in the report
_OPTIONS = JobOptions(progress=False)


@dataclass
class Files:
    """Results on a disk that may be full. A run of files that breaks is looked at, and the next one begins."""

    folder: Path
    disk: FullDisk = field(default_factory=FullDisk)
    broken: int = 0
    unreadable: int = 0
    is_full: bool = False
    _outputs: Outputs | None = None

    def open(self, stream: Stream) -> None:
        """Begin the next results."""
        self._outputs = Outputs(open_outputs(stream, self.folder, _OPTIONS), self.folder, Interrupt())
        self._outputs.__enter__()

    def write(self, motion: Motion, stream: Stream) -> None:
        """Write a Motion. On a full disk the results end, and have to be readable up to there."""
        assert self._outputs is not None
        if self.is_full:
            self.is_full = False
            self.disk.fill(sum(path.stat().st_size for path in self.folder.iterdir()))
        try:
            self._outputs.write(motion)
        except OutputError:
            self.disk.empty()
            self.broken += 1
            self.close()
            self.open(stream)

    def close(self) -> None:
        """Finish the results, and look whether they can be read."""
        assert self._outputs is not None
        try:
            self._outputs.__exit__(None, None, None)
        except OutputError:
            self.broken += 1
        for path in self.folder.glob("*.jsonl"):
            self.unreadable += not _is_readable(path)
            path.unlink()


def _is_readable(path: Path) -> bool:
    """Whether every line but the last is whole: a full disk cuts the last one off."""
    lines = path.read_text().splitlines()
    try:
        return len(lines) > 1 and all(json.loads(line) for line in lines[:-1])
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a soak run is. `names` are those of its faults, None: all. `seed`: another order each time, None: in turn."""

    seconds: float
    pace: float = 1.0
    every_s: float = 20.0
    seed: int | None = None
    names: list[str] | None = None
    protocol: str = PROTOCOLS[0]


class Soak:
    """One soak run."""

    def __init__(self, settings: Settings) -> None:
        self.frames = Frames()
        self.faults_done: list[tuple[float, str]] = []
        self.errors: list[str] = []
        self.source_events: list[SourceEvent] = []
        self._settings = settings
        self._seconds, self._pace = settings.seconds, settings.pace
        self._warm_s = min(_WARM_UP_S, _WARM_UP_PART * self._seconds)
        self._sleep_s = 0.0
        self._estimator = FaultyEstimator()

    def run(self) -> dict[str, Any]:
        """Run it, and return the report."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            frames = _FRAMES_OF_SHORT if self._seconds < _SHORT_S else None
            camera = CameraProcess(self._settings.protocol, make_clips(folder, frames), self._pace)
            stack.callback(camera.close)
            stream, reader = self._open_stream(camera.address)
            view = stack.enter_context(WebView(stream, Address(port=0)))
            self._files = Files(folder / "results")
            self._files.folder.mkdir()
            self._files.open(stream)
            is_over = threading.Event()
            pages = threading.Thread(target=watch_well, args=(view.server.port, is_over), daemon=True)
            pages.start()
            self._watch = Watch(
                self.frames,
                min(5.0, self._seconds / 40),
                (self._warm_s, self._seconds - compared_over_s(self._seconds)),
            )
            stream.on_wait = self._watch.turn
            stream.on_event = self.source_events.append
            faults = Faults(camera, self._estimator, SlowViewer(view.server.port), self._be_slow, self._fill_disk)
            director = threading.Thread(target=self._direct, args=(faults, reader), daemon=True)
            director.start()
            self._loop(stream, view)
            self._watch.close()
            is_over.set()
            close_s = self._close(stream, view)
            director.join(20.0)
            pages.join(5.0)
            self._files.close()
        return self._report(reader, stream, close_s)

    def _open_stream(self, address: str) -> tuple[Stream, LiveReader]:
        reader = LiveReader(address)
        if self._pace > 1:
            return Stream(reader, estimator=StandIn(self._estimator)), reader
        call, faulty = FollowingEstimator.__call__, self._estimator

        @wraps(call)
        def call_or_fail(*arguments: Any, **more: Any) -> Any:
            faulty.go_wrong()
            return call(*arguments, **more)

        FollowingEstimator.__call__ = call_or_fail  # type: ignore[method-assign]
        return Stream(reader), reader

    def _loop(self, stream: Stream, view: WebView) -> None:
        """What a program does with a stream, until the time is over."""
        try:
            for motion in stream:
                self._watch.turn()
                self._take(motion, stream, view)
                if self._sleep_s:
                    seconds, self._sleep_s = self._sleep_s, 0.0
                    time.sleep(seconds)
                if self._watch.elapsed_s > self._seconds:
                    return
            self.errors.append("the stream ended by itself")
        except Exception as error:  # whatever it is, the report tells it
            self.errors.append(f"{type(error).__name__}: {error}")

    def _take(self, motion: Motion, stream: Stream, view: WebView) -> None:
        self.frames.take(motion)
        view.write(motion)
        broken = self._files.broken
        self._files.write(motion, stream)
        if self._files.broken > broken:  # the results up to there were read back
            self._watch.go_on()

    def _close(self, stream: Stream, view: WebView) -> float:
        """Close the stream; how many seconds that took."""
        start_s = time.perf_counter()
        motions = stream.close()
        close_s = time.perf_counter() - start_s
        for motion in motions:
            self._take(motion, stream, view)
        return close_s

    def _direct(self, faults: Faults, reader: LiveReader) -> None:
        """One fault after the other, and a look whether the loop still turns."""
        next_s = 0.0
        for name in order(self._settings.names or faults.names, self._settings.seed):
            next_s += self._settings.every_s
            while self._rests_at(next_s):
                next_s += self._settings.every_s
            while self._watch.elapsed_s < next_s:
                time.sleep(0.1)
                if self._watch.silence_s > _DEADLOCK_S:
                    self.errors.append(f"nothing has come for {_DEADLOCK_S:g} s")
                    faulthandler.dump_traceback()
                    reader.close()
                    return
            if self._watch.elapsed_s > self._seconds:
                return
            self.faults_done.append((round(self._watch.elapsed_s, 1), name))
            print(f"{self._watch.elapsed_s:7.1f} s  {name}", file=sys.stderr, flush=True)
            faults.do(name)
            gc.collect()

    def _rests_at(self, at_s: float) -> bool:
        """Whether no fault begins at this time, because what is held is compared then or soon."""
        span_s = compared_over_s(self._seconds)
        before_s = min(_LONGEST_FAULT_S, _LONGEST_FAULT_PART * self._seconds)
        begins = (self._warm_s, self._seconds - span_s)
        return any(begin_s - before_s < at_s < begin_s + span_s for begin_s in begins)

    def _be_slow(self) -> None:
        self._sleep_s = _SLOW_S

    def _fill_disk(self) -> None:
        self._files.is_full = True

    def _report(self, reader: LiveReader, stream: Stream, close_s: float) -> dict[str, Any]:
        counters = stream.stats.counters
        samples = self._watch.samples
        names = [name for _, name in self.faults_done]
        full = names.count("full disk")
        rows = [
            check("errors", len(self.errors), 0, passed=not self.errors),
            *checks_of_frames(self.frames, reader.captured, counters),
            *checks_of_process(
                samples,
                self._warm_s,
                self._seconds,
                most_mb=self._most_mb(names),
                most_more=0 if self._is_warm else MOST_MORE_COLD,
            ),
            check(
                "results on a full disk that end otherwise than with an error",
                full - self._files.broken,
                0,
                passed=full == self._files.broken,
            ),
            check("results that cannot be read", self._files.unreadable, 0, passed=not self._files.unreadable),
            check(
                "longest time without a turn of the loop, in s",
                round(self._watch.longest_silence_s, 2),
                _SLOW_S + 1.0,
                passed=self._watch.longest_silence_s < _SLOW_S + 1.0,
            ),
            check("time that the stream takes to close, in s", round(close_s, 2), 2.0, passed=close_s < 2.0),
        ]
        percentiles = stream.stats.ledger.percentiles()
        return {
            "run": {
                "seconds": round(self._watch.elapsed_s, 1),
                "protocol": self._settings.protocol,
                "pace": self._pace,
                "estimator": "MediaPipe" if self._pace <= 1 else "stand-in of 5 ms",
                "fault_every_s": self._settings.every_s,
                "seed": self._settings.seed,
                "captured": reader.captured,
                "shown": self.frames.shown,
                "final": self.frames.final,
                "keyframes": stream.stats.keyframes,
                "counters": dict(sorted(counters.items())),
                "latency_ms": {name: [round(1e3 * value, 2) for value in row] for name, row in percentiles.items()},
                "faults": {name: names.count(name) for name in dict.fromkeys(names)},
                "events": _counts([event.kind for event in self.source_events]),
                "errors": self.errors,
                "mistakes": self.frames.mistakes[:10],
            },
            "checks": rows,
            "samples": [list(asdict(sample).values()) for sample in samples[:: -(-len(samples) // _MOST_SAMPLES)]],
            "faults_done": self.faults_done,
        }

    @property
    def _is_warm(self) -> bool:
        """Whether the run is long enough to be compared with what was held after five minutes."""
        return self._warm_s >= _WARM_UP_S

    def _most_mb(self, names: list[str]) -> float | None:
        """How much more memory there may be at the end; None where not every fault has come before."""
        warm = {name for time_s, name in self.faults_done if time_s < self._warm_s}
        if warm < set(names):
            return None
        if not self._is_warm:
            return MOST_MORE_COLD_MB
        return MOST_MORE_WITH_SIZES_MB if "size change" in names else MOST_MORE_MB


def _counts(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in dict.fromkeys(names)}


def main() -> int:
    """Run, print the checks, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times as fast as the clip (default: 1)")
    parser.add_argument("--fault-every", type=float, default=20.0, metavar="S", help="seconds (default: 20)")
    parser.add_argument("--faults", metavar="NAMES", help="these only, with commas between them (default: all)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="of the camera (default: tcp)")
    parser.add_argument("--seed", type=int, help="shuffle the faults")
    parser.add_argument("--note", default="", help="a word about the machine, for the report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report")
    args = parser.parse_args()
    faulthandler.enable()
    names = args.faults.split(",") if args.faults else None
    settings = Settings(
        seconds=60 * args.minutes,
        pace=args.pace,
        every_s=args.fault_every,
        seed=args.seed,
        names=names,
        protocol=args.protocol,
    )
    report = Soak(settings).run()
    rows = report.pop("checks")
    for row in rows:
        print(f"{'ok  ' if row['passed'] else 'FAIL'} {row['check']}: {row['value']} (at most {row['limit']})")
    print(json.dumps(report["run"], indent=1))
    if args.json:
        write_json(args.json, rows, note=args.note, **report)
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
