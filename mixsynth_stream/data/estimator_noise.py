"""A simulated pose estimator: the error of a real one, in numbers measured on video with motion-capture truth.

The error of a joint is slow + fast. Slow error (a constant bias and a smooth random process with the measured
autocorrelation) is what the estimator would say on every frame; nobody can take it out, so training carries it in the
target. Fast error is new in every estimate and is what training removes. Beside both, a joint sometimes jumps, left and
right sometimes swap, and it may be with somebody else for a while.

Numbers: MediaPipe on every frame, 13 single-person streams at 30 Hz against motion capture. Image errors are in body
scales (normalise.scale_of), world errors in metres. Sizes and the autocorrelation over 333 ms and more are as measured.
Over 100 ms the simulated slow error is smoother than the measured one, part of which moves with the motion (an estimate
that comes a little late): a network trained with rough slow error learns to flatten fast motion (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from mixsynth_stream.data.cameras import BONE_PARENT
from mixsynth_stream.data.time_last import hips_of, poses, time_last
from mixsynth_stream.normalise import root_of
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.spaces import GRID_HZ

# Lags in seconds at which the autocorrelation was measured.
LAGS_S = (1 / 30, 0.1, 1 / 3, 1.0)
# Time constants of the smooth processes that are mixed to meet the autocorrelation at the two longer lags.
TIME_CONSTANTS_S = (0.25, 1.0, 4.0)
_FITTED_LAGS = slice(2, 4)
# Speed is taken over twice so many grid steps.
_REACH = 2


@dataclass(frozen=True, kw_only=True)
class JointNoise:
    """One row of the table. Image x and y; world x, y, z."""

    bias: tuple[float, float]  # mean absolute constant error
    std: tuple[float, float]  # of the rest, slow and fast together
    fast: tuple[float, float]  # std of the frame-to-frame part
    autocorrelation: tuple[float, float, float, float]  # at LAGS_S
    world_bias_m: tuple[float, float, float]
    world_std_m: tuple[float, float, float]


_SHOULDER = JointNoise(
    bias=(0.04, 0.05), std=(0.068, 0.055), fast=(0.008, 0.008), autocorrelation=(0.98, 0.94, 0.80, 0.59),
    world_bias_m=(0.02, 0.02, 0.05), world_std_m=(0.046, 0.032, 0.064),
)  # fmt: skip
_WRIST = JointNoise(
    bias=(0.03, 0.03), std=(0.097, 0.100), fast=(0.032, 0.032), autocorrelation=(0.88, 0.71, 0.43, 0.25),
    world_bias_m=(0.03, 0.03, 0.10), world_std_m=(0.073, 0.054, 0.147),
)  # fmt: skip
_ANKLE = JointNoise(
    bias=(0.02, 0.02), std=(0.077, 0.057), fast=(0.039, 0.014), autocorrelation=(0.80, 0.64, 0.44, 0.34),
    world_bias_m=(0.03, 0.04, 0.09), world_std_m=(0.068, 0.043, 0.110),
)  # fmt: skip
# Hips are each other's mirror image in hip-centred metres, so their world error is what the mean leaves.
JOINT_NOISE: dict[str, JointNoise] = {
    "nose": _SHOULDER,
    "shoulder": _SHOULDER,
    "elbow": JointNoise(
        bias=(0.03, 0.03), std=(0.080, 0.077), fast=(0.017, 0.017), autocorrelation=(0.95, 0.83, 0.58, 0.36),
        world_bias_m=(0.03, 0.03, 0.07), world_std_m=(0.060, 0.050, 0.096),
    ),
    "wrist": _WRIST,
    "index": _WRIST,
    "hip": JointNoise(
        bias=(0.02, 0.02), std=(0.058, 0.058), fast=(0.007, 0.007), autocorrelation=(0.99, 0.94, 0.82, 0.63),
        world_bias_m=(0.005, 0.005, 0.01), world_std_m=(0.010, 0.008, 0.020),
    ),
    "knee": JointNoise(
        bias=(0.02, 0.03), std=(0.058, 0.062), fast=(0.018, 0.010), autocorrelation=(0.94, 0.83, 0.66, 0.53),
        world_bias_m=(0.03, 0.03, 0.06), world_std_m=(0.042, 0.028, 0.076),
    ),
    "ankle": _ANKLE,
    "foot_index": _ANKLE,
}  # fmt: skip

# How much of a joint's error it shares with its parent (correlation); hips and shoulders share the whole body's shift.
_SHARED_WITH_PARENT = {
    "nose": 0.5, "shoulder": 0.7, "hip": 0.7, "elbow": 0.5, "wrist": 0.6, "index": 0.85, "knee": 0.5, "ankle": 0.5,
    "foot_index": 0.8,
}  # fmt: skip

# How far the joints of a hidden limb move with its end.
_LIMBS = tuple(
    {f"{side}_{part}": share for part, share in reach.items()}
    for reach in ({"elbow": 0.4, "wrist": 1.0, "index": 1.2}, {"knee": 0.4, "ankle": 1.0, "foot_index": 1.1})
    for side in ("left", "right")
)


@dataclass(frozen=True, kw_only=True)
class EstimatorNoise:
    """Parameters of the simulated estimator."""

    joints: dict[str, JointNoise] = field(default_factory=lambda: JOINT_NOISE)
    # Share of the variance of each smooth process that may be left out, its smallest modes: a tenth of the numbers make
    # all but a hundred-thousandth of the slowest. 0 where published figures come from: other numbers are drawn.
    left_out: float = 0.0
    # Errors are small in most videos and limbs and large in a few: standard deviation of the logarithm of the factor of
    # a window, and of that of its torso and limbs. The mean square stays as measured.
    quality_spread: float = 0.5
    limb_spread: float = 0.9
    # Factor on the whole, 1 as measured.
    slow_scale: float = 1.0
    fast_scale: float = 1.0
    # Error grows with the joint's speed: 1 + speed_growth x body scales a second, up to speed_limit, mean about 1.
    speed_growth: float = 0.18
    speed_limit: float = 5.0
    speed_mean_factor: float = 1.15
    # The quick part of the error (fast, and slow with the shortest time constant) is this share of the table's where
    # the joint is still, and all of it from this speed on, in body scales a second.
    still_share: float = 0.15
    quick_speed: float = 1.0
    # Chance a window that an arm (a leg: a third of it) is guessed wrongly for a while, and its size in body scales.
    occlusion: float = 0.2
    occlusion_size: float = 0.3
    occlusion_mean_s: float = 0.5
    # Chances in one keyframe: a joint far off (by about outlier_size body scales or half metres), arms or legs swapped,
    # the whole keyframe lost.
    outlier: float = 0.004
    outlier_size: float = 0.4
    swap: float = 0.002
    lost: float = 0.02
    # Chance a window that the estimator is with somebody else for a while, for so many keyframes on average, at a
    # distance of about so many body scales. 0 where weights ship: the stream sees by its place and pose that a keyframe
    # is of somebody else (pipeline/people.py) and predicts instead, as it does where one is lost.
    wrong_person: float = 0.0
    wrong_person_keyframes: float = 1.5
    wrong_person_distance: float = 2.0

    def without_accidents(self) -> EstimatorNoise:
        """The same without jumps, swaps, other people and lost keyframes; limbs are still guessed wrongly at times."""
        return replace(self, outlier=0.0, swap=0.0, lost=0.0, wrong_person=0.0)


def joint_noise(noise: EstimatorNoise, name: str) -> JointNoise:
    """The row for a core joint's name."""
    return noise.joints[_part(name)]


