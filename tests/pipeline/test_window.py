"""MotionWindow: poses between and past keyframes, unseen joints and people, odd spacings, several windows at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fakes import CatmullRom, standing_pose

from mixsynth_stream.errors import ModelError
from mixsynth_stream.interpolation import catmull_rom_matrix
from mixsynth_stream.normalise import NORMALISATIONS, root_and_scale, root_and_scale_of_one
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.window import MotionWindow, push_all
from mixsynth_stream.weights import load_model

SCORES = np.full(33, 0.8)
PERIOD_S = 1 / 3


def walking(time_s: float, speed_px_s: float = 90.0) -> np.ndarray:  # -> [33, 2]
    return standing_pose(x_px=200 + speed_px_s * time_s)


def pushed(count: int, step: int = 4, **kwargs: int) -> MotionWindow:
    window = MotionWindow(CatmullRom(step=step, **kwargs))
    for k in range(count):
        window.push(walking(k * PERIOD_S), SCORES, k * PERIOD_S)
    return window


def test_network_runs_once_a_keyframe():
    model = CatmullRom()
    window = MotionWindow(model)
    for k in range(6):
        window.push(walking(k * PERIOD_S), SCORES, k * PERIOD_S)
        window.at([k * PERIOD_S, k * PERIOD_S + 0.1])
    assert model.batches == [1] * 5  # the first keyframe alone is held, not fed


def test_steady_motion_is_followed_exactly_between_keyframes():
    window = pushed(6)
    times = np.linspace(1.0, 5 * PERIOD_S, 23)
    expected = np.array([walking(t) for t in times])
    np.testing.assert_allclose(window.at(times).poses, expected, atol=1e-3)


def test_grid_steps_are_the_matrix_rows():
    rng = np.random.default_rng(0)
    keyframes = [standing_pose() + rng.normal(0, 20, (33, 2)) for _ in range(5)]
    window = MotionWindow(CatmullRom())
    for k, pose in enumerate(keyframes):
        window.push(pose, SCORES, k * PERIOD_S)
    rows = np.einsum("tq,qjd->tjd", catmull_rom_matrix(10, 4, 28), np.array(keyframes))
    core = [0, 11, 12, 23, 31]
    np.testing.assert_allclose(window.at(np.arange(69) / 30).poses[:, core], rows[:, core], atol=1e-2)


def test_every_pose_says_where_it_comes_from():
    window = pushed(6)
    newest = 5 * PERIOD_S
    times = [-0.1, newest - 0.1, newest, newest + 0.1, newest + 28 / 30, newest + 29 / 30]
    origins = window.at(times).origin[:, 0].tolist()
    assert origins == [Origin.MISSING, Origin.FILLED, Origin.MEASURED, Origin.FORECAST, Origin.FORECAST, Origin.HELD]


def test_missing_is_nan_and_scores_zero():
    result = pushed(3).at([-1.0])
    assert np.isnan(result.poses).all() and (result.scores == 0).all()


def test_empty_window_and_first_keyframe():
    window = MotionWindow(CatmullRom())
    assert (window.at([0.0]).origin == Origin.MISSING).all()
    window.push(walking(0), SCORES, 0.0)
    result = window.at([0.0, 0.2])
    assert result.origin[:, 0].tolist() == [Origin.MEASURED, Origin.HELD]
    np.testing.assert_array_equal(result.poses[1], walking(0))


def test_second_keyframe_already_fills_the_gap():
    result = pushed(2).at([0.5 * PERIOD_S])
    assert (result.origin == Origin.FILLED).all()
    assert walking(0)[0, 0] < result.poses[0, 0, 0] < walking(PERIOD_S)[0, 0]


def test_missed_keyframe_takes_the_prediction():
    window = pushed(6)
    before = window.at([6 * PERIOD_S]).poses
    window.push(None, None, 6 * PERIOD_S)
    np.testing.assert_array_equal(window.at([6 * PERIOD_S]).poses, before)
    assert (window.at([6 * PERIOD_S]).origin == Origin.FORECAST).all()
    window.push(walking(7 * PERIOD_S), SCORES, 7 * PERIOD_S)
    result = window.at([6 * PERIOD_S, 7 * PERIOD_S])
    assert result.origin[:, 0].tolist() == [Origin.FILLED, Origin.MEASURED]
    np.testing.assert_allclose(result.poses[0], before[0], atol=0.05)


def test_joint_that_was_not_seen_is_predicted_and_marked():
    window = pushed(6)
    pose = walking(6 * PERIOD_S)
    pose[15] = np.nan
    window.push(pose, SCORES, 6 * PERIOD_S)
    result = window.at([6 * PERIOD_S])
    assert result.origin[0, 15] == Origin.FORECAST and result.origin[0, 16] == Origin.MEASURED
    assert np.abs(result.poses[0, 15] - walking(6 * PERIOD_S)[15]).max() < 20


def test_joint_never_seen_is_missing_and_harmless():
    window = MotionWindow(CatmullRom())
    for k in range(5):
        pose = walking(k * PERIOD_S)
        pose[27] = np.nan
        window.push(pose, SCORES, k * PERIOD_S)
    result = window.at([4 * PERIOD_S])
    assert result.origin[0, 27] == Origin.MISSING and np.isnan(result.poses[0, 27]).all()
    window.push(walking(5 * PERIOD_S), SCORES, 5 * PERIOD_S)
    after = window.at([5 * PERIOD_S, 5 * PERIOD_S + 0.1])
    assert after.origin[:, 27].tolist() == [Origin.MEASURED, Origin.FORECAST]
    assert np.abs(after.poses[1, 27] - walking(5 * PERIOD_S)[27]).max() < 20


def test_carried_landmark_keeps_its_offset():
    window = pushed(6)
    heel, ankle = 29, 27
    offset = walking(0)[heel] - walking(0)[ankle]
    poses = window.at(np.linspace(1, 2.4, 9)).poses
    np.testing.assert_allclose(poses[:, heel] - poses[:, ankle], np.tile(offset, (9, 1)), atol=1e-6)


def test_an_off_grid_last_keyframe_does_not_bend_the_motion():
    # 0.1 s after a keyframe instead of 0.333 s: taken at face value the person would seem to brake to a third.
    window = pushed(6)
    last = 5 * PERIOD_S + 0.1
    window.push(walking(last), SCORES, last)
    times = np.array([5 * PERIOD_S, 5 * PERIOD_S + 0.05, last, last + 0.05])
    result = window.at(times)
    np.testing.assert_allclose(result.poses, [walking(t) for t in times], atol=2.0)
    assert result.origin[:, 0].tolist() == [Origin.MEASURED, Origin.FILLED, Origin.MEASURED, Origin.FORECAST]


def test_an_off_grid_keyframe_leaves_no_kink():
    rng = np.random.default_rng(3)
    window = MotionWindow(CatmullRom())
    for k in range(6):
        window.push(standing_pose() + rng.normal(0, 30, (33, 2)), SCORES, k * PERIOD_S)
    newest = 5 * PERIOD_S
    before = window.at([newest - 1e-4, newest]).poses
    window.push(standing_pose() + rng.normal(0, 30, (33, 2)), SCORES, newest + 0.2)
    after = window.at([newest, newest + 1e-4, newest + 0.2]).poses
    np.testing.assert_allclose(after[0], before[1], atol=1e-9)
    np.testing.assert_allclose(after[1], before[0], atol=0.2)


def circling(time_s: float) -> np.ndarray:  # -> [33, 2]
    return standing_pose(x_px=200 + 60 * np.sin(3 * time_s)) + np.array([0, 40 * np.cos(3 * time_s)])


def test_keyframes_at_any_distance_follow_a_curved_path():
    rng = np.random.default_rng(0)
    window = MotionWindow(CatmullRom())
    times = np.cumsum(rng.uniform(0.1, 0.5, 40))
    curved, straight = [], []
    for k, time_s in enumerate(times):
        window.push(circling(time_s), SCORES, time_s)
        if k < 5:
            continue
        between = np.linspace(times[k - 1], time_s, 7)[1:-1]
        truth = np.array([circling(t) for t in between])
        share = np.linspace(0, 1, 7)[1:-1, None, None]
        line = (1 - share) * circling(times[k - 1]) + share * circling(time_s)
        curved.append(np.abs(window.at(between).poses - truth).mean())
        straight.append(np.abs(line - truth).mean())
    # Slots on a straight line since the keyframe before would give 0.63.
    assert np.mean(curved) < 0.61 * np.mean(straight)


def test_slow_source_forecasts_at_true_speed():
    window = MotionWindow(CatmullRom())
    for k in range(6):
        window.push(walking(float(k)), SCORES, float(k))
    ahead = window.at([5.1]).poses[0] - walking(5.0)
    assert 4 < ahead[:, 0].mean() < 9.5  # 90 px/s, damped


@settings(max_examples=60, deadline=None)
@given(
    normalisation=st.sampled_from(NORMALISATIONS),
    shape=st.tuples(st.integers(1, 10), st.just(17), st.integers(2, 3)),
    size=st.sampled_from([0.0, 1e-3, 1.0, 500.0]),
    min_scale=st.sampled_from([0.0, 9.6]),
    seed=st.integers(0, 1000),
)
def test_one_window_is_normalised_as_in_training(normalisation, shape, size, min_scale, seed):
    keyframes = size * np.random.default_rng(seed).normal(1, 1, shape)
    root, scale = root_and_scale(keyframes, normalisation, min_scale)
    of_one = root_and_scale_of_one(keyframes, normalisation, min_scale)
    np.testing.assert_allclose(of_one[0], root[0, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(of_one[1], scale[0, 0, 0], rtol=1e-12)


def test_reset_restores_the_empty_window():
    fresh, used = MotionWindow(CatmullRom()), pushed(7)
    used.reset()
    for window in (fresh, used):
        for k in range(3):
            window.push(walking(k * PERIOD_S), SCORES, k * PERIOD_S)
    np.testing.assert_array_equal(fresh.at([0.5, 0.9]).poses, used.at([0.5, 0.9]).poses)


def test_a_curve_taken_earlier_is_not_changed_by_later_keyframes():
    window = pushed(5)
    curve = window.curve
    assert curve is not None
    before = curve.at([1.0, 1.5]).poses.copy()
    window.push(walking(5 * PERIOD_S), SCORES, 5 * PERIOD_S)
    np.testing.assert_array_equal(curve.at([1.0, 1.5]).poses, before)


@settings(max_examples=40, deadline=None)
@given(
    gaps=st.lists(st.floats(0.02, 2.0), min_size=1, max_size=12),
    missed=st.lists(st.booleans(), min_size=12, max_size=12),
    unseen=st.lists(st.sets(st.sampled_from([0, 15, 23, 27, 30]), max_size=4), min_size=13, max_size=13),
    seed=st.integers(0, 1000),
)
@example(  # an ankle that nobody has seen for longer than the window lasts, while its heel is seen
    gaps=[1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.25],
    missed=[False] * 4 + [True] * 2 + [False] * 6,
    unseen=[set()] * 7 + [{0, 15, 23, 27}, {15, 27, 30}] + [set()] * 4,
    seed=0,
)
def test_any_history_gives_finite_poses_near_the_person(gaps, missed, unseen, seed):
    rng = np.random.default_rng(seed)
    window = MotionWindow(CatmullRom())
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    for k, time_s in enumerate(times):
        pose = standing_pose() + rng.normal(0, 5, (33, 2))
        pose[list(unseen[k])] = np.nan
        window.push(None if k and missed[k - 1] else pose, SCORES, time_s)
    result = window.at(np.linspace(0, times[-1] + 1, 50))
    known = result.origin != Origin.MISSING
    assert (np.isfinite(result.poses).all(axis=-1) == known).all()
    assert np.abs(result.poses - standing_pose())[known].max() < 150


@pytest.mark.parametrize(
    ("pose", "scores", "time_s", "says"),
    [
        (np.zeros((17, 2)), None, 1.0, "pose must be"),
        (np.zeros((33, 3)), None, 1.0, "image space"),
        (np.zeros((33, 2)), np.zeros(17), 1.0, "scores must be"),
        (np.zeros((33, 2)), None, 0.0, "must increase"),
    ],
)
def test_bad_input_is_refused(pose, scores, time_s, says):
    window = pushed(1)
    with pytest.raises(ValueError, match=says):
        window.push(pose, scores, time_s)


def test_weights_for_another_skeleton_are_refused():
    model = CatmullRom()
    model.info.skeleton_joints = ("head", "hand")
    with pytest.raises(ModelError, match="17 joints"):
        MotionWindow(model)


class TestPushAll:
    def test_is_push_for_each_to_the_bit(self):
        """Two networks, somebody missed once, and a newcomer."""
        models = load_model("image-n10", "native"), load_model("world-n10", "native")
        alone, together = ([MotionWindow(models[w % 2]) for w in range(7)] for _ in range(2))
        rng = np.random.default_rng(0)
        for k in range(6):
            poses = [rng.normal(200, 50, (33, 2 + w % 2)) for w in range(7)]
            poses[2 if k == 3 else 6] = None
            times_s = [k * PERIOD_S + w / 100 for w in range(7)]
            for w, window in enumerate(alone):
                window.push(poses[w], SCORES, times_s[w])
            push_all(together, poses, [SCORES] * 7, times_s)
        for w in range(7):
            poses, expected = (windows[w].at(np.linspace(0.5, 2.5, 40)) for windows in (together, alone))
            for field in ("poses", "scores", "origin"):
                np.testing.assert_array_equal(getattr(poses, field), getattr(expected, field))

    def test_runs_each_network_once(self):
        cameras = CatmullRom(), CatmullRom(sample_interval=5)
        windows = [MotionWindow(model) for model in cameras for _ in range(4)]
        for k in range(3):
            push_all(windows, [walking(k * PERIOD_S)] * 8, [None] * 8, [k * PERIOD_S] * 8)
        assert [model.batches for model in cameras] == [[4, 4], [4, 4]]  # none at the first keyframe

    @pytest.mark.parametrize(
        ("pose", "time_s", "says"),
        [
            (np.zeros((17, 2)), 2 * PERIOD_S, r"pose must be \[33, 2\]"),
            (walking(0), 0.0, "must increase"),
            (np.full((33, 2), 1e30), 2 * PERIOD_S, "too large"),
        ],
        ids=["shape", "time", "the network"],
    )
    def test_what_is_refused_leaves_its_window_and_no_other(self, pose, time_s, says):
        model = CatmullRom()
        model.info.normalisation = "none"
        windows = [MotionWindow(_RefusingTheLarge(model)) for _ in range(3)]
        for k in range(2):
            push_all(windows, [walking(k * PERIOD_S)] * 3, [None] * 3, [k * PERIOD_S] * 3)
        before = windows[1].curve
        poses, times_s = [walking(2 * PERIOD_S)] * 3, [2 * PERIOD_S] * 3
        poses[1], times_s[1] = pose, time_s
        with pytest.raises(ValueError, match=says + r".* \(windows\[1\]; 2 of 3 keyframes were taken\)"):
            push_all(windows, poses, [None] * 3, times_s)
        assert windows[1].curve is before
        for w in (0, 2):
            assert (windows[w].at([2 * PERIOD_S]).origin == Origin.MEASURED).all()

    def test_lists_that_do_not_fit_are_refused(self):
        window = MotionWindow(CatmullRom())
        with pytest.raises(ValueError, match="as many, found 1, 2, 1 and 1"):
            push_all([window], [walking(0)] * 2, [None], [0.0])
        with pytest.raises(ValueError, match="one keyframe in a call, found one twice among 2"):
            push_all([window] * 2, [walking(0)] * 2, [None] * 2, [0.0, 0.0])
        assert window.curve is None


class _RefusingTheLarge:
    """As the native encoder does: a network that overflows on one window refuses the batch."""

    def __init__(self, model: CatmullRom) -> None:
        self.config, self.info, self.sigma_table, self.expect = model.config, model.info, None, model.expect
        self._model = model

    def __call__(self, keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        if np.abs(keyframes).max() > 1e18:
            raise ValueError("keyframes are too large")
        return self._model(keyframes)
