"""`bench live`: what is shown of a person whose motion is known, by an estimator whose delay is known."""

from __future__ import annotations

import json
import time
from pathlib import Path

import av
import numpy as np
import pytest
from support.fakes import person
from support.moving import RATE_HZ, dancing, estimate, picture

from mixsynth_stream.bench.live import run
from mixsynth_stream.bench.live.camera import ClipCamera
from mixsynth_stream.bench.live.shown import Shown, worth
from mixsynth_stream.bench.live.simulated import held_simulated, simulated
from mixsynth_stream.cli import main
from mixsynth_stream.evaluate.frontier import LIMBS, Reference, dense_reference
from mixsynth_stream.evaluate.video import DensePoses
from mixsynth_stream.pipeline.motion import Motion

FRAMES = 60


def dense(frames: int = FRAMES) -> DensePoses:
    people = [estimate(dancing(frame / RATE_HZ)) for frame in range(frames)]
    return DensePoses(
        name="dance.mp4",
        time_s=np.arange(frames) / RATE_HZ,
        poses=np.array([one.pose for one in people]),
        world=np.array([one.world for one in people]),
        scores=np.array([one.scores for one in people]),
        height_px=300,
    )


def write_clip(path: Path, frames: int = FRAMES) -> Path:
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=round(RATE_HZ))
        stream.width, stream.height, stream.pix_fmt = 320, 300, "yuv420p"
        for frame in range(frames):
            grey = picture([dancing(frame / RATE_HZ)])
            target.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")))
        target.mux(stream.encode())
    return path


def test_the_command_says_what_is_shown_and_would_say_it_again(tmp_path, capsys, monkeypatch):
    clip = write_clip(tmp_path / "dance.mp4")
    monkeypatch.setattr(run, "dense_poses", lambda path, estimator: dense())
    command = ["bench", "live", str(clip), "--answer-ms", "100", "--rounds", "0", "--json"]
    assert main([*command, str(tmp_path / "live.json")]) == 0
    assert "over MediaPipe held" in capsys.readouterr().out
    rows = {row["contender"]: row for row in json.loads((tmp_path / "live.json").read_text())["rows"]}
    again = simulated(clip, dense(), 0.1, every="auto", smooth=True, glance=True)
    reference = dense_reference(dense(), "dense").judged(dense().time_s)
    assert reference.errors(again.poses).mean() == rows["auto"]["error_torso"]
    assert list(rows) == ["auto", "N = 5", "N = 10", "N = 5, no glance", "N = 10, no glance"]
    assert rows["N = 10"]["calls_hz"] == pytest.approx(3.0, abs=0.5)
    assert rows["auto"]["over_best_simple"] < 0.75
    assert rows["auto"]["error_torso"] < rows["N = 10"]["error_torso"] < rows["N = 10, no glance"]["error_torso"]
    for row in rows.values():
        assert row["step_over_true"] < row["abrupt_step_over_true"] + 1e-9


def test_mediapipe_takes_the_newest_frame_and_its_newest_result_is_held():
    poses = held_simulated(dense(10), 0.1)  # three frames
    numbers = [None] * 3 + [0] * 3 + [3] * 3 + [6]
    for frame, number in enumerate(numbers):
        expected = np.full((12, 2), np.nan) if number is None else dense().poses[number, LIMBS]
        np.testing.assert_array_equal(poses[frame], expected)


def motion(frame: int, x_px: float, *, answer_of: int | None = None) -> list[Motion]:
    """What comes with a frame: where the person is shown, and before it the keyframe whose answer came."""

    def one(index: int, x_px: float, measured: bool) -> Motion:
        whole = person(x_px=x_px)
        return Motion(
            index=index,
            time_s=index / 10,
            final=False,
            keyframe=measured,
            ids=np.array([0]),
            measured=(whole,) if measured else None,
            poses=whole.pose[None],
            world=whole.world[None],
            scores=whole.scores[None],
            origin=np.ones((1, 33), np.uint8),
        )

    answer = [] if answer_of is None else [one(answer_of, 100.0 + 10 * answer_of, True)]
    return [*answer, one(frame, x_px, False)]


def test_errors_and_steps_are_those_that_were_shown():
    """Somebody walks 10 pixels a frame, and is shown 4 pixels behind, but for one frame 34 pixels behind."""
    truth = np.array([person(x_px=100.0 + 10 * frame).pose[LIMBS] for frame in range(10)])
    reference, shown = Reference("truth", truth), Shown.of(10)
    for frame in range(10):
        answer_of = {2: 0, 4: 2, 6: 4}.get(frame)
        x_px = 100.0 + 10 * frame - (34 if frame == 5 else 4)
        shown.before[frame] = person(x_px=x_px + (6 if frame == 4 else 0)).pose[LIMBS]
        shown.take(frame, frame / 10, motion(frame, x_px, answer_of=answer_of))
    assert shown.keyframes == {0, 2, 4}
    torso = reference.torso_px
    row = worth(shown, reference, held=truth - [20.0, 0.0])
    assert row["error_torso"] == pytest.approx((9 * 4 + 34) / 10 / torso)
    assert row["over_held_mediapipe"] == pytest.approx(7 / 20)
    # Held: nothing for two frames, which counts as a whole torso length, then 20, 30, 20, 30, 20, 30, 40 and 50 pixels.
    assert row["over_hold"] == pytest.approx(7 * 10 / (2 * torso + 240))
    assert row["true_step_torso"] == pytest.approx(10 / torso)
    steps = [10, 10, 10, 10, 20, 40, 10, 10, 10]
    assert row["step_over_true"] == pytest.approx(np.percentile(steps, 97) / 10)
    assert row["correction_over_true"] == pytest.approx(np.percentile([0, 6, 0], 97) / 10)


def test_a_clip_is_played_at_its_own_speed_and_who_is_late_loses_frames(tmp_path):
    with ClipCamera(write_clip(tmp_path / "a.mp4", 20)) as camera:
        start_s = time.perf_counter()
        first = [next(camera).index for _ in range(6)]
        assert time.perf_counter() - start_s > 5 / RATE_HZ - 0.01
        time.sleep(0.3)
        rest = [frame.index for frame in camera]
    assert first[0] == 0 and rest[-1] == 19
    assert first + rest == sorted({*first, *rest})
    assert camera.counters["dropped_consumer_behind"] == 20 - 6 - len(rest) > 3
