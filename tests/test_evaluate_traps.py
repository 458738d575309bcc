"""The two traps of the published evaluation: truth fed as input, and one sequence judged instead of all.

Each is set here on purpose, by a stand-in for our own code, and has to be seen in the numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import CatmullRom

from mixsynth_stream import evaluate, evaluate_mocap
from mixsynth_stream.baselines import tuned_baselines
from mixsynth_stream.data.estimator_noise import EstimatorNoise
from mixsynth_stream.data.mocap import Clip, load_clips
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.evaluate_score import NETWORK, Case, Row, Scores

FILES = [Path(evaluate.__file__).parents[1] / name for name in evaluate.DEFAULT_DATA]
CASE = Case(data="d", model="m", question="", target="", horizon_ms=None, metric="", unit="")
# The last of these is shorter than a window.
CHOSEN = (8, 7, 33, 32, 15)


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> list[Clip]:
    """Five clips, which `evaluate_mocap` then takes for the file."""
    clips = [load_clips(FILES[0])[number] for number in CHOSEN]
    monkeypatch.setattr(evaluate_mocap, "load_clips", lambda path: clips)
    return clips


def _rows(rows: list[Row], question: str = "filled", target: str = "clean") -> dict[str, Row]:
    return {r.method: r for r in rows if (r.question, r.target, r.metric) == (question, target, "mpjpe")}


def _evaluated() -> list[Row]:
    return evaluate_mocap.evaluate_mocap("clips.npz", "m", CatmullRom("world")).rows


def test_methods_see_what_the_estimator_said_and_not_the_truth(clips: list[Clip], monkeypatch: pytest.MonkeyPatch):
    honest = _rows(_evaluated())
    simulated = evaluate_mocap.validation_windows

    def overwritten(*args: object, **options: object) -> Windows:
        """The published line: the detected poses of the input become the ground truth."""
        windows = simulated(*args, **options)  # type: ignore[arg-type]
        return replace(windows, keyframes=windows.clean[:, :41:10].copy())

    monkeypatch.setattr(evaluate_mocap, "validation_windows", overwritten)
    cheating = _rows(_evaluated())
    for method in ("linear", "catmull_rom", "kalman", NETWORK):
        # The simulated estimator is off by about 90 mm in the world; interpolation of the truth by far less.
        assert honest[method].value > 60
        assert cheating[method].value < 0.7 * honest[method].value


def test_an_estimator_that_is_wrong_by_a_known_amount_costs_every_method_that_amount(clips: list[Clip]):
    """Were the truth in the input anywhere, the offset that the estimator adds to all poses would be missing."""
    model = CatmullRom("world")
    still = EstimatorNoise(slow_scale=0.0, fast_scale=0.0, occlusion=0.0)
    windows = validation_windows(clips, model.config, "world", stride=10, noise=still)
    full = evaluate_mocap.rows_of(windows, np.flatnonzero(windows.valid[:, 0]))
    offset = np.array([0.0, 5.0, 0.0])
    assert full.estimates is not None
    wrong = replace(full, keyframes=full.keyframes + offset, estimates=full.estimates + offset)
    scores = Scores()
    evaluate_mocap.score_windows(scores, CASE, model, wrong, tuned_baselines("world", 10))
    for question in ("filled", "now"):
        for method, row in _rows(scores.rows(), question).items():
            assert row.value == pytest.approx(5000, rel=0.01), (question, method)


def test_every_clip_counts(clips: list[Clip], monkeypatch: pytest.MonkeyPatch):
    rows = _evaluated()
    long = [clip for clip in clips if len(clip.positions) > 40]
    assert len(long) == 4
    assert {row.clips for row in _rows(rows).values()} == {len(long)}
    # Those too short for a window are judged with what they have.
    assert {row.clips for row in _rows(rows, "filled_cold").values()} == {len(clips)}
    for left_out in range(len(clips)):
        rest = [clip for number, clip in enumerate(clips) if number != left_out]
        monkeypatch.setattr(evaluate_mocap, "load_clips", lambda path, rest=rest: rest)
        fewer = _rows(_evaluated(), "filled_cold")
        assert fewer[NETWORK].clips == len(rest)
        assert fewer[NETWORK].poses < _rows(rows, "filled_cold")[NETWORK].poses
