"""The overlay video: right pixels, right times, right sound, and a part that plays after a break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.motions import motion, pose_at

from mixsynth_stream.draw.canvas import Canvas
from mixsynth_stream.draw.pose import SIDE_COLORS, Look, draw_motion
from mixsynth_stream.export import mp4
from mixsynth_stream.export.header import Header
from mixsynth_stream.export.overlay import OverlaySink
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.skeleton import BLAZEPOSE_33

GREY = 100
LEFT_SHIN = (BLAZEPOSE_33.index("left_knee"), BLAZEPOSE_33.index("left_ankle"))


def picture(width: int = 640, height: int = 480, value: int = GREY) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def header(**fields) -> Header:
    return Header(**{"rate_hz": 30.0, "live": False, "time_base": Fraction(1, 15360), **fields})


def draw(item, *, ghost: bool = False, width: int = 640, height: int = 480) -> np.ndarray:
    """A grey picture after draw_motion."""
    canvas = Canvas(picture(width, height))
    draw_motion(canvas, item, Look.of(width, height), ghost=ghost)
    return canvas.rgb


def along(rgb: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The colours on the middle line of a bone, away from its joints: [N, 3]."""
    share = np.linspace(0.15, 0.85, 200)[:, None]
    x, y = np.round(start + share * (end - start)).astype(int).T
    return rgb[y, x].astype(int)


def is_color(pixels: np.ndarray, side: str) -> np.ndarray:
    return np.abs(pixels - SIDE_COLORS[side]).max(-1) < 40


