"""The plot of joint trajectories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import FakeFrame
from support.motions import motion, motions

from mixsynth_stream.draw.chart import nice_ticks
from mixsynth_stream.draw.png import png_bytes
from mixsynth_stream.export.header import Header
from mixsynth_stream.export.plot import _COLORS, JOINTS, PlotSink
from mixsynth_stream.pipeline.motion import Motion, Origin

GREEN, ORANGE = _COLORS[JOINTS.index("left_wrist")], _COLORS[JOINTS.index("right_wrist")]
PURPLE = _COLORS[JOINTS.index("left_ankle")]  # alone in the lower chart: the wrists of a standing person coincide
# The two charts, away from their borders: rows and columns of the picture.
UPPER, LOWER = (slice(110, 430), slice(112, 1564)), (slice(490, 810), slice(112, 1564))


def plot(folder: Path, items, source: str | None = "walk.mp4") -> np.ndarray:
    with PlotSink(folder / "plot.png", Header(source=source)) as sink:
        for item in items:
            sink.write(item)
    return read_png(folder / "plot.png")


def read_png(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def places(rgb: np.ndarray, chart: tuple[slice, slice], color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a chart that have a colour."""
    return np.nonzero((np.abs(rgb[chart].astype(int) - color) < 12).all(-1))


def test_png_is_lossless(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    (tmp_path / "p.png").write_bytes(png_bytes(rgb))
    np.testing.assert_array_equal(read_png(tmp_path / "p.png"), rgb)


def test_a_change_of_size_shows_no_jump(tmp_path):
    """The second half of the walk is seen in frames of twice the size."""
    (tmp_path / "plain").mkdir()
    plain = plot(tmp_path / "plain", [framed(motion(index), 1) for index in range(61)])
    np.testing.assert_array_equal(plot(tmp_path, [framed(motion(i), 1 + (i > 30)) for i in range(61)]), plain)


def framed(item: Motion, scale: int) -> Motion:
    """The same Motion in a frame that is `scale` times as large, forecast included."""
    forecast = replace(item.forecast, poses=item.forecast.poses * scale)
    frame = FakeFrame(item.index, item.time_s, 640 * scale, 480 * scale)
    return replace(item, poses=item.poses * scale, frame=frame, _forecaster=lambda: forecast)


def test_a_walk_to_the_right_rises_in_x_and_is_level_in_y(tmp_path):
    rgb = plot(tmp_path, motions(61))
    assert rgb.shape == (900, 1600, 3) and (rgb[:20, :20] == 255).all()
    rows, columns = places(rgb, UPPER, GREEN)
    assert columns.max() - columns.min() > 1100
    first, last = (rows[np.abs(columns - at) < 5].mean() for at in (columns.min() + 20, columns.max() - 20))
    assert first > last + 50, "x grows upwards in the chart"
    rows, columns = places(rgb, LOWER, PURPLE)
    assert rows.max() - rows.min() < 14, "one straight line, and dots on it"
    right = places(rgb, UPPER, ORANGE)[0].mean()
    left = places(rgb, UPPER, GREEN)[0].mean()
    assert right > left, "in a front view the right wrist is to the left of the left one"


def test_keyframes_are_dots_and_forecasts_fan_out(tmp_path):
    def ink(items) -> tuple[int, int]:
        rgb = plot(tmp_path, items)[LOWER].astype(int)
        return int((np.abs(rgb - PURPLE) < 12).all(-1).sum()), int((rgb != 255).any(-1).sum())

    keyframes = [motion(i, ahead=0) for i in range(61)]
    plain = [motion(i + 1 if i % 10 == 0 else i, ahead=0, time_s=i / 30) for i in range(61)]
    dots, _ = ink(keyframes)
    no_dots, without_fans = ink(plain)
    assert dots > no_dots + 50
    _, with_fans = ink([motion(i, ahead=12) for i in range(61)])
    assert with_fans > without_fans


def test_a_gap_and_a_new_person_break_the_line(tmp_path):
    def line(items) -> np.ndarray:  # -> [1452] 1.0 in the columns with ink, smoothed over the rims of the dots
        columns = places(plot(tmp_path, items), LOWER, PURPLE)[1]
        return np.convolve(np.bincount(columns, minlength=1452) > 0, np.ones(21) / 21, "same")

    whole = line(motions(91))
    away = line([motion(i, people=() if 31 <= i < 60 else (0,)) for i in range(91)])
    assert whole[50:1300].min() > 0.6
    assert away[550:850].max() == 0 and away[50:400].min() > 0.6 and away[1000:1300].min() > 0.6
    other = line([motion(i, people=(0,) if i < 45 else (5,)) for i in range(91)])
    assert other[50:600].min() > 0.6 and other[800:1300].min() > 0.6


def test_poses_ahead_of_all_keyframes_are_paler(tmp_path):
    strong = places(plot(tmp_path, motions(40)), LOWER, PURPLE)[1]
    pale = places(plot(tmp_path, [motion(i, origin=Origin.HELD if i > 20 else None) for i in range(40)]), LOWER, PURPLE)
    assert pale[1].max() < strong.max() - 400


def test_nobody_one_frame_and_unknown_joints(tmp_path):
    empty = plot(tmp_path, motions(5, people=()), source=None)
    assert (empty[420:480] < 100).any(), "it says that no person was seen"
    assert plot(tmp_path, motions(1)).shape == (900, 1600, 3)
    unknown = motions(5)
    for item in unknown:
        item.poses[:] = np.nan
    assert plot(tmp_path, unknown).shape == (900, 1600, 3)


def test_a_long_stream_keeps_its_shape_in_bounded_memory(tmp_path):
    sink = PlotSink(tmp_path / "plot.png", Header())
    item = motion(1)
    for index in range(20_000):
        object.__setattr__(item, "time_s", index / 30)
        sink.write(item)
    assert len(sink._line.items) <= 4096
    times = np.array([row[0] for row in sink._line.items])
    assert times[0] == 0 and times[-1] > 660 and np.ptp(np.diff(times)) < 1e-9, "evenly thinned"
    sink.close()
    rows, columns = places(read_png(tmp_path / "plot.png"), LOWER, PURPLE)
    assert columns.max() - columns.min() > 1400 and len(np.unique(rows)) < 12


@given(low=st.floats(-1e5, 1e5), span=st.floats(1e-3, 1e6), about=st.integers(2, 12))
def test_ticks_are_round_and_few(low, span, about):
    ticks = nice_ticks(low, low + span, about)
    assert len(ticks) <= 2 * about + 2
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    if len(ticks) > 1:
        step = ticks[1] - ticks[0]
        mantissa = step / 10 ** np.floor(np.log10(step) + 1e-9)
        assert min(abs(mantissa - round_number) for round_number in (1, 2, 5, 10)) < 1e-2