def errors(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    truth: np.ndarray,  # [B, T, 17, D] pixels or metres
    unit: np.ndarray,  # [B, 1, 1, 1] length of one body scale in the units of truth: pixels a torso, or metres
    looks: slice = slice(None),
) -> tuple[np.ndarray, np.ndarray]:
    """Slow errors on every grid step, and the fast errors of estimates at the steps `looks`: [B, steps, 17, D] each.

    In the units of `truth`. D = 2 is an image, D = 3 hip-centred metres in camera axes, as the errors then are, too.
    """
    rows = time_last(truth)
    batch, count, dims, steps = rows.shape
    bias_std, slow_std, fast_std = _tables(noise, dims)
    speed = _speed(rows)
    speed /= unit
    level = 1 + noise.speed_growth * np.minimum(speed, noise.speed_limit)
    level *= _levels(rng, noise, batch) / noise.speed_mean_factor * (unit if dims == 2 else np.float32(1))
    speed /= noise.quick_speed
    quick = level * (noise.still_share + (1 - noise.still_share) * np.minimum(speed, 1))
    slow = _process(rng, noise, rows.shape, slice(1, None))
    slow *= level
    shaking = _process(rng, noise, rows.shape, slice(0, 1))
    shaking *= quick
    slow += shaking
    slow *= np.repeat(slow_std * noise.slow_scale, steps).reshape(rows.shape[1:])
    bias = _mixing() @ rng.standard_normal((batch, len(CORE_17) + 1, dims), np.float32)
    fast = time_last(rng.standard_normal((batch, len(range(steps)[looks]), count, dims), np.float32))
    # The constant part of the bias does not follow the speed from frame to frame.
    bias *= bias_std * level.mean(axis=-1)
    slow += _offsets(rng, noise, bias, unit, steps)
    fast *= fast_std[..., None] * noise.fast_scale
    fast *= quick[..., looks]
    if dims == 3:
        for error in (slow, fast):
            error -= hips_of(error)
    return poses(slow), poses(fast)