def read(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    return [time_s for time_s, _ in frames], [rgb for _, rgb in frames]


def overlay(path: Path, items, **options) -> tuple[list[float], list[np.ndarray]]:
    with OverlaySink(path, options.pop("header", header()), **options) as sink:
        for item in items:
            sink.write(item)
    return read(path)


@pytest.mark.parametrize("side", ["left", "right"])
def test_bones_lie_on_the_person_in_the_color_of_their_side(side):
    pose = pose_at(0)
    rgb = draw(motion(0))
    for start, end in (("shoulder", "elbow"), ("hip", "knee"), ("knee", "ankle")):
        ends = (pose[BLAZEPOSE_33.index(f"{side}_{joint}")] for joint in (start, end))
        assert is_color(along(rgb, *ends), side).all()
    hips = (pose[BLAZEPOSE_33.index(f"{s}_hip")] for s in ("left", "right"))
    assert is_color(along(rgb, *hips)[60:140], "middle").all()


def test_measured_filled_and_forecast_look_different():
    knee, ankle = pose_at(0)[list(LEFT_SHIN)]
    pictures = {origin: draw(motion(0, origin=origin)) for origin in Origin if origin != Origin.MISSING}
    solid = {origin: is_color(along(rgb, knee, ankle), "left").mean() for origin, rgb in pictures.items()}
    assert solid[Origin.MEASURED] == solid[Origin.FILLED] == 1
    assert 0.2 < solid[Origin.FORECAST] < 0.9 and 0.2 < solid[Origin.HELD] < 0.9, "dashed"

    def near(rgb: np.ndarray) -> np.ndarray:
        x, y = np.round(knee).astype(int)
        return rgb[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3).astype(int)

    ring = {origin: (near(rgb) > 235).all(-1).any() for origin, rgb in pictures.items()}
    assert ring[Origin.MEASURED] and not ring[Origin.FILLED] and not ring[Origin.FORECAST]
    thick = {origin: (is_color(rgb.astype(int), "left")).sum() for origin, rgb in pictures.items()}
    assert thick[Origin.MEASURED] > 1.2 * thick[Origin.FILLED]


def test_joints_that_are_unlikely_or_unknown_are_not_drawn():
    knee, ankle = pose_at(0)[list(LEFT_SHIN)]
    unlikely, unknown = motion(0), motion(0)
    unlikely.scores[0, LEFT_SHIN[1]] = 0.29
    unknown.poses[0, LEFT_SHIN[1]] = np.nan
    for item in (unlikely, unknown):
        rgb = draw(item)
        assert not is_color(along(rgb, knee, ankle)[60:], "left").any()
        assert is_color(along(rgb, pose_at(0)[23], knee), "left").all(), "the rest of the leg is"


def test_the_ghost_stands_where_the_forecast_ends():
    item = motion(0, ahead=30)
    knee, ankle = item.forecast.poses[0, -1][list(LEFT_SHIN)]
    without, with_ghost = draw(item), draw(item, ghost=True)
    assert (along(without, knee, ankle) == GREY).all()
    shade = along(with_ghost, knee, ankle)[:, 1]
    assert (shade > GREY + 30).all() and (shade < 230).all(), "translucent: neither nothing nor solid"
    np.testing.assert_array_equal(
        along(with_ghost, *pose_at(0)[list(LEFT_SHIN)]), along(without, *pose_at(0)[list(LEFT_SHIN)])
    )


def test_several_people_carry_their_numbers():
    one, two = draw(motion(0, people=(1,))), draw(motion(0, people=(0, 1)))
    head = pose_at(0, 1)[0].astype(int)
    above = slice(head[1] - 40, head[1] - 12), slice(head[0] - 12, head[0] + 12)
    assert (one[above] == GREY).all()
    assert (two[above] > 200).any() and (two[above] < 60).any()


@pytest.mark.parametrize("size", [(1080, 1920), (640, 360), (64, 48), (1, 1)])
def test_any_size_of_picture(size):
    rgb = picture(*size)
    sink = OverlaySink(Path("unused.mp4"), header())
    out = sink._draw(rgb, motion(0))
    assert out.shape == rgb.shape and (rgb == GREY).all(), "the source's own picture stays as it was"
    assert (out != GREY).any() == (min(size) > 100), "nothing fits on a tiny one"


def test_the_picture_keeps_its_colors(tmp_path):
    colors = [(200, 30, 30), (30, 30, 200), (30, 160, 60), (220, 220, 40)]
    rgb = np.repeat(np.repeat(np.array([colors[:2], colors[2:]], np.uint8), 120, axis=0), 160, axis=1)
    _, (out,) = overlay(tmp_path / "o.mp4", [motion(0, people=(), rgb=rgb)], legend=False)
    for y, x, color in ((60, 80, 0), (60, 240, 1), (180, 80, 2), (180, 240, 3)):
        np.testing.assert_allclose(out[y - 20 : y + 20, x - 20 : x + 20].mean((0, 1)), colors[color], atol=5)


def test_time_stamps_are_those_of_the_source(tmp_path):
    rng = np.random.default_rng(0)
    ticks = np.cumsum(rng.integers(200, 2000, 40))
    base = Fraction(1, 15360)
    items = [motion(i, time_s=float(t * base), rgb=picture(160, 120)) for i, t in enumerate(ticks.tolist())]
    times, pictures = overlay(tmp_path / "o.mp4", items, header=header(time_base=base))
    assert times == [float(t * base) for t in ticks.tolist()]
    assert len(pictures) == 40 and pictures[0].shape == (120, 160, 3)


def test_a_camera_starts_at_zero(tmp_path):
    items = [motion(i, time_s=5000.5 + i / 10, rgb=picture(160, 120)) for i in range(5)]
    times, _ = overlay(tmp_path / "o.mp4", items, header=header(live=True, time_base=Fraction(1, 90_000)))
    np.testing.assert_allclose(times, np.arange(5) / 10, atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(641, 361), (1, 1), (3, 2), (176, 99)])
def test_odd_sizes_lose_no_pixel(tmp_path, width, height):
    _, pictures = overlay(tmp_path / "o.mp4", [motion(i, rgb=picture(width, height)) for i in range(3)])
    assert pictures[0].shape == (height + height % 2, width + width % 2, 3)


