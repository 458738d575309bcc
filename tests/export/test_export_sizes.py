"""Sizes in pose files: poses are in pixels as the source stores them, and each frame brings its own size."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from support.fakes import FakeFrame
from support.motions import motion, pose_at, sigma_at

from mixsynth_stream.export import open_sinks
from mixsynth_stream.pipeline.frame import VideoInfo
from mixsynth_stream.pipeline.motion import Motion

WIDE = VideoInfo(source="dv.mp4", width=640, height=480, rate_hz=30.0, stored_size=(320, 480))
# Its samples are twice as wide as high and its video is turned by 90 degrees, so that they are twice as high.
TURNED = FakeFrame(1, 1 / 30, 640, 480, stored_size=(640, 240))


def framed(item: Motion, frame: FakeFrame | None) -> Motion:
    object.__setattr__(item, "frame", frame)
    return item


def write(folder: Path, items: list[Motion]) -> None:
    sinks = open_sinks(folder, WIDE, formats=("jsonl", "csv", "npz"))
    for item in items:
        for sink in sinks:
            sink.write(item)
    for sink in sinks:
        sink.close()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def three_frames() -> list[Motion]:
    """A frame with wide samples, a turned one with high ones, and a Motion that was made by hand."""
    wide = FakeFrame(0, 0.0, 640, 480, stored_size=(320, 480))
    return [framed(motion(index, sigma=True), frame) for index, frame in enumerate((wide, TURNED, None))]


def test_files_hold_poses_in_stored_pixels(tmp_path):
    write(tmp_path, three_frames())
    truth = [pose_at(index / 30) * scale for index, scale in enumerate(([0.5, 1], [1, 0.5], [1, 1]))]
    header, *lines = [json.loads(line) for line in (tmp_path / "poses.jsonl").read_text().splitlines()]
    names = ("width", "height", "display_width", "display_height")
    assert [header[name] for name in names] == [320, 480, 640, 480]
    for line, pose in zip(lines, truth, strict=True):
        np.testing.assert_allclose(line["people"][0]["pose_px"], pose, atol=0.0051)
    rows = read_csv(tmp_path / "poses.csv")
    from_csv = np.array([[row["x_px"], row["y_px"]] for row in rows], float).reshape(3, 33, 2)
    np.testing.assert_allclose(from_csv, truth, atol=0.0051)
    with np.load(tmp_path / "poses.npz") as arrays:
        np.testing.assert_allclose(arrays["pose_px"], truth, rtol=1e-6)
    # The forecast of the first frame is in its pixels, in all three files.
    ahead = [pose_at(step / 30) * [0.5, 1] for step in range(1, 7)]
    np.testing.assert_allclose(lines[0]["forecast"]["people"][0]["pose_px"], ahead, atol=0.0051)
    cells = [[row["x_px"], row["y_px"]] for row in read_csv(tmp_path / "poses_forecast.csv")]
    np.testing.assert_allclose(np.array(cells, float).reshape(6, 33, 2), ahead, atol=0.0051)
    with np.load(tmp_path / "poses.npz") as arrays:
        np.testing.assert_allclose(arrays["forecast_pose_px"], ahead, rtol=1e-6)


def test_sigma_takes_the_larger_scale_of_both_axes(tmp_path):
    narrow = FakeFrame(1, 1 / 30, 640, 480, stored_size=(720, 480))
    write(tmp_path, [framed(motion(1, sigma=True), narrow), framed(motion(2, sigma=True), TURNED)])
    with np.load(tmp_path / "poses.npz") as arrays:
        sigma = 2 * sigma_at(np.array([1, 2]) / 30)
        np.testing.assert_allclose(arrays["sigma_px"], sigma * [[1.125], [1.0]], rtol=1e-6)
        np.testing.assert_allclose(arrays["sigma_m"], sigma / 200, rtol=1e-6)


def test_every_frame_brings_its_own_size(tmp_path):
    write(tmp_path, three_frames())
    _, *lines = [json.loads(line) for line in (tmp_path / "poses.jsonl").read_text().splitlines()]
    assert [(line["width"], line["height"]) for line in lines] == [(320, 480), (640, 240), (None, None)]
    rows = read_csv(tmp_path / "poses.csv")[::33]
    assert [(row["width"], row["height"]) for row in rows] == [("320", "480"), ("640", "240"), ("", "")]
    forecasts = read_csv(tmp_path / "poses_forecast.csv")
    assert {(row["width"], row["height"]) for row in forecasts} == {("320", "480")}
    assert list(rows[0])[-2:] == list(forecasts[0])[-2:] == ["width", "height"]
    with np.load(tmp_path / "poses.npz") as arrays:
        assert arrays["frame_width"].tolist() == [320, 640, 0]
        assert arrays["frame_height"].tolist() == [480, 240, 0]


def test_a_motion_keeps_its_display_pixels_after_it_was_written(tmp_path):
    item = framed(motion(0, sigma=True), FakeFrame(0, 0.0, 640, 480, stored_size=(320, 480)))
    write(tmp_path, [item])
    np.testing.assert_array_equal(item.poses[0], pose_at(0.0))
    assert item.forecast.poses[0, -1] == pytest.approx(pose_at(6 / 30))
