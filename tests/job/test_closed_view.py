"""A view that is closed while its camera gives nothing: the job ends at once, and what was shown becomes final."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from support import fakes
from support.silent_camera import SilentCamera

from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.job import outputs, process
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.pipeline.stream import Stream


class Window(SinkBase):
    """A window whose user presses q when nothing has come for a while."""

    def __init__(self) -> None:
        super().__init__(None)
        self.closed = False
        self._calls = itertools.count(1)

    def write(self, motion: Motion) -> None: ...

    def wait(self) -> None:
        self.closed = next(self._calls) >= 3

    def _finish(self) -> None: ...


def test_closing_a_view_of_a_silent_camera_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = SilentCamera(12)

    def open_stream(*_: Any) -> Stream:
        estimator = as_estimator(lambda rgb, time_s: [fakes.person()], "BlazePose-33")
        return Stream(camera, estimator=estimator, every=5)

    monkeypatch.setattr(process, "open_stream", open_stream)
    monkeypatch.setattr(outputs, "_open_view", lambda *_: [Window()])
    start_s = time.perf_counter()
    result = process.process("camera", tmp_path / "out", JobOptions(view="window", progress=False))
    assert time.perf_counter() - start_s < 2
    assert result.stats.frames == 12
    lines = [json.loads(line) for line in (tmp_path / "out/poses.jsonl").read_text().splitlines()[1:]]
    assert [line["index"] for line in lines] == list(range(12))
