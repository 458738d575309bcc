"""Times of frames: whatever stamps a stream has, they grow, and those that are missing are even."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import clips

from mixsynth_stream.pipeline.sources.timing.stamps import stamped
from mixsynth_stream.pipeline.sources.timing.times import TimeStamps
from mixsynth_stream.pipeline.sources.video import VideoReader

STEP_S = 0.1
NONE = None


def times_of(stamps: list[float | None], **options: object) -> list[float]:
    times: TimeStamps[int] = TimeStamps(STEP_S, **options)  # type: ignore[arg-type]
    pairs = list(times.of(enumerate(stamps)))
    assert [index for index, _ in pairs] == list(range(len(stamps)))
    return [time_s for _, time_s in pairs]


def read_times(path: Path) -> tuple[np.ndarray, float | None, dict[str, int]]:
    """The times of a clip's frames, its rate as far as known when it opens, and its counters."""
    with VideoReader(path) as reader:
        return np.array([frame.time_s for frame in reader]), reader.info.rate_hz, reader.counters


def even(first_s: float, count: int) -> list[float]:
    return [first_s + STEP_S * k for k in range(count)]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([NONE] * 5 + even(0.0, 3), even(-0.5, 8)),
        (even(7.0, 3) + [NONE] * 4 + even(7.7, 3), even(7.0, 10)),
        (even(7.0, 3) + [NONE] * 4, even(7.0, 7)),
        ([NONE] * 6, even(0.0, 6)),
        ([0.0, NONE, NONE, 0.9], [0.0, 0.3, 0.6, 0.9]),  # a variable rate: the known times on both sides count
        ([0.0, 0.0, 0.1, 0.1, 0.2], [0.0, 0.05, 0.1, 0.15, 0.2]),  # fields in pairs
        ([0.0, 0.0, 0.0, 0.3], [0.0, 0.1, 0.2, 0.3]),
        ([0.0] * 20, even(0.0, 20)),
        (even(0.0, 10) + even(0.2, 12), even(0.0, 22)),  # the clock goes back by less than a second
        (even(0.0, 10) + even(0.6, 12), even(0.0, 22)),  # and by a few frames
        (even(90.0, 10) + even(0.0, 12), even(90.0, 22)),
        ([0.0, 0.1, 0.3, 0.2, 0.4], [0.0, 0.1, 0.3, 0.35, 0.4]),
        ([10.0, 10.1, 0.0, 10.3, 10.4], even(10.0, 5)),  # one wrong stamp, far back
        ([0.0, 0.1, 5000.0, 0.3, 0.4], even(0.0, 5)),  # and far ahead
        ([0.0, 0.1, 3600.0, 3600.1], [0.0, 0.1, 3600.0, 3600.1]),  # a camera that rested
    ],
)
def test_times_are_those_of_the_stream_where_they_can_be(stamps, expected):
    np.testing.assert_allclose(times_of(stamps), expected, atol=1e-9)


def test_a_broadcast_that_leaps_goes_on():
    stamps = even(5.0, 5) + even(95443.7, 5)
    np.testing.assert_allclose(times_of(stamps, leaps=True), even(5.0, 10), atol=1e-9)
    slow = [0.0, 60.0, 120.0, 180.0]
    assert times_of(slow, leaps=True) == slow, "a picture a minute is no leap"


def test_pictures_wait_for_a_time_in_bounded_number():
    out = []
    pairs = TimeStamps[int](STEP_S, ahead=16).of((index, NONE) for index in range(100))
    for taken in range(100):
        out.append(next(pairs))
        assert len(out) == taken + 1
    np.testing.assert_allclose([time_s for _, time_s in out], even(0.0, 100), atol=1e-9)


@example([129.0, 0.2, None, 11.0, 0.3], False)  # a new clock that would repeat a time but for rounding
@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.1, 0.2, 0.3])), max_size=60),
    st.booleans(),
)
def test_times_grow_whatever_comes(stamps, leaps):
    times = times_of(stamps, leaps=leaps)
    assert len(times) == len(stamps)
    assert np.isfinite(times).all() and (np.diff(times) > 0).all()


@given(st.lists(st.floats(0.001, 9.0), min_size=2, max_size=40))
def test_good_times_are_not_touched(steps):
    stamps = np.cumsum(steps).tolist()
    assert times_of(stamps) == times_of(stamps, leaps=True) == stamps