def _process(
    rng: np.random.Generator, noise: EstimatorNoise, shape: tuple[int, ...], constants: slice
) -> np.ndarray:  # [B, 17, D, T]
    """Some of the smooth processes that slow error is mixed from, shared along the bones; all together variance 1."""
    batch, count, dims, steps = shape
    table = tuple(joint_noise(noise, name) for name in CORE_17.joints)
    factors = _in_time(table, steps, constants.start, constants.stop, noise.left_out)
    white = rng.standard_normal((len(CORE_17) + 1, factors.shape[1] * batch * dims), np.float32)
    shared = (_mixing() @ white).reshape(count, -1, batch * dims)
    in_time = shared.transpose(0, 2, 1) @ factors
    return np.ascontiguousarray(in_time.reshape(count, batch, dims, steps).transpose(1, 0, 2, 3))


def _levels(rng: np.random.Generator, noise: EstimatorNoise, batch: int) -> np.ndarray:  # [B, 17, 1, 1]
    """How large the errors of a window's joints are, against the table; mean square 1."""
    window = rng.normal(-(noise.quality_spread**2), noise.quality_spread, (batch, 1))
    limbs = rng.normal(-(noise.limb_spread**2), noise.limb_spread, (batch, 1 + len(_LIMBS)))
    # Number 0 is the torso with the head.
    member = [next((1 + i for i, reach in enumerate(_LIMBS) if name in reach), 0) for name in CORE_17.joints]
    return np.exp(window + limbs[:, member]).astype(np.float32)[..., None, None]


def _offsets(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    bias: np.ndarray,  # [B, 17, D]
    unit: np.ndarray,  # [B, 1, 1, 1]
    steps: int,
) -> np.ndarray:  # [B, 17, D, T]
    """The constant bias, and hidden limbs that jump to a wrong place, stay wrong for a while and jump back."""
    batch, _, dims = bias.shape
    chance = noise.occlusion * np.array([1, 1, 1 / 3, 1 / 3])[:, None]
    start = rng.uniform(-noise.occlusion_mean_s * GRID_HZ, steps, (batch, len(_LIMBS), 1))
    length = rng.exponential(noise.occlusion_mean_s * GRID_HZ, (batch, len(_LIMBS), 1))
    chosen = rng.random((batch, len(_LIMBS), 1)) < chance
    time = np.arange(steps)
    hidden = chosen & (time >= start) & (time < start + length)  # [B, 4, T]
    size = rng.normal(0, noise.occlusion_size, (batch, len(_LIMBS), dims)).astype(np.float32)
    share = np.array([[reach.get(name, 0.0) for name in CORE_17.joints] for reach in _LIMBS], np.float32)
    moves = share[:, :, None] * (size * unit[..., 0])[:, :, None]  # [B, 4, 17, D]
    # Bias and limbs as one product of matrices a window.
    when = np.concatenate([hidden, np.ones((batch, 1, steps), bool)], axis=1).astype(np.float32)
    what = np.concatenate([moves, bias[:, None]], axis=1).reshape(batch, len(_LIMBS) + 1, -1)
    return (what.transpose(0, 2, 1) @ when).reshape(*bias.shape, steps) * np.float32(noise.slow_scale)


