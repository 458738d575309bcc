"""The average rate in headers is that of the time stamps, whatever the source said when it was opened."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.motions import motion

from mixsynth_stream.export import FORMATS, open_sinks
from mixsynth_stream.export.header import Header
from mixsynth_stream.export.overlay import OverlaySink
from mixsynth_stream.export.rate import AverageRate
from mixsynth_stream.export.trc import TrcSink
from mixsynth_stream.pipeline.frame import VideoInfo

JITTER_S = np.random.default_rng(0).uniform(-0.012, 0.012, 90)


def write(folder: Path | None, times_s, opening_hz: float | None, formats=FORMATS) -> None:
    info = VideoInfo(source="walk.webm", width=640, height=480, rate_hz=opening_hz)
    sinks = open_sinks(folder, info, formats=formats)
    for index, time_s in enumerate(times_s):
        for sink in sinks:
            sink.write(motion(index, time_s=float(time_s), final=False))
            sink.write(motion(index, time_s=float(time_s)))
    for sink in sinks:
        sink.close()


def rates(folder: Path) -> list[float | None]:
    """The rates in poses.jsonl, poses.npz and the three places of poses_person0.trc."""
    first, *_ = (folder / "poses.jsonl").read_text().splitlines()
    with np.load(folder / "poses.npz") as arrays:
        other = json.loads(str(arrays["header"]))
    _, names, values, *_ = (folder / "poses_person0.trc").read_text().splitlines()
    counts = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    trc = [float(counts[name]) for name in ("DataRate", "CameraRate", "OrigDataRate")]
    assert int(counts["NumFrames"]) == len((folder / "poses.jsonl").read_text().splitlines()) - 1
    return [json.loads(first)["rate_hz"], other["rate_hz"], *trc]


@pytest.mark.parametrize("opening_hz", [1000.0, 30.0, None])
def test_headers_of_files_have_the_measured_rate(tmp_path, opening_hz):
    times_s = 0.5 + np.arange(90) / 29.96 + JITTER_S
    write(tmp_path, times_s, opening_hz)
    assert rates(tmp_path) == pytest.approx([89 / (times_s[-1] - times_s[0])] * 5, rel=1e-5)


def test_one_frame_has_the_rate_that_the_source_states(tmp_path):
    write(tmp_path / "stated", [0.0], 25.0)
    assert rates(tmp_path / "stated") == [25.0] * 5
    write(tmp_path / "unknown", [0.0], None)
    assert rates(tmp_path / "unknown") == [None, None, 30.0, 30.0, 30.0], "TRC needs a number"


def test_the_header_line_is_whole_while_the_file_grows(tmp_path):
    info = VideoInfo(source="walk.webm", width=640, height=480, rate_hz=None)
    (sink,) = open_sinks(tmp_path, info)
    sink.write(motion(0))
    first, second = (tmp_path / "poses.jsonl.part").read_text().splitlines()
    assert json.loads(first)["rate_hz"] is None and json.loads(second)["index"] == 0
    sink.close()


def test_lines_on_standard_output_have_what_was_known_when_the_source_opened(capsys):
    write(None, np.arange(20) / 60, 30.0, formats=("jsonl",))
    first, *_ = capsys.readouterr().out.splitlines()
    assert json.loads(first)["rate_hz"] == 30.0 and first == first.rstrip()


def test_somebody_who_left_early_has_the_rate_of_the_whole_video(tmp_path):
    """More people than files are kept open, so the first file is closed long before the end."""
    sink = TrcSink(tmp_path / "day.trc", Header(rate_hz=None))
    for index in range(50):
        sink.write(motion(index, people=(index,), time_s=index * (0.1 if index < 40 else 0.2)))
    sink.close()
    values = (tmp_path / "day_person0.trc").read_text().splitlines()[2].split("\t")
    assert float(values[0]) == pytest.approx(49 / 9.8, rel=1e-5)
    assert len(list(tmp_path.iterdir())) == 50


def test_provisional_motions_do_not_count():
    rate = AverageRate()
    for index in range(10):
        rate.add(motion(index, final=index % 2 == 0))
    assert rate.hz == pytest.approx(15)


def video(path: Path, times_s, opening_hz: float | None) -> tuple[float, list[float]]:
    """The average rate and the times of the keyframes of an overlay in which no cut can be seen."""
    rgb = np.random.default_rng(0).integers(60, 200, (48, 64, 3), dtype=np.uint8)
    with OverlaySink(path, Header(rate_hz=opening_hz, live=False, time_base=Fraction(1, 1000)), legend=False) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(motion(index, people=(), time_s=float(time_s), rgb=rgb))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        keyframes_s = [float(p.pts * p.time_base) for p in container.demux(stream) if p.size and p.is_keyframe]
        return float(stream.average_rate), keyframes_s


@pytest.mark.parametrize("opening_hz", [1000.0, 1.0, 30.0, None])
@pytest.mark.parametrize("rate_hz", [12.5, 30.0, 100.0])
def test_an_overlay_has_a_keyframe_a_second(tmp_path, opening_hz, rate_hz):
    average_hz, keyframes_s = video(tmp_path / "o.mp4", np.arange(3.5 * rate_hz) / rate_hz, opening_hz)
    assert average_hz == pytest.approx(rate_hz, rel=0.01)
    np.testing.assert_allclose(keyframes_s, range(len(keyframes_s)), atol=0.15)
    assert len(keyframes_s) == 4


def test_an_overlay_of_a_varying_rate(tmp_path):
    times_s = np.cumsum(np.r_[0, np.full(30, 0.02), 2.4, np.full(30, 0.05)])
    average_hz, keyframes_s = video(tmp_path / "o.mp4", times_s, 30.0)
    assert average_hz == pytest.approx(61 / times_s[-1], rel=0.02)
    np.testing.assert_allclose(keyframes_s, [0, 3.0, 4.0], atol=0.051)
