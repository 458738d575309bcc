"""VideoReader: every frame, upright, in its own time. Broken files say what is wrong and keep what can be read."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from support import clips
from support.file_server import serve

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources import video as video_module
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.pixels import pictures as pictures_module
from mixsynth_stream.pipeline.sources.timing.times import TimeStamps
from mixsynth_stream.pipeline.sources.video import VideoReader


def read(path: Path) -> tuple[list[Frame], dict[str, int]]:
    with VideoReader(path) as reader:
        return list(reader), reader.counters


def read_to_the_break(path: Path) -> tuple[list[Frame], str, dict[str, int]]:
    """The frames, and the sentence of the SourceError that must follow them."""
    frames: list[Frame] = []
    with VideoReader(path) as reader, pytest.raises(SourceError) as caught:
        for frame in reader:
            frames.append(frame)  # noqa: PERF402  the frames before the error count
    return frames, str(caught.value), reader.counters


def assert_corners(rgb: np.ndarray, expected: tuple[tuple[int, int, int], ...]) -> None:
    np.testing.assert_allclose(np.array(clips.corners(rgb), int), np.array(expected), atol=12)


def test_a_file_gives_every_frame_in_its_own_time(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=30, audio=True)
    with VideoReader(path) as reader:
        assert (reader.info.width, reader.info.height) == (64, 48)
        assert reader.info.rate_hz == 30
        assert reader.info.frame_count == 30
        assert reader.info.duration_s == pytest.approx(1.0)
        assert reader.info.has_audio
        assert not reader.info.live
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 30, atol=1e-4)
    assert reader.counters == {}


def test_colours_are_rgb_and_frames_are_the_right_ones(tmp_path: Path) -> None:
    frames, _ = read(clips.make(tmp_path / "a.mp4", frames=12))
    for frame in frames:
        assert_corners(frame.rgb, clips.CORNERS)
        assert frame.rgb[24, 32].mean() == pytest.approx(clips.picture(frame.index)[24, 32].mean(), abs=6)


def test_a_frame_nobody_looks_at_is_not_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    convert = pictures_module._upright_rgb
    monkeypatch.setattr(pictures_module, "_upright_rgb", lambda *how: looks.append(1) or convert(*how))
    frames, _ = read(clips.make(tmp_path / "a.mp4", frames=20))
    first, again = frames[7].rgb, frames[7].rgb
    assert len(looks) == 1
    assert first is again


def test_a_released_frame_says_so(tmp_path: Path) -> None:
    frames, _ = read(clips.make(tmp_path / "a.mp4", frames=3))
    frames[1].release()
    with pytest.raises(ValueError, match="frame 1 was released"):
        _ = frames[1].rgb


@pytest.mark.parametrize("turn", [90, 180, 270, "mirror"])
def test_turned_videos_come_upright(tmp_path: Path, turn: int | str) -> None:
    frames, _ = read(clips.make(tmp_path / "a.mp4", frames=3, turn=turn))
    red, green, blue, white = clips.CORNERS
    expected = {
        90: (white, red, green, blue),
        180: (blue, white, red, green),
        270: (green, blue, white, red),
        "mirror": (green, red, white, blue),
    }
    assert_corners(frames[0].rgb, expected[turn])
    assert frames[0].rgb.shape == (frames[0].height, frames[0].width, 3)
    assert (frames[0].width, frames[0].height) == ((48, 64) if turn in (90, 270) else (64, 48))
    assert frames[0].rgb.flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ten_bit.mp4", {"pix_fmt": "yuv420p10le"}),
        ("full_range.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("odd.mkv", {"pix_fmt": "yuv444p", "size": (67, 45)}),
        ("lossless.mkv", {"codec": "ffv1", "pix_fmt": "bgr0", "size": (65, 47)}),
        ("stream.ts", {}),
        ("vp8.webm", {"codec": "libvpx"}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
    ],
)
def test_formats(tmp_path: Path, name: str, what: dict[str, object]) -> None:
    frames, counters = read(clips.make(tmp_path / name, frames=10, **what))
    assert len(frames) == 10
    assert counters == {}
    for frame in frames[::4]:
        assert_corners(frame.rgb, clips.CORNERS)
        assert frame.rgb.shape == (frame.height, frame.width, 3)
        assert frame.rgb.flags.c_contiguous


def test_grey_video_has_three_equal_channels(tmp_path: Path) -> None:
    frames, _ = read(clips.make(tmp_path / "grey.mp4", frames=2, pix_fmt="gray"))
    red, _, _, white = (corner.astype(int) for corner in clips.corners(frames[0].rgb))
    assert np.ptp(red) <= 1
    assert white.min() > red.max() + 100


@pytest.mark.parametrize("size", [(1, 1), (7680, 4320)])
def test_smallest_and_largest(tmp_path: Path, size: tuple[int, int]) -> None:
    frames, _ = read(clips.make(tmp_path / "a.avi", size=size, frames=1, codec="mjpeg", pix_fmt="yuvj420p"))
    assert len(frames) == 1
    assert frames[-1].rgb.shape == (size[1], size[0], 3)


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times_ms = [0, 40, 100, 110, 300, 333]
    frames, counters = read(clips.make(tmp_path / "a.mp4", frames=6, times_ms=times_ms))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.array(times_ms) / 1000, atol=1e-3)
    assert counters == {}


def test_avi_with_b_frames_has_even_times(tmp_path: Path) -> None:
    frames, counters = read(clips.make(tmp_path / "a.avi", frames=30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 30, atol=1e-6)
    assert counters == {}


def test_time_stamps_grow_whatever_comes() -> None:
    times: TimeStamps[int] = TimeStamps(step_s=0.1)
    stream_times = [5.0, 5.1, 5.1, 5.2, None, 5.4, 0.0, 0.1, 0.2]
    np.testing.assert_allclose(
        [time_s for _, time_s in times.of(enumerate(stream_times))],
        [5.0, 5.1, 5.15, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7],  # the clock that starts again goes on from where it was
    )
    assert times.repaired == 3


@pytest.mark.parametrize("packet", [1, 14, 26, 27, 28, 29])
def test_a_corrupt_packet_is_skipped_and_counted(tmp_path: Path, packet: int) -> None:
    frames, counters = read(clips.corrupted(tmp_path / "a.mp4", [packet]))
    assert len(frames) == 29
    assert counters == {"corrupt_packets": 1}
    assert np.all(np.diff([frame.time_s for frame in frames]) > 0)


def test_damaged_files_do_not_depend_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clips.corrupted(tmp_path / "a.mp4", [10, 40, 58], frames=60)
    threaded, counters = read(path)
    monkeypatch.setattr(video_module, "_DECODER_THREADS", 1)
    alone, counters_alone = read(path)
    assert [frame.time_s for frame in threaded] == [frame.time_s for frame in alone]
    assert counters == counters_alone
    for frame, same in zip(threaded, alone, strict=True):
        np.testing.assert_array_equal(frame.rgb, same.rgb)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_cut_off_file_gives_what_is_there_then_says_so(tmp_path: Path, name: str) -> None:
    whole, _ = read(clips.make(tmp_path / f"whole_{name}", frames=120, size=(320, 240)))
    cut, sentence, counters = read_to_the_break(clips.truncated(tmp_path / name, keep=0.7, frames=120, size=(320, 240)))
    assert 30 < len(cut) < 120
    assert f"is cut off after {len(cut)} frames" in sentence
    assert "again" in sentence
    assert counters == {}
    for frame, same in list(zip(cut, whole, strict=False))[:-4]:
        assert frame.time_s == same.time_s
        np.testing.assert_array_equal(frame.rgb, same.rgb)


def test_two_runs_are_identical(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=40)
    first, second = ([(f.index, f.time_s, f.rgb.tobytes()) for f in read(path)[0]] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path, "there is no file"),
        (lambda path: path.mkdir() or path, "is a folder"),
        (clips.empty, "is empty"),
        (clips.text, "is not a video"),
        (clips.audio_only, "has no video in it, only audio"),
        (clips.zero_length, "not one frame"),
        (clips.without_index, "MP4 without its index"),
        (clips.unknown_codec, "FFmpeg does not know"),
    ],
    ids=["missing", "folder", "empty", "text", "audio only", "zero length", "no index", "unknown codec"],
)
def test_what_is_not_a_video_is_refused_in_one_sentence(tmp_path: Path, make: object, sentence: str) -> None:
    path = tmp_path / "a.mp4"
    make(path)  # type: ignore[operator]
    with pytest.raises(SourceError, match=sentence) as caught:
        VideoReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_music_with_a_cover_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1, options={"q": "2"})
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(clips.picture(0), format="rgb24")))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16_000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(SourceError, match="has no video in it, only audio"):
        VideoReader(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=2)
    path.chmod(0)
    with pytest.raises(SourceError, match="may not be read"):
        VideoReader(path)


def test_odd_file_names(tmp_path: Path) -> None:
    for name in ("rtsp:not.mp4", "50%d.mp4", "-.mp4", "clip #1 ü.mp4"):
        frames, _ = read(clips.make(tmp_path / "plain.mp4", frames=3).rename(tmp_path / name))
        assert len(frames) == 3, name


def test_files_are_closed(tmp_path: Path) -> None:
    path = clips.corrupted(tmp_path / "a.mp4", [28])
    bad = clips.audio_only(tmp_path / "b.mp4")
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("counts open files in /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        read(path)
        with pytest.raises(SourceError):
            VideoReader(bad)
    assert len(list(descriptors.iterdir())) == before


def test_standard_input(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.ts", frames=25)
    code = "from mixsynth_stream.pipeline.sources.open import open_source; print(*[f.index for f in open_source('-')])"
    with path.open("rb") as file:
        out = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True)
        piped = subprocess.run(
            [sys.executable, "-c", code], input=path.read_bytes(), capture_output=True, check=True
        ).stdout.decode()
    assert out.stdout == piped == " ".join(map(str, range(25))) + "\n"


def test_a_file_over_http(tmp_path: Path) -> None:
    clips.make(tmp_path / "a.mp4", frames=25)
    clips.make(tmp_path / "b.ts", frames=25)
    with serve(tmp_path) as address:
        with open_source(f"{address}/a.mp4") as reader:
            assert not reader.info.live
            assert len(list(reader)) == 25
        # Without an index its duration is not known, but the server says how long the file is.
        with open_source(f"{address}/b.ts") as reader:
            assert not reader.info.live
            assert len(list(reader)) == 25
        with pytest.raises(SourceError, match="404"):
            open_source(f"{address}/none.mp4")


def test_pictures_are_freed_at_once(tmp_path):
    """Not when the garbage collector comes round: at 8K that would be gigabytes."""
    gc.collect()
    gc.disable()
    try:
        with VideoReader(clips.make(tmp_path / "clip.mp4", frames=60)) as reader:
            for _ in reader:
                pass
        assert sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects()) < 5
    finally:
        gc.enable()
