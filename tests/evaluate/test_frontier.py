"""The frontier: who is judged on what, and who is dominated by whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import clips
from support.fakes import person

from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.evaluate import contenders as contenders_module
from mixsynth_stream.evaluate.contenders import Contender, all_contenders, dense_contender, installed
from mixsynth_stream.evaluate.frontier import (
    LIMBS,
    Reference,
    contender_errors,
    dense_reference,
    dominators,
    mean_rows,
    verdicts,
    with_dominators,
)
from mixsynth_stream.evaluate.video import DensePoses
from mixsynth_stream.pipeline.estimators import choose
from mixsynth_stream.pipeline.motion import Person


def standing(frames: int) -> np.ndarray:  # -> [F, 12, 2]
    """A person with a torso of 80 px."""
    return np.repeat(person(x_px=180, y_px=150, size_px=80).pose[LIMBS][None], frames, axis=0)


def test_errors_are_torso_lengths_and_a_lost_pose_counts_as_one() -> None:
    truth = standing(5)
    truth[4] = np.nan
    truth[3, 0] = np.nan
    poses = standing(5)
    poses[1] += [8.0, 0.0]
    poses[2] += [500.0, 0.0]
    poses[3] += [0.0, 16.0]
    reference = Reference("truth", truth)
    assert reference.torso_px == pytest.approx(80.0)
    np.testing.assert_allclose(reference.errors(poses), [0.0, 0.1, 1.0, 0.2])
    poses[0] = np.nan
    assert reference.errors(poses)[0] == 1.0


@pytest.mark.parametrize(("rate_hz", "frames", "first"), [(30, 300, 60), (60, 100, 50)])
def test_frames_are_judged_once_every_window_is_full(rate_hz: int, frames: int, first: int) -> None:
    reference = Reference("truth", standing(frames)).judged(np.arange(frames) / rate_hz)
    assert np.flatnonzero(np.isfinite(reference.poses).all((1, 2)))[0] == first


def test_a_reference_of_mediapipe_leaves_out_jumps_and_doubts() -> None:
    poses = np.repeat(person(x_px=180, y_px=150, size_px=80).pose[None], 90, axis=0)
    poses[45:] += 300.0
    scores = np.ones((90, 33))
    scores[:, LIMBS[0]] = 0.1
    dense = DensePoses(
        name="a", time_s=np.arange(90) / 30, poses=poses, world=np.zeros((90, 33, 3)), scores=scores, height_px=720
    )
    reference = dense_reference(dense, "dense")
    assert np.isnan(reference.poses[:, 0]).all() and np.isfinite(reference.poses[:, 1:]).all()
    poses[::20] = np.nan
    with pytest.raises(SourceError, match="follows nobody for 1 s"):
        dense_reference(dense, "dense")


def test_now_is_what_comes_at_once_and_filled_what_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rising:
        """Somebody who rises evenly, and who is seen exactly."""

        skeleton = "BlazePose-33"

        def __init__(self, *_: object, **__: object) -> None: ...

        def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
            return [person(x_px=180.0, y_px=350.0 - 120 * time_s, size_px=80.0)]

        def close(self) -> None: ...

    monkeypatch.setattr(choose, "pose_estimator", Rising)
    time_s = np.arange(50) / 30
    truth = np.array([Rising()(np.zeros(1), t)[0].pose[LIMBS] for t in time_s])
    reference = Reference("truth", truth).judged(time_s)
    errors = contender_errors(Contender(every=5), clips.PERSON, reference, time_s, phases=2)
    assert {question: len(values) for question, values in errors.items()} == {"now": 50, "filled": 50}
    assert errors["filled"].mean() < 0.02 < errors["now"].max() < 0.5


def test_who_costs_no_more_and_errs_no_more_dominates() -> None:
    points = {"a": (1.0, 0.3), "b": (2.0, 0.2), "c": (2.0, 0.3), "d": (3.0, 0.1), "e": (3.0, 0.1), "f": (4.0, 0.3)}
    assert dominators(points) == {"a": [], "b": [], "c": ["a", "b"], "d": [], "e": [], "f": ["a", "b", "c", "d", "e"]}


def row(
    name: str, cost: float, error: float, *, every: int | None, default_of: tuple[str, ...] = ()
) -> dict[str, object]:
    values = {"contender": name, "every": every, "default_of": list(default_of), "case": "clip", "cpu_ms": cost}
    return values | {"now_torso": error, "filled_torso": error}


def test_a_default_that_a_dense_contender_dominates_is_named() -> None:
    rows = [row("dense", 2.0, 0.1, every=None), row("ours", 3.0, 0.2, every=10, default_of=("now",))]
    assert verdicts(with_dominators(rows)) == ["default for now, ours: DOMINATED by dense"]
    rows[1]["cpu_ms"] = 1.0
    rows.append(row("better ours", 0.5, 0.1, every=5))
    assert verdicts(with_dominators(rows)) == ["default for now, ours: dominated by none of MediaPipe's"]


def test_a_question_that_is_not_answered_has_no_dominators() -> None:
    rows = [row("a", 1.0, 0.1, every=5), row("b", 2.0, 0.2, every=10)]
    rows[0]["now_torso"] = None
    a, b = with_dominators(rows)
    assert (a["now_dominated_by"], b["now_dominated_by"], b["filled_dominated_by"]) == ([], [], ["a"])
    assert Contender(pictures=False).questions == ("filled",)


def test_the_mean_of_clips_is_judged_anew() -> None:
    first = with_dominators([row("a", 1.0, 0.2, every=None), row("b", 2.0, 0.3, every=10)])
    second = with_dominators([row("a", 1.0, 0.4, every=None), row("b", 2.0, 0.1, every=10)])
    a, b = mean_rows([*first, *second], "mean")
    assert (a["case"], a["now_torso"], b["now_torso"]) == ("mean", pytest.approx(0.3), pytest.approx(0.2))
    assert first[1]["now_dominated_by"] == ["a"] and b["now_dominated_by"] == []


def test_contenders_have_names_and_one_default_for_each_question() -> None:
    every = all_contenders()
    assert len({contender.name for contender in every}) == len(every)
    assert sorted(question for contender in every for question in contender.default_of) == ["filled", "now"]
    cut, official = Contender(model="full", every=None), dense_contender("full")
    assert cut.same_poses() == official.same_poses() != Contender().same_poses()
    assert [contender.facts()["eye"] for contender in (cut, Contender())] == ["video", "follow"]
    assert Contender(pictures=False).same_poses() == Contender().same_poses()
    chosen = Contender(every="auto", budget=2.5, glance=True)
    assert (chosen.label, chosen.interval_s, Contender(every=15).interval_s, cut.interval_s) == ("2.5/s", 0.4, 0.5, 0.0)


def test_a_model_that_is_missing_is_left_out_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def bundle_path(model: str) -> Path:
        if model.startswith("heavy"):
            raise ModelError("the heavy pose model is not installed")
        return Path(model)

    monkeypatch.setattr(contenders_module, "bundle_path", bundle_path)
    available, sentences = installed(all_contenders())
    assert len(available) == len(all_contenders()) - 2
    assert sentences == ["the heavy pose model is not installed"]
