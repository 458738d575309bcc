"""The simulated estimator against the measured table that it stands for, whose numbers are repeated here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.noise import STEADY, STEPS, standing, unit

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.estimator_noise import JOINT_NOISE, EstimatorNoise, add_accidents, errors
from mixsynth_stream.data.mocap import DEFAULT_DATA, load_clips
from mixsynth_stream.data.windows import validation_windows
from mixsynth_stream.evaluate.breakdown import joint_speed
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.normalise import root_of, scale_of
from mixsynth_stream.skeleton import CORE_17

# MediaPipe on every frame against motion capture, in torso lengths: mean absolute bias, std x and y of the rest,
# frame-to-frame std x and y, autocorrelation over 33, 100, 333 and 1000 ms.
MEASURED = {
    "shoulder": ((0.04, 0.05), (0.068, 0.055), (0.008, 0.008), (0.98, 0.94, 0.80, 0.59)),
    "elbow": ((0.03, 0.03), (0.080, 0.077), (0.017, 0.017), (0.95, 0.83, 0.58, 0.36)),
    "wrist": ((0.03, 0.03), (0.097, 0.100), (0.032, 0.032), (0.88, 0.71, 0.43, 0.25)),
    "hip": ((0.02, 0.02), (0.058, 0.058), (0.007, 0.007), (0.99, 0.94, 0.82, 0.63)),
    "knee": ((0.02, 0.03), (0.058, 0.062), (0.018, 0.010), (0.94, 0.83, 0.66, 0.53)),
    "ankle": ((0.02, 0.02), (0.077, 0.057), (0.039, 0.014), (0.80, 0.64, 0.44, 0.34)),
}
WORLD_STD_CM = {
    "shoulder": (4.6, 3.2, 6.4),
    "elbow": (6, 5, 9.6),
    "wrist": (7.3, 5.4, 14.7),
    "knee": (4.2, 2.8, 7.6),
    "ankle": (6.8, 4.3, 11),
}
TORSO_PX = 200.0


@pytest.fixture(scope="module")
def image_errors() -> tuple[np.ndarray, np.ndarray]:
    slow, fast = errors(np.random.default_rng(0), STEADY, standing(1500, 2), unit(1500, TORSO_PX))
    return slow / TORSO_PX, fast / TORSO_PX


@pytest.mark.parametrize("part", MEASURED)
def test_sizes_are_as_measured(image_errors: tuple[np.ndarray, np.ndarray], part: str) -> None:
    slow, fast = (error[:, :, CORE_17.index(f"left_{part}")] for error in image_errors)
    bias, std, frame_to_frame, _ = MEASURED[part]
    np.testing.assert_allclose(fast.std(axis=(0, 1)), frame_to_frame, rtol=0.05)
    # Bias and the rest cannot be told apart in a short window, their sum can: variances add.
    expected = np.sqrt((np.array(bias) * 1.25) ** 2 + np.square(std))
    np.testing.assert_allclose((slow + fast).std(axis=(0, 1)), expected, rtol=0.06)


@pytest.mark.parametrize("part", MEASURED)
def test_slow_error_stays_as_long_as_measured(image_errors: tuple[np.ndarray, np.ndarray], part: str) -> None:
    slow, fast = (error[:, :, CORE_17.index(f"left_{part}"), 1] for error in image_errors)
    bias, std, _, measured = MEASURED[part]
    total = slow + fast
    bias_variance = (1.25 * bias[1]) ** 2

    def correlation(lag: int) -> float:
        return float(((total[:, lag:] * total[:, :-lag]).mean() - bias_variance) / std[1] ** 2)

    correlations = [correlation(lag) for lag in (1, 10, 30)]
    # A smooth process is fitted to it: within a quarter of the measured value at 333 ms and 1 s.
    np.testing.assert_allclose(correlations[1:], measured[2:], atol=0.25)
    assert correlations[0] > measured[0] - 0.1


def test_fast_error_is_new_in_every_estimate(image_errors: tuple[np.ndarray, np.ndarray]) -> None:
    fast = image_errors[1]
    assert abs(float((fast[:, 1:] * fast[:, :-1]).mean() / fast.var())) < 0.02


def test_the_mean_joint_moves_its_limb(image_errors: tuple[np.ndarray, np.ndarray]) -> None:
    """Errors of neighbours go together, those of far limbs hardly."""
    slow = image_errors[0][:, 50, :, 0]

    def together(a: str, b: str) -> float:
        return float(np.corrcoef(slow[:, CORE_17.index(a)], slow[:, CORE_17.index(b)])[0, 1])

    assert together("left_wrist", "left_index") > 0.7
    assert together("left_wrist", "left_elbow") > 0.4
    assert abs(together("left_wrist", "right_ankle")) < 0.2


@pytest.mark.parametrize("part", WORLD_STD_CM)
def test_world_errors_are_as_measured_and_depth_is_worst(part: str) -> None:
    noise = replace(STEADY, fast_scale=1.0)
    slow, fast = errors(np.random.default_rng(0), noise, standing(1500, 3), unit(1500, 0.5))
    total = 100 * (slow + fast)[:, :, CORE_17.index(f"left_{part}")]
    within = total - total.mean(axis=1, keepdims=True)
    # The bias takes out all error that is constant over 3.3 s, so the rest is smaller than measured over minutes.
    assert (within.std(axis=(0, 1)) < 1.15 * np.array(WORLD_STD_CM[part])).all()
    assert (total.std(axis=(0, 1)) > 0.9 * np.array(WORLD_STD_CM[part])).all()
    assert total[..., 2].std() > 1.3 * max(total[..., 0].std(), total[..., 1].std())
    np.testing.assert_allclose(root_of(slow), 0, atol=1e-5)


def test_errors_scale_with_the_person_and_grow_with_speed() -> None:
    noise = replace(STEADY, speed_growth=0.18)
    still = standing(200, 2)
    small = errors(np.random.default_rng(1), noise, still, unit(200, 50.0))
    large = errors(np.random.default_rng(1), noise, still, unit(200, 200.0))
    np.testing.assert_allclose(large[0], 4 * small[0], rtol=1e-3, atol=1e-3)
    moving = still + 2 * 200 * (np.arange(STEPS, dtype=np.float32) / 30)[None, :, None, None]
    faster = errors(np.random.default_rng(1), noise, moving, unit(200, 200.0))
    # Measured medians: .052 below half a torso a second, .080 at 2-4.
    assert 1.3 < faster[0].std() / large[0].std() < 1.8
    assert 1.3 < faster[1].std() / large[1].std() < 1.8


def test_accidents_happen_as_often_as_they_are_asked_to() -> None:
    keyframes = np.broadcast_to(standing(4000, 2)[:, :5] * 100, (4000, 5, 17, 2))
    only_jumps = replace(STEADY, outlier=0.02, swap=0.0)
    moved = (add_accidents(np.random.default_rng(0), only_jumps, keyframes, unit(4000, 50.0)) != keyframes).any(-1)
    assert moved.mean() == pytest.approx(0.02, rel=0.1)
    only_swaps = replace(STEADY, outlier=0.0, swap=0.05)
    swapped = add_accidents(np.random.default_rng(0), only_swaps, keyframes, unit(4000, 50.0))
    arm, leg, nose = (CORE_17.index(name) for name in ("left_wrist", "left_knee", "nose"))
    right_arm = CORE_17.index("right_wrist")
    arms = (swapped[:, :, arm] == keyframes[:, :, right_arm]).all(-1)
    assert arms.mean() == pytest.approx(0.05, rel=0.2)
    assert (swapped[:, :, leg] != keyframes[:, :, leg]).any()
    np.testing.assert_array_equal(swapped[:, :, nose], keyframes[:, :, nose])
    quiet = STEADY.without_accidents()
    np.testing.assert_array_equal(
        add_accidents(np.random.default_rng(0), quiet, keyframes, unit(4000, 50.0)), keyframes
    )


def test_somebody_else_stays_for_a_while_at_the_same_size_and_aside() -> None:
    """Window b is a person who keeps the pose of number b, at the place of number b."""
    rng = np.random.default_rng(2)
    poses, place = rng.normal(0, 50, (3000, 1, 17, 2)), rng.uniform(0, 1000, (3000, 1, 1, 2))
    keyframes = np.repeat(poses - root_of(poses)[..., None, :] + place, 5, axis=1).astype(np.float32)
    sizes = rng.uniform(20, 80, (3000, 1, 1, 1)).astype(np.float32)
    noise = replace(STEADY.without_accidents(), wrong_person=0.2)
    estimates = add_accidents(np.random.default_rng(0), noise, keyframes, sizes)
    wrong = (estimates != keyframes).any(axis=(2, 3))  # [B, Q+1]
    assert wrong.any(axis=1).mean() == pytest.approx(0.2, rel=0.1)
    assert 1.2 < wrong.sum(axis=1)[wrong.any(axis=1)].mean() < 1.6
    # One spell a window: it starts once.
    assert (np.diff(np.c_[np.zeros(3000), wrong].astype(int), axis=1) == 1).sum(axis=1).max() == 1
    window, slot = np.argwhere(wrong)[7]
    centred = estimates[window, slot] - root_of(estimates[window, slot])
    other = (poses - root_of(poses)[..., None, :])[window - 1, 0] * sizes[window, 0] / sizes[window - 1, 0]
    np.testing.assert_allclose(centred, other, atol=1e-2)
    distance = np.linalg.norm(root_of(estimates) - root_of(keyframes), axis=-1)[wrong]
    assert np.median(distance / sizes[np.nonzero(wrong)[0], 0, 0, 0]) == pytest.approx(2.0 * 1.177, rel=0.15)
    world = add_accidents(
        np.random.default_rng(0), noise, standing(50, 3)[:, :5] * np.ones((50, 1, 1, 1)), unit(50, 0.5)
    )
    np.testing.assert_allclose(root_of(world), root_of(standing(50, 3)[:, :5]), atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_modes_that_training_leaves_out_do_not_show(dims: int) -> None:
    size, statistics = unit(400, 1.0), []
    for left_out in (0.0, 1e-5):
        slow, _ = errors(np.random.default_rng(0), replace(STEADY, left_out=left_out), standing(400, dims), size)
        velocity, acceleration = np.diff(slow, axis=1), np.diff(slow, 2, axis=1)
        covariances = [(slow[:, lag:] * slow[:, :-lag]).mean() for lag in (1, 10, 30)]
        statistics.append([slow.std(), velocity.std(), acceleration.std(), *covariances])
    np.testing.assert_allclose(statistics[1], statistics[0], rtol=0.06)


def test_looking_at_keyframes_only_sees_the_same_errors() -> None:
    size, grid = unit(600, 200.0), slice(0, 51, 10)
    moving = standing(600, 2) + np.float32(40) * np.sin(np.arange(100, dtype=np.float32) / 9)[:, None, None]
    slow, fast = errors(np.random.default_rng(0), STEADY, moving, size)
    slow_again, fast_on_grid = errors(np.random.default_rng(0), STEADY, moving, size, grid)
    assert fast_on_grid.shape == (600, 6, 17, 2)
    np.testing.assert_allclose(fast_on_grid.std(axis=0), fast[:, grid].std(axis=0), rtol=0.25)
    np.testing.assert_allclose(slow_again.std(axis=(0, 1)), slow.std(axis=(0, 1)), rtol=1e-3)


# The estimator with all its parameters, on recorded motion, against the measured table. P: error above 0.3 torsos.
AS_TRAINED_P = {"shoulder": 0.007, "elbow": 0.020, "wrist": 0.036, "hip": 0.005, "knee": 0.005, "ankle": 0.012}
SPEEDS = ((0, 0.5), (0.5, 1), (1, 2), (2, 4), (4, 8))  # torso lengths a second
P90 = (0.117, 0.132, 0.148, 0.205, 0.245)
Recorded = dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def on_recorded_motion() -> Recorded:
    """By dimensions: errors without the constant bias, their fast part, and the joints' speed in torsos a second."""
    clips = [clip for name in DEFAULT_DATA for clip in load_clips(CHECKOUT / name)]
    config = ModelConfig(sample_interval=10, step=5, joint_dim=34, emb_dim=8, num_encoder_layers=1, horizon=0)
    table = {name: replace(row, bias=(0, 0), world_bias_m=(0, 0, 0)) for name, row in JOINT_NOISE.items()}
    errors_of = {}
    for dims, space in ((2, "image"), (3, "world")):
        clean = validation_windows(clips, config, space, stride=20).clean
        size = np.median(scale_of(clean), axis=1)[:, None, None, None].astype(np.float32)
        slow, fast = errors(np.random.default_rng(0), EstimatorNoise(joints=table), clean, size)
        metre = size if dims == 2 else np.float32(1)
        errors_of[dims] = (slow + fast) / metre, fast / metre, joint_speed(clean, 30.0)
    return errors_of


