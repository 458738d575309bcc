"""Windows drawn from clips of motion capture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.walker import clip, person

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data import windows as windows_module
from mixsynth_stream.data.estimator_noise import EstimatorNoise
from mixsynth_stream.data.mocap import FILE_JOINTS
from mixsynth_stream.data.windows import WindowSampler, validation_windows
from mixsynth_stream.errors import SourceError
from mixsynth_stream.skeleton import CORE_17

CONFIG = ModelConfig(sample_interval=10, step=4, joint_dim=34, emb_dim=8, num_encoder_layers=1, horizon=28)
# Windows whose keyframes come at the network's spacing, with all joints.
REGULAR: dict[str, float] = {"irregular": 0.0, "partial": 0.0}
NO_NOISE = EstimatorNoise(slow_scale=0, fast_scale=0, outlier=0, swap=0, lost_chance=0)


@pytest.fixture
def as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows in which nobody stops and no limb makes gestures of its own."""
    monkeypatch.setattr(windows_module, "_STOP_SHARE", 0.0)
    monkeypatch.setattr(windows_module, "with_gestures", lambda rng, motion: motion)


@pytest.mark.parametrize("space", ["image", "world"])
def test_without_noise_keyframes_are_the_truth_at_their_steps(space: str) -> None:
    windows = validation_windows([clip(person(150))], CONFIG, space, noise=NO_NOISE)
    np.testing.assert_array_equal(windows.keyframes, windows.clean[:, : CONFIG.newest + 1 : 10])
    np.testing.assert_array_equal(windows.carried, windows.clean)
    assert windows.valid.all()
    assert windows.keyframes.shape[1:] == (5, 17, 2 if space == "image" else 3)


def test_validation_windows_are_the_same_for_the_same_seed() -> None:
    clips = [clip(person(150)), clip(person(130, speed=0.2))]
    first, again = (validation_windows(clips, CONFIG, "image", seed=3) for _ in range(2))
    other = validation_windows(clips, CONFIG, "image", seed=4)
    np.testing.assert_array_equal(first.keyframes, again.keyframes)
    assert np.abs(first.keyframes - other.keyframes).max() > 1
    assert list(np.unique(first.clip)) == [0, 1]


@pytest.mark.parametrize(
    ("space", "keyframe", "carried", "estimate"),
    [
        ("image", (41.9651, 60.2415), (46.2903, 122.1329), (110.6113, 51.3995)),
        ("world", (-0.173071, -0.172650, 0.042853), (-0.216545, 0.077769, 0.217691), (-0.085935, -0.000045, 0.020186)),
    ],
)
def test_published_figures_are_measured_on_these_windows(
    space: str, keyframe: tuple[float, ...], carried: tuple[float, ...], estimate: tuple[float, ...]
) -> None:
    """Other numbers mean that every table of errors has to be made anew."""
    windows = validation_windows([clip(person(150))], CONFIG, space, seed=3)
    assert windows.estimates is not None
    samples = windows.keyframes[-1, 2, 3], windows.carried[-1, 20, 5], windows.estimates[-1, 45, 9]
    for values, expected in zip(samples, (keyframe, carried, estimate), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=5e-4 if space == "image" else 2e-6)


