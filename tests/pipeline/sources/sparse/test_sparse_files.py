"""Sparse reading: the same frames, times and counts, and the pictures of the keyframes bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import clips

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.keyframes import KeyframeClock
from mixsynth_stream.pipeline.sources import video as video_module
from mixsynth_stream.pipeline.sources.sparse.plan import Needs
from mixsynth_stream.pipeline.sources.video import VideoReader

GAP_S = 0.09
FRAMES = 120
CODINGS: dict[str, dict[str, Any]] = {
    "b_pyramid.mp4": {},
    "b_pyramid.mkv": {},
    "b_pyramid.ts": {},
    "b_flat.mp4": {"options": {"bf": "3", "x264-params": "b-pyramid=none:scenecut=0:b-adapt=0"}},
    "open_groups.ts": {"options": {"bf": "2", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"}},
    "no_b.mp4": {"options": {"bf": "0", "x264-params": "scenecut=0"}},
    "interlaced.mp4": {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:b-adapt=0"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
}
WHOLE: dict[str, dict[str, Any]] = {
    "vp8.webm": {"codec": "libvpx"},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "ffv1.mkv": {"codec": "ffv1"},
    "raw.h264": {},
    "h264.avi": {},
}


class Reading:
    """A file read to its end or its break."""

    def __init__(self, path: Path, every: int | None, gap_s: float | None = None) -> None:
        self.frames: list[Frame] = []
        self.pictures: dict[int, np.ndarray] = {}  # those at hand, by frame
        self.sentence = ""
        with VideoReader(path) as reader:
            if every is not None:
                reader.read_sparsely(Needs(KeyframeClock(every), gap_s))
            try:
                for frame in reader:
                    self.frames.append(frame)
                    if frame.is_decoded:
                        self.pictures[frame.index] = frame.rgb
                    frame.release()
            except SourceError as error:
                self.sentence = str(error)
            self.counters, self.left_out = dict(reader.counters), reader.left_out

    @property
    def words(self) -> list[tuple[object, ...]]:
        """Everything that is known of the frames without their pictures."""
        return [(f.index, f.time_s, f.width, f.height, f.stored_size) for f in self.frames]


def assert_same(sparse: Reading, whole: Reading, every: int) -> None:
    assert sparse.words == whole.words
    assert (sparse.counters, sparse.sentence) == (whole.counters, whole.sentence)
    for index, rgb in sparse.pictures.items():
        np.testing.assert_array_equal(rgb, whole.pictures[index], err_msg=f"frame {index}")
    clock = KeyframeClock(every)
    for frame in sparse.frames:
        if clock.is_due(frame.time_s):
            clock.tick(frame.time_s)
            assert frame.index in sparse.pictures, f"keyframe {frame.index} was left out"
    assert not sparse.frames or sparse.frames[-1].index in sparse.pictures


@pytest.mark.parametrize("gap_s", [None, GAP_S])
@pytest.mark.parametrize("every", [5, 10, 15])
@pytest.mark.parametrize("name", CODINGS)
def test_keyframes_are_bit_identical_and_others_left_out(
    tmp_path: Path, name: str, every: int, gap_s: float | None
) -> None:
    path = clips.make(tmp_path / name, frames=FRAMES, **CODINGS[name])
    sparse, whole = Reading(path, every, gap_s), Reading(path, None)
    assert_same(sparse, whole, every)
    assert len(sparse.pictures) == FRAMES - sparse.left_out
    if gap_s is not None:
        places = sorted(sparse.pictures)
        gaps_s = [sparse.frames[b - 1].time_s - sparse.frames[a + 1].time_s for a, b in pairwise(places)]
        assert max(gaps_s) < GAP_S
    # Groups of 12 without a picture that nobody needs have tails only, and those hide scenes.
    assert sparse.left_out > FRAMES // 6 or (name == "no_b.mp4" and (gap_s or every == 5))


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_not_safe_is_decoded_whole(tmp_path: Path, name: str) -> None:
    path = clips.make(tmp_path / name, frames=60, **WHOLE[name])
    sparse, whole = Reading(path, 10), Reading(path, None)
    assert_same(sparse, whole, 10)
    assert sparse.left_out == 0


@pytest.mark.parametrize("name", ["b_pyramid.mp4", "open_groups.ts", "hevc.mp4", "mpeg2.ts", "mjpeg.avi"])
def test_a_picture_that_was_left_out_comes_late_and_right(tmp_path: Path, name: str) -> None:
    path = clips.make(tmp_path / name, frames=FRAMES, **CODINGS[name])
    whole = Reading(path, None)
    with VideoReader(path) as reader:
        reader.read_sparsely(Needs(KeyframeClock(10)))
        frames = list(reader)
        places = [frame.index for frame in frames if not frame.is_decoded]
        for index in (*places[::7], *places[:20:-9]):  # forwards, and back
            np.testing.assert_array_equal(frames[index].rgb, whole.pictures[index])
            assert frames[index].is_decoded


def test_reading_all_pictures_after_all_costs_no_more_than_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "_LATE", 20)
    path = clips.make(tmp_path / "a.mp4", frames=300, options={"bf": "3", "x264-params": "b-pyramid=none:b-adapt=0"})
    whole = Reading(path, None)
    with VideoReader(path) as reader:
        reader.read_sparsely(Needs(KeyframeClock(10)))
        for frame in reader:
            np.testing.assert_array_equal(frame.rgb, whole.pictures[frame.index])
        assert 0 < reader.left_out < 100


def test_a_picture_of_a_closed_source_or_a_released_frame_is_refused_in_words(tmp_path: Path) -> None:
    with VideoReader(clips.make(tmp_path / "a.mp4", frames=FRAMES)) as reader:
        reader.read_sparsely(Needs(KeyframeClock(10)))
        frames = [frame for frame in reader if not frame.is_decoded]
    frames[0].release()
    with pytest.raises(ValueError, match="was released"):
        _ = frames[0].rgb
    with pytest.raises(ValueError, match=f"frame {frames[1].index} was not decoded, and its source is closed"):
        _ = frames[1].rgb


@pytest.mark.parametrize("packets", [[40], [41], [45, 77], [117], [118], [119], [70, 71, 72, 73]])
@pytest.mark.parametrize("name", ["b_pyramid.mp4", "no_b.mp4", "b_flat.mp4", "mjpeg.avi"])
def test_damage_is_counted_as_before(tmp_path: Path, name: str, packets: list[int]) -> None:
    path = clips.corrupted(tmp_path / name, packets, frames=FRAMES, **CODINGS[name])
    for gap_s in (None, GAP_S):
        assert_same(Reading(path, 10, gap_s), Reading(path, None), 10)


@pytest.mark.parametrize("name", ["b_pyramid.mp4", "b_pyramid.mkv", "b_pyramid.ts", "mjpeg.avi"])
def test_a_file_that_is_cut_off_breaks_at_the_same_frame(tmp_path: Path, name: str) -> None:
    path = clips.truncated(tmp_path / name, keep=0.7, frames=FRAMES, size=(320, 240), **CODINGS[name])
    sparse = Reading(path, 10)
    assert_same(sparse, Reading(path, None), 10)
    assert len(sparse.frames) < FRAMES


def test_a_clock_that_starts_again_is_repaired_as_before(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.ts", frames=FRAMES)
    path.write_bytes(2 * path.read_bytes())
    sparse = Reading(path, 10)
    assert_same(sparse, Reading(path, None), 10)
    assert sparse.counters["repaired_times"] > 0
    assert sparse.left_out == 0


def test_frames_that_were_left_out_have_the_size_of_their_own_picture(tmp_path: Path) -> None:
    aspects = [Fraction(1)] * 48 + [Fraction(2)] * 24 + [Fraction(4, 3)] * 48
    path = clips.with_aspects(tmp_path / "a.ts", aspects)
    sparse = Reading(path, 10)
    assert_same(sparse, Reading(path, None), 10)
    assert {frame.width for frame in sparse.frames} == {64, 128, 85}


def test_standard_input_is_decoded_whole(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=60)
    code = (
        "from mixsynth_stream.pipeline.keyframes import KeyframeClock\n"
        "from mixsynth_stream.pipeline.sources.sparse.plan import Needs\n"
        "from mixsynth_stream.pipeline.sources.video import VideoReader\n"
        "reader = VideoReader('-'); reader.read_sparsely(Needs(KeyframeClock(10)))\n"
        "print(sum(frame.is_decoded for frame in reader))"
    )
    with path.open("rb") as file:
        out = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True)
    assert out.stdout == "60\n"


def test_files_are_closed(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("counts open files in /proc")
    path = clips.corrupted(tmp_path / "a.mp4", [80], frames=FRAMES)
    before = len(os.listdir(descriptors))
    for _ in range(3):
        Reading(path, 10, GAP_S)
    assert len(os.listdir(descriptors)) == before
