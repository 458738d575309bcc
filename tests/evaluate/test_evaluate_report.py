"""Ratios, breakdowns, ridge regression, cold starts, tables and plots of `evaluate`, on known numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.fakes import CatmullRom, standing_pose

from mixsynth_stream.data.windows import Windows
from mixsynth_stream.evaluate import report
from mixsynth_stream.evaluate import ridge as evaluate_ridge
from mixsynth_stream.evaluate.baselines import hold
from mixsynth_stream.evaluate.breakdown import JOINT_GROUPS, SPEED_BANDS, breakdown, detail_rows, joint_speed
from mixsynth_stream.evaluate.mocap import cold_starts, question_steps, score_windows
from mixsynth_stream.evaluate.plot import clip_stretches, on_shared_videos, save_error_plot
from mixsynth_stream.evaluate.questions import at_steps
from mixsynth_stream.evaluate.ridge import RIDGE_FOLDER, Ridge, RidgeSums, checkout_ridge, save_ridge
from mixsynth_stream.evaluate.scores import NETWORK, Case, Cost, Evaluation, Row, Scores, methods_of
from mixsynth_stream.metrics import aligned_joint_errors
from mixsynth_stream.skeleton import CORE_17, CORE_FROM_BLAZEPOSE
from mixsynth_stream.weights import untrained_model

CASE = Case(data="d", model="m", question="filled", target="clean", horizon_ms=None, metric="mpjpe", unit="mm")
MODEL = CatmullRom("world")
CONFIG = MODEL.config


def _motion(batch: int, speed_m_s: float = 0.3) -> np.ndarray:  # [B, T, 17, 3]
    """A standing person (torso 0.5 m) whose right wrist moves along x."""
    pose = np.concatenate([standing_pose(size_px=0.5)[list(CORE_FROM_BLAZEPOSE)], np.zeros((17, 1))], axis=1)
    motion = np.tile(pose, (batch, CONFIG.seq_len, 1, 1))
    motion[:, :, CORE_17.index("right_wrist"), 0] += speed_m_s / 30 * np.arange(CONFIG.seq_len)
    return motion


def _windows(motion: np.ndarray) -> Windows:
    valid = np.ones(motion.shape[:2], bool)
    keyframes, clip = motion[:, :41:10], np.arange(len(motion))
    estimates = motion + 0.01
    return Windows(keyframes=keyframes, clean=motion, carried=motion, valid=valid, clip=clip, estimates=estimates)


def _ratios(question: str, errors: dict[str, float], metric: str = "mpjpe") -> dict[str, tuple[float, str | None]]:
    scores = Scores()
    case = replace(CASE, question=question, metric=metric)
    scores.add(case, {method: np.array([error]) for method, error in errors.items()}, np.array([0]))
    return {row.metric: (row.value, row.over) for row in scores.rows() if "ratio" in row.metric}


def test_the_best_simple_method_is_neither_dense_nor_ridge_nor_a_smoother():
    errors = {
        "linear": 5.0,
        "cubic": 4.0,
        "kalman": 1.0,
        "ridge": 2.0,
        "dense": 0.5,
        "dense_one_euro": 0.6,
        NETWORK: 3.0,
    }
    assert _ratios("filled", errors) == {"mpjpe_ratio": (0.75, "cubic"), "mpjpe_ratio_ridge": (1.5, "ridge")}
    ahead = {"hold": 5.0, "damped_tuned": 4.0, "kalman": 2.5, "ridge": 2.0, "dense": 0.5, NETWORK: 2.0}
    assert _ratios("now", ahead) == {"mpjpe_ratio": (0.8, "kalman"), "mpjpe_ratio_ridge": (1.0, "ridge")}
    assert _ratios("now", {NETWORK: 1.0, "dense": 0.5}) == {}


def test_accel_error_is_divided_by_that_of_linear_too():
    errors = {"linear": 4.0, "pchip": 2.0, NETWORK: 1.0}
    assert _ratios("filled", errors, "accel_error") == {
        "accel_error_ratio": (0.5, "pchip"),
        "accel_error_ratio_linear": (0.25, "linear"),
    }


def test_dense_estimates_answer_questions_about_seen_frames_only():
    for question in ("filled", "filled_later", "filled_cold", "now", "now_cold"):
        assert {"dense", "dense_one_euro"} <= set(methods_of(question))
    assert not {"dense", "dense_one_euro"} & {*methods_of("ahead"), *methods_of("ahead_mean")}
    scores = Scores()
    score_windows(scores, CASE, MODEL, _windows(_motion(2)), {"hold": hold})
    rows = {(r.question, r.method): r.value for r in scores.rows() if r.metric == "mpjpe" and r.target == "clean"}
    # Off by 1 cm in every axis.
    assert rows["filled", "dense"] == rows["now", "dense"] == pytest.approx(10 * np.sqrt(3))


def test_horizons_in_both_conventions():
    """The right wrist leaves its place at 0.3 m/s: hold is off by that, over 17 joints."""
    scores = Scores()
    score_windows(scores, CASE, MODEL, _windows(_motion(1)), {"hold": hold})
    rows = {
        (row.question, row.horizon_ms): row.value
        for row in scores.rows()
        if (row.metric, row.method, row.target) == ("mpjpe", "hold", "clean")
    }
    for horizon_ms, steps in ((80, 2), (160, 4), (320, 9), (400, 12), (600, 18)):
        # 80 ms are 2.4 steps of 10 mm: read between steps at the horizon, two whole steps on the way to it.
        assert rows["ahead", horizon_ms] == pytest.approx(0.3 * horizon_ms / 17)
        assert rows["ahead_mean", horizon_ms] == pytest.approx(np.mean(np.arange(1, steps + 1)) * 10 / 17)


def test_steps_between_whole_ones_are_read_linearly_and_whole_ones_touch_no_neighbour():
    values = np.arange(5.0)[None, :, None, None] * np.ones((1, 1, 2, 3))
    values[0, 4] = np.nan
    np.testing.assert_allclose(at_steps(values, np.array([0.25, 2.5]))[0, :, 0, 0], [0.25, 2.5])
    assert np.isfinite(at_steps(values, np.array([1.5, 3.0]))).all()


def test_a_short_window_has_the_questions_that_it_reaches():
    questions = question_steps(replace(CONFIG, horizon=4), 30.0)
    assert {ms for question, ms in questions if question.startswith("ahead")} == {80, 100}
    assert ("now", None) not in questions
    every_step = question_steps(replace(CONFIG, sample_interval=1, horizon=10), 30.0)
    assert not {"filled", "now"} & {question for question, _ in every_step}


def test_cold_starts_repeat_the_oldest_known_keyframe_and_forget_what_was_before():
    motion = np.random.default_rng(0).normal(size=(6, CONFIG.seq_len, 17, 3))
    cold = cold_starts(_windows(motion), CONFIG)
    oldest = np.argmax(cold.valid[:, :41:10], axis=1)
    assert list(oldest) == [1, 2, 3, 1, 2, 3]
    for row, first in enumerate(oldest):
        assert (cold.keyframes[row, :first] == motion[row, first * 10]).all()
        np.testing.assert_array_equal(cold.keyframes[row, first:], motion[row, first * 10 : 41 : 10])
        assert not cold.valid[row, : first * 10].any()


def test_joint_groups_cover_every_joint_once():
    assert sorted(joint for joints in JOINT_GROUPS.values() for joint in joints) == list(range(17))
    wrists = [CORE_17.joints[joint] for joint in JOINT_GROUPS["wrists"]]
    assert wrists == ["left_wrist", "right_wrist", "left_index", "right_index"]


def test_errors_by_group_and_by_true_speed():
    """The wrist moves at 1.5 m/s, three torso lengths of 0.5 m; all else is still."""
    scores, detail = Scores(), Scores()
    score_windows(scores, CASE, MODEL, _windows(_motion(1, speed_m_s=1.5)), {"hold": hold}, detail)
    rows = {
        row.group or row.band: row
        for row in detail.rows()
        if (row.question, row.target, row.method, row.metric) == ("now", "clean", "hold", "mpjpe")
    }
    distance_mm = np.mean(np.arange(1, 10)) * 50
    assert rows["wrists"].value == pytest.approx(distance_mm / 4)
    assert rows["knees"].value == pytest.approx(0, abs=1e-6)
    assert rows["2-4"].value == pytest.approx(distance_mm)
    assert (rows["2-4"].poses, rows["<0.5"].poses) == (9, 9 * 16)
    assert rows["<0.5"].value == pytest.approx(0, abs=1e-6)
    assert not {"0.5-1", "1-2", ">4"} & rows.keys()


def _rows_of_hold_now(motion: np.ndarray) -> dict[tuple[str, str | None], Row]:
    """Rows of `now`, clean, for hold, by metric and part."""
    detail = Scores()
    score_windows(Scores(), CASE, MODEL, _windows(motion), {"hold": hold}, detail)
    return {
        (row.metric, row.group or row.band): row
        for row in detail.rows()
        if (row.question, row.target, row.method) == ("now", "clean", "hold")
    }


def test_every_metric_by_group_and_by_speed():
    """The wrist moves by 45 mm a step, a torso is 500 mm long."""
    motion = _motion(1, speed_m_s=1.35)
    rows = _rows_of_hold_now(motion)
    # One of the group's four joints is off, by 45 to 405 mm in nine frames.
    assert rows["pck@0.2", "wrists"].value == pytest.approx((3 * 9 + 2) / 36)
    assert rows["pck@0.1", "wrists"].value == pytest.approx((3 * 9 + 1) / 36)
    assert rows["pck@0.05", "wrists"].value == pytest.approx(3 / 4)
    assert (rows["pck@0.05", "2-4"].value, rows["pck@0.05", "<0.5"].value) == (0.0, 1.0)
    # The pose as a whole is aligned: the joint that is off pulls all others along.
    still, moved = motion[0, 40], motion[0, 41:50]
    aligned_mm = aligned_joint_errors(np.broadcast_to(still, moved.shape), moved) * 1000
    for group in ("wrists", "knees"):
        assert rows["p_mpjpe", group].value == pytest.approx(aligned_mm[:, JOINT_GROUPS[group]].mean())
    assert rows["p_mpjpe", "knees"].value > 5
    # Nobody speeds up here; with 1 mm a frame squared one of the knees does.
    assert rows["accel_error", "knees"].value == pytest.approx(0, abs=1e-6)
    motion[0, :, CORE_17.index("left_knee"), 0] += 0.0005 * np.arange(CONFIG.seq_len) ** 2
    knee = _rows_of_hold_now(motion)["accel_error", "knees"]
    assert (knee.value, knee.unit) == (pytest.approx(0.5), "mm/frame^2")


def test_of_the_parts_the_network_stays_and_the_best_simple_pck():
    rows = [
        _row("now", NETWORK, 0.5, "pck@0.1", group="head"),
        _row("now", "hold", 0.4, "pck@0.1", group="head"),
        _row("now", "kalman", 0.6, "pck@0.1", group="head"),
        _row("now", "ridge", 0.9, "pck@0.1", group="head"),
        _row("now", NETWORK, 0.2, group="head"),
        _row("now", "hold", 0.1, group="head"),
        _row("now", "hold", 0.7, "pck@0.1", band=">4"),
    ]
    detail = detail_rows(rows)
    assert [(row.method, row.metric, row.group or row.band) for row in detail] == [
        (NETWORK, "pck@0.1", "head"),
        ("kalman", "pck@0.1", "head"),
        (NETWORK, "mpjpe", "head"),
        ("hold", "pck@0.1", ">4"),
    ]
    lines = report.detail_table(Evaluation("t", [], detail), ["pck@0.1"]).splitlines()
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["now", "clean", "network", "0.500"],
        ["now", "clean", "best", "simple"],
    ]
    assert lines[1].startswith("PCK@0.1 by joints and speed")
    assert lines[3].split()[4] == "0.600"


def test_a_method_without_an_answer_for_one_joint_is_not_flattered_by_the_mean_of_the_others():
    def blind(keyframes: np.ndarray, interval: int, steps: np.ndarray) -> np.ndarray:
        poses = hold(keyframes, interval, steps)
        poses[..., 5, :] = np.nan
        return poses

    with pytest.raises(ValueError, match="linear and network were not judged on the same joints of 'filled'"):
        score_windows(Scores(), CASE, MODEL, _windows(_motion(1)), {"linear": blind})


def test_a_joint_whose_speed_is_not_known_is_in_no_band():
    truth = _motion(1)
    truth[:, 30:] = np.nan
    speed = joint_speed(truth, 30.0)
    assert np.isnan(speed[:, 29:]).all()
    parts = {next(iter(part.values())): e["m"] for part, e in breakdown({"m": np.ones((1, 69, 17))}, speed)}
    assert sum(np.isfinite(parts[band]).sum() for band in SPEED_BANDS) == 29 * 17


def _linear_map(seed: int) -> tuple[np.ndarray, RidgeSums]:
    """Motion that is a linear map of the keyframes, and the sums from which a fit finds it."""
    rng = np.random.default_rng(seed)
    config = replace(CONFIG, joint_dim=51)
    size = config.num_keyframes * config.joint_dim
    true = rng.normal(size=(size + 1, config.seq_len * 51))
    x = np.append(rng.normal(size=(2000, size)), np.ones((2000, 1)), axis=1)
    sums = RidgeSums(
        inputs=x.T @ x / 2000, outputs=x.T @ (x @ true) / 2000, config=config, normalisation="none", min_scale=0.0
    )
    return true, sums


def test_ridge_finds_a_linear_map_and_shrinks_with_its_strength():
    true, sums = _linear_map(0)
    np.testing.assert_allclose(sums.fit(1e-12).weights, true, atol=1e-6)
    mild, strong = (np.square(sums.fit(strength).weights[:-1]).sum() for strength in (0.1, 10.0))
    assert strong < 0.1 * mild < 0.1 * np.square(true[:-1]).sum()


def test_ridge_answers_like_any_method():
    true, sums = _linear_map(1)
    ridge = Ridge(weights=true, config=sums.config, normalisation="root", min_scale=0.0)
    keyframes = np.random.default_rng(2).normal(size=(3, 5, 17, 3))
    steps = np.array([0.0, 3.5, 40.0, 68.0, 69.0])
    poses = ridge(keyframes, 10, steps)
    assert np.isfinite(poses[:, :4]).all()
    assert np.isnan(poses[:, 4]).all()
    # Where the person stands does not matter.
    np.testing.assert_allclose(ridge(keyframes + 7.0, 10, steps)[:, :4], poses[:, :4] + 7.0, atol=1e-6)
    # Fewer keyframes: the oldest is repeated, and steps count from it.
    padded = np.concatenate([keyframes[:, 2:3], keyframes[:, 2:3], keyframes[:, 2:]], axis=1)
    np.testing.assert_allclose(ridge(keyframes[:, 2:], 10, np.array([20.0])), ridge(padded, 10, np.array([40.0])))
    with pytest.raises(ValueError, match="fitted for keyframes 10 steps apart, found 5"):
        ridge(keyframes, 5, steps)


def test_the_ridge_of_a_checkout_is_the_fit_and_is_for_its_kind_of_network_only(tmp_path, monkeypatch):
    _, sums = _linear_map(3)
    fitted = replace(sums, normalisation="root").fit(0.01)
    folder = tmp_path / RIDGE_FOLDER
    folder.mkdir(parents=True)
    save_ridge(folder / "world-n10.npz", fitted)
    monkeypatch.setattr(evaluate_ridge, "CHECKOUT", tmp_path)
    ridge = checkout_ridge(untrained_model("world"))
    assert ridge is not None
    keyframes, steps = np.random.default_rng(2).normal(size=(3, 5, 17, 3)), np.arange(69)
    poses, expected = ridge(keyframes, 10, steps), fitted(keyframes, 10, steps)
    assert np.abs(poses - expected).max() < 0.01 * np.abs(expected).max()
    assert checkout_ridge(untrained_model("image")) is None
    assert checkout_ridge(untrained_model("world", 5)) is None
    save_ridge(folder / "world-n10.npz", replace(fitted, normalisation="none"))
    assert checkout_ridge(untrained_model("world")) is None


def test_the_checkout_has_a_ridge_for_every_spacing_of_the_shipped_weights():
    for space in ("image", "world"):
        for every in (5, 10, 15):
            ridge = checkout_ridge(untrained_model(space, every))
            assert ridge is not None
            # Somebody who stands still is expected to go on standing still.
            pose = standing_pose(size_px=100.0)[list(CORE_FROM_BLAZEPOSE)]
            if space == "world":
                pose = np.concatenate([pose, np.zeros((17, 1))], axis=1) / 200
            torso = np.linalg.norm(pose[1] - pose[9])
            offset = ridge(np.tile(pose, (1, 5, 1, 1)), every, np.arange(ridge.config.seq_len)) - pose
            assert np.linalg.norm(offset, axis=-1).mean() < 0.25 * torso


def _row(question: str, method: str, value: float, metric: str = "mpjpe", **more: object) -> Row:
    row = Row(
        data="a.npz",
        model="m",
        question=question,
        target="clean",
        method=method,
        horizon_ms=400 if question == "ahead" else None,
        metric=metric,
        unit="torso",
        value=value,
        interval=None,
        poses=9,
        clips=9,
    )
    return replace(row, **more)  # type: ignore[arg-type]


def test_the_summary_has_a_line_a_question_and_a_column_a_file():
    rows = [
        _row("filled", NETWORK, 0.9, "mpjpe_ratio", over="cubic", interval=(0.85, 0.95)),
        _row("filled", NETWORK, 0.8, "accel_error_ratio_linear", over="linear"),
        _row("ahead", NETWORK, 0.7, "mpjpe_ratio_ridge", over="ridge"),
    ]
    other = [replace(rows[0], data="b.npz", value=0.5, interval=None)]
    lines = [
        line.split("  ") for line in report.ratio_summary([Evaluation("t", rows), Evaluation("t", other)]).splitlines()
    ]
    table = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert table == [
        ["network's error, divided by", "m, a.npz", "m, b.npz"],
        ["filled, clean: best simple", "0.900 (0.850-0.950)", "0.500"],
        ["ahead 400 ms, clean: ridge", "0.700", "-"],
        ["filled, clean, accel: linear", "0.800", "-"],
    ]


def test_the_detail_table_shows_error_and_ratio_of_every_part():
    detail = [_row("now", NETWORK, 0.25, group="wrists"), _row("now", NETWORK, 0.75, "mpjpe_ratio", group="wrists")]
    text = report.detail_table(Evaluation("t", [], detail))
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["now", "now"]
    assert "0.250" in text.splitlines()[2]
    assert "0.750" in text.splitlines()[3]
    assert report.detail_table(Evaluation("t", [])) == ""


def _video_results(
    model: str, calls_hz: float, errors: dict[str, float], rates_hz: Sequence[float] = (30.0, 30.0)
) -> tuple[Evaluation, list[Evaluation]]:
    """All together and each by itself. The network has these errors, and simple methods have twice as much."""
    shares = ((NETWORK, 1), ("linear", 2), ("hold", 2))

    def rows(name: str, error: float) -> list[Row]:
        clips = len(errors) if name == "videos" else 1
        about = {"target": "dense", "data": name, "model": model, "clips": clips}
        return [_row(q, m, n * error, **about) for q in ("filled", "now", "ahead") for m, n in shares]

    cost = Cost(calls_hz=calls_hz, dense_calls_hz=float(np.mean(rates_hz)), filled_lag_s=1 / calls_hz)
    together = Evaluation("t", rows("videos", float(np.mean(list(errors.values())))), cost=cost)
    each = [
        Evaluation(name, rows(name, error), cost=replace(cost, dense_calls_hz=rate_hz))
        for (name, error), rate_hz in zip(errors.items(), rates_hz, strict=True)
    ]
    return together, each


def test_videos_are_drawn_against_lag_and_compute(tmp_path):
    (often, each), (seldom, each_seldom) = (_video_results(f"m{hz:g}", hz, {"a": 0.1, "b": 0.3}) for hz in (6.0, 3.0))
    save_error_plot(tmp_path / "videos.png", [often, seldom], [*each, *each_seldom])
    save_error_plot(tmp_path / "mocap.png", [replace(often, cost=None), replace(seldom, cost=None)])
    widths = [int.from_bytes((tmp_path / name).read_bytes()[16:20], "big") for name in ("videos.png", "mocap.png")]
    # Two panels against horizon; two more where there are videos.
    assert widths[0] == pytest.approx(2 * widths[1], abs=3)


def test_accuracy_against_lag_is_of_the_videos_that_all_models_were_judged_on():
    often, each = _video_results("m6", 6.0, {"a": 0.1, "b": 0.3, "short": 0.9}, (10.0, 30.0, 60.0))
    seldom, each_seldom = _video_results("m3", 3.0, {"a": 0.2, "b": 0.4}, (10.0, 30.0))
    shared = on_shared_videos([often, seldom], [*each, *each_seldom])
    values = [{row.method: row.value for row in result.rows if row.question == "now"} for result in shared]
    assert values[0] == pytest.approx({NETWORK: 0.2, "linear": 0.4, "hold": 0.4})
    assert values[1] == pytest.approx({NETWORK: 0.3, "linear": 0.6, "hold": 0.6})
    assert len(values) == 2
    assert {row.clips for result in shared for row in result.rows} == {2}
    # The rate of calls on every frame leaves the third video out, too.
    assert [result.cost.dense_calls_hz for result in shared if result.cost] == [20.0, 20.0]


def test_a_curve_ends_where_half_of_the_clips_are_over():
    lasting = ((80, 6), (100, 6), (320, 5), (400, 2), (600, 2))
    rows = [_row("ahead", NETWORK, 0.1, horizon_ms=ms, clips=clips) for ms, clips in reversed(lasting)]
    stretches = [[row.horizon_ms for row in stretch] for stretch in clip_stretches(rows)]
    assert stretches == [[80, 100, 320], [400, 600]]