def test_a_sampler_goes_on_from_a_kept_state() -> None:
    sampler, another = (WindowSampler([clip(person(400))], CONFIG, "image", seed=seed) for seed in (0, 1))
    sampler.draw(3)
    another.rng.bit_generator.state = sampler.rng.bit_generator.state
    first, second = sampler.draw(5), another.draw(5)
    for name in ("keyframes", "clean", "carried", "valid"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.usefixtures("as_recorded")
def test_windows_never_mix_two_clips() -> None:
    """Two clips that stand still at their own size: a mixed window would show two sizes."""
    small, large = (np.repeat(person(1) * size, 90, axis=0) for size in (0.8, 1.2))
    sampler = WindowSampler([clip(small), clip(large)], CONFIG, "world", seed=0, noise=NO_NOISE, **REGULAR)
    windows = sampler.draw(256)
    moved = np.ptp(windows.clean, axis=1).max(axis=(1, 2))
    assert moved.max() < 1e-4
    np.testing.assert_allclose(windows.keyframes, windows.clean[:, :41:10], atol=1e-4)


@pytest.mark.usefixtures("as_recorded")
def test_cold_starts_repeat_the_oldest_keyframe_and_say_what_is_valid() -> None:
    sampler = WindowSampler([clip(person(400))], CONFIG, "world", seed=0, noise=NO_NOISE, **REGULAR)
    windows = sampler.draw(600)
    same = np.abs(np.diff(windows.keyframes, axis=1)).max(axis=(2, 3)) < 1e-6  # [B, Q]
    first = np.argmin(np.c_[same, np.zeros(len(same), bool)], axis=1)
    assert 0.05 < (first > 0).mean() < 0.35
    assert first.max() == CONFIG.step - 1
    for oldest, valid in zip(first, windows.valid, strict=True):
        assert not valid[: oldest * 10].any()
        assert valid[oldest * 10 : CONFIG.newest + 1].all()


@pytest.mark.usefixtures("as_recorded")
def test_lost_keyframes_take_the_prediction_from_the_two_before() -> None:
    noise = replace(NO_NOISE, lost_chance=1.0)
    windows = WindowSampler([clip(person(400))], CONFIG, "world", seed=0, noise=noise, **REGULAR).draw(64)
    usual = WindowSampler([clip(person(400))], CONFIG, "world", seed=0, noise=NO_NOISE, **REGULAR).draw(64)
    full = windows.valid[:, 0]
    lost, usual_keyframes = windows.keyframes[full], usual.keyframes[full]
    np.testing.assert_array_equal(lost[:, :2], usual_keyframes[:, :2])
    travelled = 0.8 * (1 - np.exp(-10 / 8))
    np.testing.assert_allclose(lost[:, 2], lost[:, 1] + travelled * (lost[:, 1] - lost[:, 0]), atol=1e-5)
    assert np.abs(lost[:, 2] - usual_keyframes[:, 2]).max() > 0.05


def distance_of_a_hand_that_leaves_at_1_m_s() -> np.ndarray:
    """Metres in the 2 s of a full window."""
    positions = np.repeat(person(1), 400, axis=0)
    positions[:, FILE_JOINTS.index("lhand"), 0] += 1.0 * np.arange(400) / 30
    windows = WindowSampler([clip(positions)], CONFIG, "world", seed=1, noise=NO_NOISE, **REGULAR).draw(400)
    clean = windows.clean[windows.valid.all(axis=1)]
    hands = clean[:, :, [CORE_17.index("left_index"), CORE_17.index("right_index")]]
    return np.asarray(np.linalg.norm(hands[:, 68] - hands[:, 8], axis=-1).max(axis=-1))


@pytest.mark.usefixtures("as_recorded")
def test_half_of_the_sources_have_keyframes_up_to_a_frame_late() -> None:
    """A hand that leaves at a steady speed gets as far in every interval between keyframes that are on time."""
    positions = np.repeat(person(1), 400, axis=0)
    positions[:, FILE_JOINTS.index("lhand"), 0] += 1.0 * np.arange(400) / 30
    windows = WindowSampler([clip(positions)], CONFIG, "world", seed=1, noise=NO_NOISE, **REGULAR).draw(600)
    full = windows.keyframes[windows.valid.all(axis=1)]
    hands = full[:, :, [CORE_17.index("left_index"), CORE_17.index("right_index")]]
    step = np.linalg.norm(np.diff(hands, axis=1), axis=-1).max(axis=-1)
    off = np.abs(step / step.mean(axis=1, keepdims=True) - 1).max(axis=1)
    assert 0.4 < (off < 1e-3).mean() < 0.6
    # 1/24 s of 1/3 s, a whole frame of the slowest source, is the most that an interval can be off.
    assert 0.08 < off.max() < 0.15


@pytest.mark.usefixtures("as_recorded")
def test_slow_clips_are_played_at_half_to_three_times_their_tempo() -> None:
    low, high = np.percentile(distance_of_a_hand_that_leaves_at_1_m_s(), [2, 98])
    # 2 m as recorded, on bodies within a quarter of the recorded one.
    assert 0.75 < low < 1.3
    assert 4.0 < high < 7.5


def test_some_people_stop_or_start_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "with_gestures", lambda rng, motion: motion)
    distance = distance_of_a_hand_that_leaves_at_1_m_s()
    assert 0.03 < (distance < 0.6).mean() < 0.3


def test_a_recording_at_another_rate_gives_the_same_motion() -> None:
    windows_30 = validation_windows([clip(person(200))], CONFIG, "world", noise=NO_NOISE)
    slow = person(200)
    fast = np.empty((399, *slow.shape[1:]), np.float32)
    fast[::2], fast[1::2] = slow, (slow[1:] + slow[:-1]) / 2
    windows_60 = validation_windows([clip(fast, rate_hz=60.0)], CONFIG, "world", noise=NO_NOISE)
    np.testing.assert_allclose(windows_60.clean, windows_30.clean, atol=1e-4)


def test_too_little_motion_is_refused() -> None:
    with pytest.raises(SourceError, match=r"long enough to train on: the longest lasts 0\.37 s"):
        WindowSampler([clip(person(12))], CONFIG, "image", seed=0)
    with pytest.raises(SourceError, match=r"longest lasts 0\.23 s and they are 0\.33 s apart"):
        validation_windows([clip(person(8))], CONFIG, "image")
    with pytest.raises(ValueError, match="image, world"):
        WindowSampler([clip(person(90))], CONFIG, "polar", seed=0)
