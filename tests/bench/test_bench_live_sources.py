"""`bench live-sources`: rows of what several sources give, and no speed where the poses are not those recorded."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from support import clips, fakes

from mixsynth_stream.bench import sources
from mixsynth_stream.cli import main


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A short clip, in which an estimator sees somebody who walks to the right."""

    @contextlib.contextmanager
    def walking():
        yield lambda rgb, time_s: [fakes.person(x_px=200.0 + 60.0 * time_s)]

    monkeypatch.setattr(sources, "pose_estimator", walking)
    monkeypatch.setattr(sources, "_START_S", 0.3)
    return str(clips.make(tmp_path / "clip.mp4", frames=12, size=(640, 480)))


def test_each_number_of_sources_is_a_row(clip, tmp_path, capsys):
    file = tmp_path / "rows.json"
    options = ["--sources", "1", "3", "--seconds", "0.5", "--json", str(file)]
    assert main(["bench", "live-sources", clip, *options]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["sources"] for row in rows] == [1, 3]
    for row in rows:
        assert 0 < row["fps_least"] <= row["fps_median"] < 40
        assert row["looks_hz_least"] > 0 and row["keyframes_a_call"] > 0 and row["error_scales"] < 0.1
    assert "looks/s" in capsys.readouterr().out


def test_no_speed_where_sources_show_other_poses(clip, monkeypatch, capsys):
    monkeypatch.setattr(sources.StandIn, "__call__", lambda self, rgb, time_s: [fakes.person(x_px=500.0)])
    assert main(["bench", "live-sources", clip, "--sources", "1", "--seconds", "0.5"]) == 1
    output = capsys.readouterr().out
    assert "gate RED" in output and "fps" not in output


def test_a_number_survives_the_codec(clip, tmp_path):
    recording = sources.record(clip, tmp_path / "numbered.mp4", seconds=1.0)
    with sources.VideoReader(str(recording.path)) as reader:
        numbers = [sources.number_in(frame.rgb) for frame in reader]
    there_and_back = [*range(12), *range(10, 0, -1)]
    np.testing.assert_array_equal(numbers, np.resize(there_and_back, len(numbers)))


@pytest.mark.parametrize("options", [["--sources", "0"], ["--seconds", "0"], ["--estimator-ms", "-1"]])
def test_numbers_that_mean_nothing(clip, options, capsys):
    assert main(["bench", "live-sources", clip, *options]) == 2
    assert options[0] in capsys.readouterr().err