def test_a_file_whose_first_stamps_lie_before_zero(tmp_path: Path) -> None:
    """Matroska stores them, and FFmpeg gives pictures without times."""
    source = clips.make(tmp_path / "a.mp4", frames=30, options={"bf": "2"})

    def earlier(_: int, packet: av.Packet) -> None:
        ticks = round(Fraction(1, 2) / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks

    times, _, counters = read_times(clips.remuxed(tmp_path / "a.mkv", source, earlier, avoid_negative_ts="disabled"))
    np.testing.assert_allclose(times, np.arange(30) / 30 - 0.5, atol=1.1e-3)
    assert counters == {"repaired_times": 15}


@pytest.mark.parametrize(
    ("name", "what", "rate"),
    [
        ("a.h264", {}, 60),
        ("b_frames.h264", {"options": {"bf": "3"}}, 60),
        ("slow.h264", {"options": {"bf": "2"}}, 12),
        ("a.hevc", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}, 50),
        ("a.m2v", {"codec": "mpeg2video", "options": {"bf": "2"}}, 60),
        ("a.m1v", {"codec": "mpeg1video"}, 50),
        ("a.m4v", {"codec": "mpeg4", "options": {"bf": "2"}}, 60),
        ("a.ivf", {"codec": "libvpx"}, 60),
    ],
)
def test_raw_streams_have_the_rate_that_they_state(
    tmp_path: Path, name: str, what: dict[str, object], rate: int
) -> None:
    times, rate_hz, counters = read_times(clips.make(tmp_path / name, frames=30, rate=rate, **what))
    np.testing.assert_allclose(times, np.arange(30) / rate, atol=1e-6)
    assert rate_hz == pytest.approx(rate)
    assert counters == {}


def test_a_raw_stream_that_states_no_rate_has_25_hz(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mjpeg", frames=10, rate=60, codec="mjpeg", pix_fmt="yuvj420p")
    times, rate_hz, _ = read_times(path)
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=1e-6)
    assert rate_hz == 25


def test_a_copy_with_the_times_of_decoding_plays_evenly(tmp_path: Path) -> None:
    """A common way of copying AVI or raw streams into Matroska stamps pictures in the order of decoding."""
    source = clips.make(tmp_path / "a.mp4", frames=60, options={"bf": "3", "b_strategy": "0"})

    def by_decoding(number: int, packet: av.Packet) -> None:
        packet.pts = packet.dts = round(Fraction(number, 30) / packet.time_base)

    times, _, counters = read_times(clips.remuxed(tmp_path / "a.mkv", source, by_decoding))
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=1.1e-3)
    assert counters == {}


def test_an_avi_that_states_the_rate_of_its_fields_plays_evenly() -> None:
    """FFmpeg copies H.264 with B-frames into AVI so; the last pictures have no time of their own."""
    container = SimpleNamespace(format=SimpleNamespace(name="avi"))
    stream: Any = SimpleNamespace(container=container, time_base=Fraction(1, 60))
    pictures: Any = [SimpleNamespace(dts=2 * n if n < 28 else None, pts=None) for n in range(30)]
    times = [time_s for _, time_s in stamped(stream, pictures, step_s=1 / 60, by_decoding=True)]
    np.testing.assert_allclose(np.array(times, float), np.arange(30) / 30)


def test_a_broadcast_whose_clock_starts_again(tmp_path: Path) -> None:
    """Two recordings in one file. FFmpeg takes the second clock for one that has wrapped around, 26 hours later."""
    whole = clips.make(tmp_path / "whole.ts", frames=30)

    def later(_: int, packet: av.Packet) -> None:
        ticks = 5000 * 90_000
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks

    late = clips.remuxed(tmp_path / "late.ts", whole, later)
    for name, parts in (("back.ts", (late, whole)), ("ahead.ts", (whole, late)), ("again.ts", (whole, whole))):
        (tmp_path / name).write_bytes(b"".join(part.read_bytes() for part in parts))
        times, _, _ = read_times(tmp_path / name)
        assert len(times) >= 58
        assert np.diff(times).max() < 0.1 and np.diff(times).min() > 0.03, name


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_the_rate_of_a_browsers_recording_is_not_that_of_its_clock(tmp_path: Path, suffix: str) -> None:
    """Its stamps jitter, and it states no rate; FFmpeg's guess is 1000 Hz."""
    rng = np.random.default_rng(0)
    times_ms = (np.arange(60) * 1000 / 30 + rng.integers(-9, 9, 60)).round().astype(int)
    times_ms -= times_ms[0]
    path = clips.make(tmp_path / f"a.{suffix}", frames=60, rate=1000, codec="libvpx", times_ms=times_ms.tolist())
    times, rate_hz, _ = read_times(path)
    np.testing.assert_allclose(times, times_ms / 1000, atol=1e-6)
    assert rate_hz == pytest.approx(30, rel=0.05)


def test_a_single_picture_has_no_rate(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.jpg", frames=1, codec="mjpeg", pix_fmt="yuvj420p")
    times, rate_hz, _ = read_times(path)
    assert (times.tolist(), rate_hz) == ([0.0], None)