def add_accidents(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    keyframes: np.ndarray,  # [B, Q+1, 17, D]
    unit: np.ndarray,  # [B, 1, 1, 1]
) -> np.ndarray:
    """Keyframes in which some joints jump, some limbs are swapped, left for right, and some are of somebody else.

    Lost ones: see windows.py.
    """
    batch, count, _, dims = keyframes.shape
    result = keyframes.astype(np.float32)
    jumps = np.nonzero(rng.random((batch, count, len(CORE_17)), np.float32) < noise.outlier)
    far = rng.standard_normal((len(jumps[0]), dims), np.float32) * np.float32(noise.outlier_size)
    result[jumps] += far * unit[jumps[0], 0, 0]
    for parts in (("elbow", "wrist", "index"), ("knee", "ankle", "foot_index")):
        swapped = np.array([_part(name) in parts for name in CORE_17.joints])
        order = np.where(swapped, CORE_17.mirror, np.arange(len(CORE_17)))
        chosen = np.nonzero(rng.random((batch, count), np.float32) < noise.swap)
        result[chosen] = result[chosen][:, order]
    return _with_other_people(rng, noise, result, unit)


def _with_other_people(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    keyframes: np.ndarray,  # [B, Q+1, 17, D]
    unit: np.ndarray,  # [B, 1, 1, 1]
) -> np.ndarray:
    """Some windows are, for a while, of the person of the window before them, at this one's size and beside it."""
    # Without a draw where there is nothing to draw for, so that windows of the shipped recipe stay as they were.
    if noise.wrong_person == 0:
        return keyframes
    batch, count, _, dims = keyframes.shape
    chosen = rng.random((batch, 1)) < noise.wrong_person
    first, length = rng.integers(0, count, (batch, 1)), rng.geometric(1 / noise.wrong_person_keyframes, (batch, 1))
    slot = np.arange(count)
    during = (chosen & (slot >= first) & (slot < first + length))[..., None, None]
    root = root_of(keyframes)[..., None, :]
    theirs = np.roll((keyframes - root) / unit, 1, axis=0) * unit
    # Hip-centred metres do not say where somebody stands.
    aside = noise.wrong_person_distance * unit * rng.standard_normal((batch, 1, 1, dims), np.float32) * (dims == 2)
    return np.asarray(np.where(during, root + aside + theirs, keyframes), np.float32)


def autocorrelation_of_slow(row: JointNoise, lags_s: np.ndarray) -> np.ndarray:  # [...] -> [...]
    """Autocorrelation of the slow part: a mixture of smooth processes fitted to the row."""
    return np.asarray(_smooth_kernel(lags_s) @ _mixture(row))


def _smooth_kernel(lags_s: np.ndarray) -> np.ndarray:  # [...] -> [..., len(TIME_CONSTANTS_S)]
    """Matern 3/2: a second-order autoregressive process, whose paths have a velocity."""
    x = np.abs(lags_s)[..., None] / np.array(TIME_CONSTANTS_S)
    return np.asarray((1 + x) * np.exp(-x))


@lru_cache(maxsize=64)
def _mixture(row: JointNoise) -> np.ndarray:  # [len(TIME_CONSTANTS_S)], sums to 1
    """The non-negative weights, in fiftieths, that come closest to the row."""
    slow_share = 1 - sum(f**2 for f in row.fast) / sum(s**2 for s in row.std)
    target = np.array(row.autocorrelation[_FITTED_LAGS]) / slow_share
    fiftieths = np.array([(a, b, 50 - a - b) for a in range(51) for b in range(51 - a)]) / 50
    missed = fiftieths @ _smooth_kernel(np.array(LAGS_S[_FITTED_LAGS])).T - target
    return np.asarray(fiftieths[np.square(missed).sum(axis=1).argmin()])