def test_only_final_frames_are_shown_once(tmp_path):
    items = [motion(i, final=final, rgb=picture(160, 120)) for i in range(4) for final in (False, True)]
    times, _ = overlay(tmp_path / "o.mp4", items)
    np.testing.assert_allclose(times, np.arange(4) / 30, atol=1e-4)


def test_a_huge_picture_is_made_smaller(tmp_path):
    """H.264 has no pictures of this width."""
    with OverlaySink(tmp_path / "overlay.mp4", Header()) as sink:
        sink.write(motion(0, people=(), rgb=np.full((60, 20_000, 3), 128, np.uint8)))
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (8192, 26)


def test_a_camera_that_comes_back_with_another_size(tmp_path):
    sizes = [(160, 120), (160, 120), (320, 120)]
    items = [motion(i, people=(), rgb=picture(*size, value=200)) for i, size in enumerate(sizes)]
    _, pictures = overlay(tmp_path / "o.mp4", items, legend=False)
    assert [p.shape for p in pictures] == [(120, 160, 3)] * 3
    assert pictures[2][60, 80].mean() > 190 and pictures[2][10, 80].mean() < 20, "scaled, with bars above and below"


def test_no_frame_no_video(tmp_path):
    with OverlaySink(tmp_path / "o.mp4", header()) as sink:
        pass
    assert not list(tmp_path.iterdir()) and sink.paths == []
    with (
        OverlaySink(tmp_path / "p.mp4", header()) as sink,
        pytest.raises(ValueError, match="frame 3 carries no picture"),
    ):
        sink.write(motion(3))


UNFINISHED = """
import os, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/export"]
from pathlib import Path
from support.motions import motion
from test_overlay import header, picture
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export.overlay import OverlaySink
sink = OverlaySink(Path(sys.argv[2]), header())
def frames(count):
    import numpy as np
    rng = np.random.default_rng(0)
    for i in range(count):
        sink.write(motion(i, rgb=rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)))
"""


def run_unfinished(tmp_path: Path, rest: str) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", UNFINISHED + rest, tests, str(tmp_path / "o.mp4")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_killed_run_leaves_a_part_that_plays(tmp_path):
    result = run_unfinished(tmp_path, "frames(95)\nos.kill(os.getpid(), 9)\n")
    assert result.returncode == -signal.SIGKILL
    times, _ = read(tmp_path / "o.mp4.part")
    assert len(times) >= 60, "all but about the last second"


def test_a_full_disk_keeps_the_pictures_before_it(tmp_path):
    result = run_unfinished(
        tmp_path,
        """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    with sink:
        frames(1000)
except OutputError as error:
    print(error)
""",
    )
    assert result.returncode == 0, result.stderr
    assert "o.mp4 cannot be written" in result.stdout and "kept" in result.stdout
    times, _ = read(tmp_path / "o.mp4")
    assert len(times) >= 25


def test_the_bytes_are_the_same_whatever_the_processor(tmp_path, monkeypatch):
    """x264 in plain C, on one core and with another division of the work, writes what it does as it is."""
    rng = np.random.default_rng(0)
    scene = np.repeat(np.repeat(rng.integers(0, 256, (60, 100, 3), np.uint8), 8, axis=0), 8, axis=1)
    items = [motion(i, people=(), rgb=scene[3 * i : 3 * i + 240, 5 * i : 5 * i + 320]) for i in range(40)]
    overlay(tmp_path / "fast.mp4", items)
    params = mp4._ENCODER_OPTIONS["x264-params"]
    monkeypatch.setitem(mp4._ENCODER_OPTIONS, "x264-params", f"{params}:asm=0:lookahead-threads=1")
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        if cores:
            os.sched_setaffinity(0, {min(cores)})
        overlay(tmp_path / "plain.mp4", items)
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    assert (tmp_path / "fast.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()
