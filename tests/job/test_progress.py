"""The progress line: its parts, and when there is none."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mixsynth_stream.job.progress import Progress
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.ledger import Latency, Ledger
from mixsynth_stream.pipeline.stats import StreamStats


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def info(**fields: object) -> SimpleNamespace:
    return SimpleNamespace(**{"live": False, "frame_count": 300, "duration_s": 10.0, "rate_hz": 30.0, **fields})


def motion(index: int, people: int = 1) -> SimpleNamespace:
    return SimpleNamespace(index=index, time_s=index / 30, ids=np.arange(people))


def stats(frames: int, **fields: Any) -> StreamStats:
    return StreamStats(frames=frames, keyframes=frames // 10, **fields)


def last_line(source: object, *, to: io.StringIO, latency_s: float | None = None, **counters: int) -> str:
    """The last line after 6 seconds at 20 frames a second, of which 120 were read."""
    clock = Clock()
    with Progress("clip.mp4", source, to=to, clock=clock) as progress:
        for second in range(1, 7):
            clock.now_s = second
            progress.update(motion(20 * second), stats(20 * second, counters=counters), latency_s)
        return to.getvalue().replace("\r", "\n").splitlines()[-1]


@pytest.mark.parametrize("to", [Terminal(), io.StringIO()])
def test_a_file_shows_share_rate_people_and_time_left(to):
    line = last_line(info(), to=to)
    for part in ("clip.mp4", "/300 frames", "20 frames/s", "1 person"):
        assert part in line
    assert "9 s left" in line or "10 s left" in line


def test_a_file_of_unknown_length_claims_no_share():
    line = last_line(info(frame_count=None, duration_s=None), to=Terminal())
    assert "120 frames" in line
    assert "%" not in line
    assert "left" not in line


def test_a_duration_says_how_many_frames_come_at_the_rate_so_far():
    """The rate that a header states is not that of a varying one."""
    line = last_line(info(frame_count=None, rate_hz=1000.0), to=Terminal())
    assert "120/300 frames" in line and "40 %" in line


def test_an_estimate_that_is_too_short_never_passes_the_whole():
    assert "100 %" in last_line(info(frame_count=50), to=Terminal())


def test_a_camera_shows_rate_latency_keyframes_and_drops():
    line = last_line(info(live=True), to=Terminal(), latency_s=0.012, dropped_consumer_behind=7, corrupt_packets=0)
    for part in ("20.0 fps", "latency 12 ms", "12 keyframes", "dropped consumer behind 7"):
        assert part in line
    assert "corrupt" not in line


def test_a_terminal_is_left_clean():
    to = Terminal()
    last_line(info(), to=to)
    assert to.getvalue().endswith("\r")
    assert "\n" not in to.getvalue()


def test_a_log_gets_a_line_every_few_seconds_only():
    to = io.StringIO()
    last_line(info(), to=to)
    assert len(to.getvalue().splitlines()) == 1


def test_quiet_is_quiet():
    to, clock = Terminal(), Clock()
    with Progress("clip.mp4", info(), shown=False, to=to, clock=clock) as progress:
        clock.now_s = 60
        progress.update(motion(1), stats(1))
    assert to.getvalue() == ""


def test_a_camera_shows_the_slowest_of_its_poses():
    ledger = Ledger()
    for made_s in (0.003, 0.003, 0.040):
        ledger.add(Latency(held_s=0.0, waited_s=0.002, made_s=made_s, keyframe_age_s=None))
    output, clock = Terminal(), Clock()
    with Progress("webcam", info(live=True), to=output, clock=clock) as progress:
        clock.now_s += 1
        progress.update(motion(20), stats(20, ledger=ledger), 0.005)
    assert "latency 5 ms (p99 41)" in output.getvalue()
    assert str(ledger) == "latency 5 / 38 / 41 ms (p50 / 95 / 99)"


def test_a_camera_shows_which_method_forecasts_where_it_is_not_the_network():
    for is_by_network, words in ((True, 0), (False, 1)):
        score: Any = SimpleNamespace(ratio=lambda: 1.2, is_by_network=is_by_network, method="constant_velocity")
        output, clock = Terminal(), Clock()
        with Progress("webcam", info(live=True), to=output, clock=clock) as progress:
            clock.now_s += 1
            progress.update(motion(20), stats(20), 0.005, score)
        assert "forecast 1.20 of the best simple one's error" in output.getvalue()
        assert output.getvalue().count("forecast by constant velocity") == words


@pytest.mark.parametrize(
    ("to", "lost"), [(Terminal(), ["camera  camera lost (it ended), trying again"]), (io.StringIO(), [])]
)
def test_what_happens_to_a_camera_is_told(to: io.StringIO, lost: list[str]) -> None:
    with Progress("camera", info(live=True), to=to) as progress:
        progress.tell(SourceEvent("lost", 2.0, 60, "it ended"))  # in a log it stands anyway
        progress.tell(SourceEvent("back", 5.5, 60, "pictures come again"))
        progress.tell(SourceEvent("size", 5.5, 60, "320x240 after 640x480"))
        lines = [line.strip() for line in to.getvalue().replace("\r", "\n").splitlines() if line.strip()]
    assert lines == [*lost, "camera  camera back after 3.5 s", "camera  another size: 320x240 after 640x480"]