@pytest.mark.parametrize("part", MEASURED)
def test_as_trained_each_joint_is_near_its_row(on_recorded_motion: Recorded, part: str) -> None:
    """Still joints have smaller errors and fast ones larger, so the table is met up to how this motion is mixed.

    The frame-to-frame part is the table's for joints that move (EstimatorNoise.still_share).
    """
    error, fast, speed = (values[:, :, CORE_17.index(f"left_{part}")] for values in on_recorded_motion[2])
    moving = (speed > 1) & (speed < 2)
    _, std, frame_to_frame, autocorrelation = MEASURED[part]
    assert (np.abs(np.log(error.std(axis=(0, 1)) / std)) < np.log(1.6)).all()
    assert (np.abs(np.log(fast[moving].std(axis=0) / frame_to_frame)) < np.log(1.6)).all()
    correlations = [(error[:, lag:] * error[:, :-lag]).mean() / np.square(error).mean() for lag in (1, 3, 10, 30)]
    np.testing.assert_allclose(correlations, autocorrelation, atol=0.25)
    assert 0.3 < (np.linalg.norm(error, axis=-1) > 0.3).mean() / AS_TRAINED_P[part] < 3


def test_as_trained_errors_grow_with_speed_as_measured(on_recorded_motion: Recorded) -> None:
    limbs = [CORE_17.index(f"{side}_{part}") for side in ("left", "right") for part in MEASURED]
    error, speed = np.linalg.norm(on_recorded_motion[2][0], axis=-1)[..., limbs], on_recorded_motion[2][2][..., limbs]
    percentiles = [np.percentile(error[(speed >= low) & (speed < high)], 90) for low, high in SPEEDS]
    assert percentiles == sorted(percentiles)
    np.testing.assert_allclose(percentiles, P90, rtol=0.5)


@pytest.mark.parametrize("part", ["shoulder", "elbow", "wrist", "knee", "ankle"])
def test_as_trained_metres_are_near_their_row_and_depth_is_worst(on_recorded_motion: Recorded, part: str) -> None:
    std_cm = 100 * on_recorded_motion[3][0][:, :, CORE_17.index(f"left_{part}")].std(axis=(0, 1))
    assert (np.abs(np.log(std_cm / WORLD_STD_CM[part])) < np.log(1.7)).all()
    assert std_cm[2] == std_cm.max()