@lru_cache(maxsize=16)
def _in_time(
    table: tuple[JointNoise, ...], steps: int, first: int, last: int | None, left_out: float
) -> np.ndarray:  # [17, R, T]
    """From R independent numbers, on the left, to the process of each joint in time."""
    covariances = np.stack([_covariance(row, steps, first, last) for row in table])
    if left_out == 0:
        return np.linalg.cholesky(covariances).transpose(0, 2, 1).astype(np.float32)
    variance, modes = np.linalg.eigh(covariances)  # ascending
    share = np.cumsum(variance, axis=1) / variance.sum(axis=1, keepdims=True)
    largest = int((share <= left_out).sum(axis=1).min())
    factors = modes * np.sqrt(np.maximum(variance, 0))[:, None]
    return factors[:, :, largest:].transpose(0, 2, 1).astype(np.float32)


def _covariance(row: JointNoise, steps: int, first: int, last: int | None) -> np.ndarray:  # [T, T]
    lags = np.subtract.outer(np.arange(steps), np.arange(steps)) / GRID_HZ
    chosen = slice(first, last)
    return np.asarray(_smooth_kernel(lags)[..., chosen] @ _mixture(row)[chosen] + 1e-6 * np.eye(steps))


def _tables(noise: EstimatorNoise, dims: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bias, slow and fast standard deviations, [17, D] each."""
    rows = [joint_noise(noise, name) for name in CORE_17.joints]
    if dims == 2:
        bias, std = np.array([row.bias for row in rows]), np.array([row.std for row in rows])
        fast = np.array([row.fast for row in rows])
    else:
        bias, std = np.array([row.world_bias_m for row in rows]), np.array([row.world_std_m for row in rows])
        # Measured in the image only: metres keep the same share of fast error.
        share = np.array([sum(row.fast) / sum(row.std) for row in rows])[:, None]
        fast = share * std
    # Mean absolute value of a Gaussian is 0.8 of its standard deviation.
    slow = np.sqrt(np.maximum(std**2 - fast**2, 0))
    return (bias * 1.25).astype(np.float32), slow.astype(np.float32), fast.astype(np.float32)


@lru_cache(maxsize=1)
def _mixing() -> np.ndarray:  # [17, 18]
    """Rows of unit length: each joint's error from 17 independent ones and, last, the shift of the whole body."""
    rows: dict[str, np.ndarray] = {}
    whole_body = np.eye(len(CORE_17) + 1)[-1]

    def row(name: str) -> np.ndarray:
        if name not in CORE_17.joints:
            return whole_body
        if name not in rows:
            share, own = _SHARED_WITH_PARENT[_part(name)], np.eye(len(CORE_17) + 1)[CORE_17.index(name)]
            rows[name] = share * row(BONE_PARENT[name]) + np.sqrt(1 - share**2) * own
        return rows[name]

    return np.stack([row(name) for name in CORE_17.joints]).astype(np.float32)


def _part(name: str) -> str:
    side, _, part = name.partition("_")
    return part if side in ("left", "right") else name


def _speed(rows: np.ndarray) -> np.ndarray:  # [B, 17, D, T] -> [B, 17, 1, T] units a second
    """Speed over five grid steps, so that the error's size does not flicker."""
    index = np.arange(rows.shape[-1])
    ahead, behind = np.minimum(index + _REACH, index[-1]), np.maximum(index - _REACH, 0)
    held = np.concatenate([rows[..., :1]] * _REACH + [rows] + [rows[..., -1:]] * _REACH, axis=-1)
    moved = held[..., 2 * _REACH :] - held[..., : -2 * _REACH]
    speed = np.sqrt(np.einsum("bjdt,bjdt->bjt", moved, moved)[:, :, None])
    speed *= (GRID_HZ / np.maximum(ahead - behind, 1)).astype(np.float32)
    return np.asarray(speed)
