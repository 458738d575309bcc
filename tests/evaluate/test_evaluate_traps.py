"""The two traps of the published evaluation: truth fed as input, and one sequence judged instead of all.

Each is set on purpose, by a stand-in for our own code, and has to show in the numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fakes import CatmullRom
from support.published_data import objects, write_folder
from support.smpl_bodies import preset_weights

from mixsynth_stream.data.deciwatch import J14_FROM_PW3D, Pair
from mixsynth_stream.data.estimator_noise import EstimatorNoise
from mixsynth_stream.data.mocap import DEFAULT_DATA, Clip, load_clips
from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.data.windows import Windows, validation_windows
from mixsynth_stream.evaluate import mocap as evaluate_mocap
from mixsynth_stream.evaluate import preset_score
from mixsynth_stream.evaluate.baselines import tuned_baselines
from mixsynth_stream.evaluate.preset_score import open_score
from mixsynth_stream.evaluate.scores import NETWORK, Case, Row, Scores
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.weights import load_model

FILES = [CHECKOUT / name for name in DEFAULT_DATA]
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


def test_methods_see_the_estimates_and_not_the_truth(clips: list[Clip], monkeypatch: pytest.MonkeyPatch):
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
    full = evaluate_mocap.take_windows(windows, np.flatnonzero(windows.valid[:, 0]))
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
    # Clips too short for a window are judged by the part that they have.
    assert {row.clips for row in _rows(rows, "filled_cold").values()} == {len(clips)}
    for left_out in range(len(clips)):
        rest = [clip for number, clip in enumerate(clips) if number != left_out]
        monkeypatch.setattr(evaluate_mocap, "load_clips", lambda path, rest=rest: rest)
        fewer = _rows(_evaluated(), "filled_cold")
        assert fewer[NETWORK].clips == len(rest)
        assert fewer[NETWORK].poses < _rows(rows, "filled_cold")[NETWORK].poses


PRESET = "3dpw-spin"
LENGTHS = (64, 30, 45)
METHODS = ("network", "input", "linear")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Test sequences of people who stand still, with estimates that put one of 14 joints 140 mm, 280 mm, ... off."""
    written = write_folder(tmp_path, PRESET, LENGTHS)
    truth_path, detected_path = (next(written.rglob(name)) for name in ("*gt_test.npz", "*spin_test.npz"))
    names = load_arrays(truth_path, ["imgname", "joints_3d"])
    still = [np.repeat(poses[:1], len(poses), axis=0) for poses in names["joints_3d"]]
    ankle = np.arange(51) == 3 * J14_FROM_PW3D[0]
    for path, offset_m in ((truth_path, 0.0), (detected_path, 0.14)):
        sequences = [poses + (number + 1) * offset_m * ankle for number, poses in enumerate(still)]
        np.savez(path, imgname=names["imgname"], joints_3d=objects(sequences))
    return tmp_path


def _scored(folder: Path) -> tuple[dict[str, float], tuple[int, int]]:
    """The error in mm of every method on a published folder, and how many poses and sequences were judged."""
    model = load_model(preset_weights(folder, PRESET))
    score = open_score(PRESET, folder, model.config)
    values = score.measure(model)
    return {method: values[f"{method}/mpjpe_mm"] for method in METHODS}, score.counts["test"]


def test_a_published_folder_is_judged_on_its_estimates_and_on_every_sequence(folder: Path):
    """With the truth in the input nothing would be off, and of the first sequence alone 10 mm."""
    values, counts = _scored(folder)
    assert counts == (sum(LENGTHS), len(LENGTHS))
    expected = np.average([10.0, 20.0, 30.0], weights=LENGTHS)
    assert values == pytest.approx(dict.fromkeys(METHODS, expected), rel=1e-3)


def test_either_trap_shows_in_the_numbers_of_a_published_folder(folder: Path, monkeypatch: pytest.MonkeyPatch):
    honest, _ = _scored(folder)
    load = preset_score.load_pairs

    def overwritten(*args: str) -> list[Pair]:
        """The published line: the detected poses of the input become the ground truth."""
        return [replace(pair, estimates=pair.truth) for pair in load(*args)]

    monkeypatch.setattr(preset_score, "load_pairs", overwritten)
    assert _scored(folder)[0]["network"] < 0.01 * honest["network"]
    monkeypatch.setattr(preset_score, "load_pairs", lambda *args: load(*args)[:1])
    values, counts = _scored(folder)
    assert counts == (LENGTHS[0], 1)
    assert values["network"] < 0.6 * honest["network"]
