"""Streams whose pictures nobody reads: the same Motions, bit for bit, and fewer pictures decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from support.fakes import person
from support.scenes import COLUMNS, ROWS, brighter, scene, shots

from mixsynth_stream.files import ASSETS
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.process import process
from mixsynth_stream.pipeline.cuts import CutDetector
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.pixels.pictures import frame_from_array
from mixsynth_stream.pipeline.sources.read_ahead import ReadAhead
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.pipeline.stream import Stream

NO_SCENE_CUTS = {"g": "12", "x264-params": "scenecut=0"}
ALL_ALONE = {"g": "1"}


class Reader:
    """An estimator whose poses change with any bit of a picture or its time. It notes its calls."""

    skeleton = "BlazePose-33"

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        digest = hashlib.md5(rgb.tobytes(), usedforsecurity=False).digest()
        self.calls.append((time_s, digest))
        return [person(x_px=100.0 + digest[0], y_px=100.0 + digest[1])]

    def forget(self) -> None:
        self.calls.append("forget")


def film(path: Path, pictures: Sequence[np.ndarray], options: dict[str, str]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = COLUMNS, ROWS, "yuv420p"
        for index, rgb in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def results(path: Path, *, pictures: bool, **options: object) -> tuple[list[object], int]:
    """Everything that comes out, and how many pictures were left out."""
    reader, estimator = VideoReader(path), Reader()
    rows: list[object] = []
    with Stream(ReadAhead(reader), estimator=estimator, pictures=pictures, **options) as stream:  # type: ignore[arg-type]
        for motion in stream:
            frame, forecast = motion.frame, motion.forecast
            assert frame is not None and forecast is not None
            arrays = (
                motion.poses,
                motion.world,
                motion.scores,
                motion.origin,
                motion.ids,
                motion.sigma,
                forecast.poses,
            )
            rows.append([motion.index, motion.time_s, motion.final, motion.keyframe, frame.width, frame.stored_size])
            rows.append([None if array is None else array.tobytes() for array in arrays])
        rows += [estimator.calls, stream.stats.counters, stream.stats.frames, stream.stats.keyframes]
    return rows, reader.left_out


@pytest.mark.parametrize(
    ("every", "lag", "cuts"), [(5, 1, True), (10, 0, True), (10, 1, True), (15, 1, True), (10, 1, False)]
)
@pytest.mark.parametrize("options", [{}, NO_SCENE_CUTS, ALL_ALONE], ids=["groups at cuts", "groups of 12", "no groups"])
def test_motions_are_bit_identical(tmp_path, options, every, cuts, lag):
    flash = [brighter(scene(1, index), 5.0) for index in range(2)]
    pictures = [*shots(65, 70), *flash, *(scene(1, 70 + index, 4.0) for index in range(40))]
    pictures += [scene(2, index) for index in range(41)]
    path = film(tmp_path / "film.mp4", pictures, options)
    whole, _ = results(path, pictures=True, every=every, lag=lag, cuts=cuts)
    sparse, left_out = results(path, pictures=False, every=every, lag=lag, cuts=cuts)
    assert sparse == whole
    # In groups of one, each picture is one that others might need, and no scene may hide between two.
    assert left_out > 20 or (options is ALL_ALONE and cuts)
    if cuts:
        assert whole[-3] in ({"scene_cuts": 1}, {"scene_cuts": 2})  # poses that stay where they are overrule one


def test_a_clip_of_one_scene_decodes_nothing_late():
    reader = VideoReader(ASSETS / "demo.mp4")
    with Stream(ReadAhead(reader), estimator=Reader(), pictures=False) as stream:
        assert sum(1 for _ in stream) == 197
    assert reader.left_out > 50
    assert reader.late == 0


def test_pictures_that_somebody_reads_after_all_are_right():
    with Stream(ASSETS / "demo.mp4", estimator=Reader()) as stream:
        whole = [motion.frame.rgb.copy() for motion in stream if motion.index < 60]
    with Stream(ASSETS / "demo.mp4", estimator=Reader(), pictures=False) as stream:
        for motion in stream:
            if motion.index < 60:
                np.testing.assert_array_equal(motion.frame.rgb, whole[motion.index])


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("place", range(20, 28))
def test_cuts_are_told_at_the_same_frame(place, step):
    """Every step-th picture is at hand; the others are decoded where those around them differ."""
    dense, sparse = CutDetector(), CutDetector()
    for index, rgb in enumerate(shots(place, 50 - place)):
        frame = frame_from_array(rgb, index / 30, index)
        some = (
            frame
            if index % step == 0
            else Frame.left_out(frame, index, index / 30, partial(frame_from_array, rgb, index / 30, index))
        )
        cut, same = dense.push(frame_from_array(rgb, index / 30, index)), sparse.push(some)
        assert (cut and (cut.before.index, cut.first.index)) == (same and (same.before.index, same.first.index))
        some.release()


def test_a_run_writes_the_same_with_and_without_an_overlay(tmp_path):
    files = []
    for overlay in (True, False):
        folder = tmp_path / str(overlay)
        options = JobOptions(formats=("jsonl", "npz"), overlay=overlay, glance="off", limit_frames=70, progress=False)
        process(str(ASSETS / "demo_hard.mp4"), folder, options)
        with np.load(folder / "poses.npz") as arrays:
            files.append({name: arrays[name].tobytes() for name in arrays.files if name != "header"})
        files[-1]["lines"] = (folder / "poses.jsonl").read_bytes().partition(b"\n")[2]
    assert files[0] == files[1]
