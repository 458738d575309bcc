"""Estimator noise: a simulated pose estimator with the errors of a real one, measured on video with motion capture.

The error of a joint is slow + fast. Slow error is a constant bias and a smooth random process with the measured
autocorrelation. The estimator makes it on every frame and no network can remove it, so the target of training has it
too. Fast error is new in every estimate, and training removes it. Beside both, a joint sometimes jumps, left and right
sometimes swap, and the estimator may follow somebody else for a while.

Numbers: MediaPipe on every frame, 13 single-person streams at 30 Hz against motion capture. Image errors are in body
scales (normalise.scale_of), world errors in metres. Sizes and the autocorrelation over 333 ms and more are as measured.
Over 100 ms the simulated slow error is smoother than the measured one, a part of which moves with the motion (estimates
come a little late): a network trained with rough slow error learns to flatten fast motion (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from mixsynth_stream.data.cameras import BONE_PARENT
from mixsynth_stream.data.time_last import hips_of, poses, time_last
from mixsynth_stream.normalise import root_of
from mixsynth_stream.skeleton import CORE_17, body_part
from mixsynth_stream.spaces import GRID_HZ

# Lags in seconds at which the autocorrelation was measured.
LAGS_S = (1 / 30, 0.1, 1 / 3, 1.0)
# Time constants of the smooth processes that are mixed to meet the autocorrelation at the two longer lags.
TIME_CONSTANTS_S = (0.25, 1.0, 4.0)
_FITTED_LAGS = slice(2, 4)
# The speed at a grid step is measured from so many steps before it to as many after it.
_REACH = 2


@dataclass(frozen=True, kw_only=True)
class JointNoise:
    """One row of the table, for a pair of joints. The image has x and y, the world x, y and z."""

    bias: tuple[float, float]  # mean absolute constant error
    std: tuple[float, float]  # of the rest, slow and fast together
    fast: tuple[float, float]  # std of the frame-to-frame part
    autocorrelation: tuple[float, float, float, float]  # at LAGS_S
    world_bias_m: tuple[float, float, float]
    world_std_m: tuple[float, float, float]


# fmt: off
_SHOULDER = JointNoise(
    bias=(0.04, 0.05), std=(0.068, 0.055), fast=(0.008, 0.008), autocorrelation=(0.98, 0.94, 0.80, 0.59),
    world_bias_m=(0.02, 0.02, 0.05), world_std_m=(0.046, 0.032, 0.064),
)
_WRIST = JointNoise(
    bias=(0.03, 0.03), std=(0.097, 0.100), fast=(0.032, 0.032), autocorrelation=(0.88, 0.71, 0.43, 0.25),
    world_bias_m=(0.03, 0.03, 0.10), world_std_m=(0.073, 0.054, 0.147),
)
_ANKLE = JointNoise(
    bias=(0.02, 0.02), std=(0.077, 0.057), fast=(0.039, 0.014), autocorrelation=(0.80, 0.64, 0.44, 0.34),
    world_bias_m=(0.03, 0.04, 0.09), world_std_m=(0.068, 0.043, 0.110),
)
# In hip-centred metres the two hips mirror each other, so their world error is what their mean leaves.
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
}
# Correlation of a joint's error with that of its parent. Hips and shoulders share the shift of the whole body.
_PARENT_SHARE = {
    "nose": 0.5, "shoulder": 0.7, "hip": 0.7, "elbow": 0.5, "wrist": 0.6, "index": 0.85, "knee": 0.5, "ankle": 0.5,
    "foot_index": 0.8,
}
# fmt: on

# How far each joint of a hidden limb moves, as a share of the wrist's or the ankle's way.
_LIMBS = tuple(
    {f"{side}_{part}": share for part, share in reach.items()}
    for reach in ({"elbow": 0.4, "wrist": 1.0, "index": 1.2}, {"knee": 0.4, "ankle": 1.0, "foot_index": 1.1})
    for side in ("left", "right")
)


@dataclass(frozen=True, kw_only=True)
class EstimatorNoise:
    """Parameters of the simulated estimator."""

    joints: dict[str, JointNoise] = field(default_factory=lambda: JOINT_NOISE)
    # Share of each smooth process's variance that is left out, its smallest modes. A tenth of the modes hold all but a
    # hundred-thousandth of the slowest. Published figures take 0, because any other share draws other numbers.
    left_out: float = 0.0
    # Errors are small in most videos and limbs and large in a few: standard deviations of the logarithms of a window's
    # factor and of its torso's and limbs' factors. The mean square stays as measured.
    quality_spread: float = 0.5
    limb_spread: float = 0.9
    # Factors on all slow and all fast error; 1 is as measured.
    slow_scale: float = 1.0
    fast_scale: float = 1.0
    # Error grows with the joint's speed: 1 + speed_growth x body scales a second, up to speed_limit, mean about 1.
    speed_growth: float = 0.18
    speed_limit: float = 5.0
    speed_mean_factor: float = 1.15
    # Quick error is fast error, and slow error with the shortest time constant. At rest it is `still_share` of the
    # table's, and from `quick_speed` on (body scales a second) all of it.
    still_share: float = 0.15
    quick_speed: float = 1.0
    # Chance a window that an arm is guessed wrongly for a while, and its error in body scales. A leg: a third of the
    # chance.
    occlusion: float = 0.2
    occlusion_size: float = 0.3
    occlusion_mean_s: float = 0.5
    # Chances a keyframe that a joint is far off (by about outlier_size body scales or half metres), that arms or legs
    # are swapped, and that the whole keyframe is lost.
    outlier: float = 0.004
    outlier_size: float = 0.4
    swap: float = 0.002
    lost_chance: float = 0.02
    # Chance a window that the estimator follows somebody else, the mean number of keyframes and body scales away. 0 for
    # weights that ship: the stream refuses such a keyframe by place and pose (pipeline/people.py) and predicts instead.
    wrong_person: float = 0.0
    wrong_person_keyframes: float = 1.5
    wrong_person_distance: float = 2.0

    def without_accidents(self) -> EstimatorNoise:
        """The same without jumps, swaps, other people and lost keyframes. Limbs are still guessed wrongly at times."""
        return replace(self, outlier=0.0, swap=0.0, lost_chance=0.0, wrong_person=0.0)


def joint_noise(noise: EstimatorNoise, name: str) -> JointNoise:
    """The row of a core joint, by its name."""
    return noise.joints[body_part(name)]


def errors(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    truth: np.ndarray,  # [B, T, 17, D] pixels or metres
    unit: np.ndarray,  # [B, 1, 1, 1] length of one body scale in the units of truth: pixels a torso, or metres
    estimate_steps: slice = slice(None),  # grid steps at which the estimator looks
) -> tuple[np.ndarray, np.ndarray]:
    """Slow errors on every grid step and fast errors at the steps `estimate_steps`, [B, steps, 17, D] each.

    They are in the units of `truth`. D = 2 is an image; D = 3 is hip-centred metres in camera axes, and so are its
    errors.
    """
    rows = time_last(truth)
    batch, count, dims, steps = rows.shape
    bias_std, slow_std, fast_std = _standard_deviations(noise, dims)
    speed = _joint_speed(rows)
    speed /= unit
    level = 1 + noise.speed_growth * np.minimum(speed, noise.speed_limit)
    level *= _levels(rng, noise, batch) / noise.speed_mean_factor * (unit if dims == 2 else np.float32(1))
    speed /= noise.quick_speed
    quick = level * (noise.still_share + (1 - noise.still_share) * np.minimum(speed, 1))
    slow = _process(rng, noise, rows.shape, slice(1, None))
    slow *= level
    tremor = _process(rng, noise, rows.shape, slice(0, 1))
    tremor *= quick
    slow += tremor
    slow *= np.repeat(slow_std * noise.slow_scale, steps).reshape(rows.shape[1:])
    bias = _mixing() @ rng.standard_normal((batch, len(CORE_17) + 1, dims), np.float32)
    fast = time_last(rng.standard_normal((batch, len(range(steps)[estimate_steps]), count, dims), np.float32))
    # The bias is constant over the window, so it takes the mean level.
    bias *= bias_std * level.mean(axis=-1)
    slow += _offsets(rng, noise, bias, unit, steps)
    fast *= fast_std[..., None] * noise.fast_scale
    fast *= quick[..., estimate_steps]
    if dims == 3:
        for error in (slow, fast):
            error -= hips_of(error)
    return poses(slow), poses(fast)


def _process(
    rng: np.random.Generator, noise: EstimatorNoise, shape: tuple[int, ...], constants: slice
) -> np.ndarray:  # [B, 17, D, T]
    """The smooth processes of these time constants, correlated along the bones. All together they have variance 1."""
    batch, count, dims, steps = shape
    table = tuple(joint_noise(noise, name) for name in CORE_17.joints)
    factors = _time_factors(table, steps, constants.start, constants.stop, noise.left_out)
    white = rng.standard_normal((len(CORE_17) + 1, factors.shape[1] * batch * dims), np.float32)
    correlated = (_mixing() @ white).reshape(count, -1, batch * dims)
    paths = correlated.transpose(0, 2, 1) @ factors
    return np.ascontiguousarray(paths.reshape(count, batch, dims, steps).transpose(1, 0, 2, 3))


def _levels(rng: np.random.Generator, noise: EstimatorNoise, batch: int) -> np.ndarray:  # [B, 17, 1, 1]
    """The size of the errors of a window's joints, relative to the table; mean square 1."""
    window = rng.normal(-(noise.quality_spread**2), noise.quality_spread, (batch, 1))
    limbs = rng.normal(-(noise.limb_spread**2), noise.limb_spread, (batch, 1 + len(_LIMBS)))
    # Number 0 is the torso with the head.
    limb_of = [next((1 + i for i, reach in enumerate(_LIMBS) if name in reach), 0) for name in CORE_17.joints]
    return np.exp(window + limbs[:, limb_of]).astype(np.float32)[..., None, None]


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
    is_occluded = rng.random((batch, len(_LIMBS), 1)) < chance
    time = np.arange(steps)
    hidden = is_occluded & (time >= start) & (time < start + length)  # [B, 4, T]
    size = rng.normal(0, noise.occlusion_size, (batch, len(_LIMBS), dims)).astype(np.float32)
    share = np.array([[reach.get(name, 0.0) for name in CORE_17.joints] for reach in _LIMBS], np.float32)
    moves = share[:, :, None] * (size * unit[..., 0])[:, :, None]  # [B, 4, 17, D]
    # One product of matrices a window gives bias and limbs.
    shares = np.concatenate([hidden, np.ones((batch, 1, steps), bool)], axis=1).astype(np.float32)
    offsets = np.concatenate([moves, bias[:, None]], axis=1).reshape(batch, len(_LIMBS) + 1, -1)
    return (offsets.transpose(0, 2, 1) @ shares).reshape(*bias.shape, steps) * np.float32(noise.slow_scale)


def add_accidents(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    keyframes: np.ndarray,  # [B, Q+1, 17, D]
    unit: np.ndarray,  # [B, 1, 1, 1]
) -> np.ndarray:
    """Keyframes in which some joints jump, some limbs swap left and right, and some show somebody else.

    windows.py loses keyframes.
    """
    batch, count, _, dims = keyframes.shape
    result = keyframes.astype(np.float32)
    jumps = np.nonzero(rng.random((batch, count, len(CORE_17)), np.float32) < noise.outlier)
    far = rng.standard_normal((len(jumps[0]), dims), np.float32) * np.float32(noise.outlier_size)
    result[jumps] += far * unit[jumps[0], 0, 0]
    for parts in (("elbow", "wrist", "index"), ("knee", "ankle", "foot_index")):
        is_swapped = np.array([body_part(name) in parts for name in CORE_17.joints])
        order = np.where(is_swapped, CORE_17.mirror, np.arange(len(CORE_17)))
        swaps = np.nonzero(rng.random((batch, count), np.float32) < noise.swap)
        result[swaps] = result[swaps][:, order]
    return _with_other_people(rng, noise, result, unit)


def _with_other_people(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    keyframes: np.ndarray,  # [B, Q+1, 17, D]
    unit: np.ndarray,  # [B, 1, 1, 1]
) -> np.ndarray:
    """Some windows show, for a while, the person of the window before, at this window's size and beside its person."""
    # No chance, no draw: windows of the shipped recipe keep their numbers.
    if noise.wrong_person == 0:
        return keyframes
    batch, count, _, dims = keyframes.shape
    is_mixed = rng.random((batch, 1)) < noise.wrong_person
    first, length = rng.integers(0, count, (batch, 1)), rng.geometric(1 / noise.wrong_person_keyframes, (batch, 1))
    slot = np.arange(count)
    is_other = (is_mixed & (slot >= first) & (slot < first + length))[..., None, None]
    root = root_of(keyframes)[..., None, :]
    other = np.roll((keyframes - root) / unit, 1, axis=0) * unit
    # Hip-centred metres do not say where somebody stands.
    aside = noise.wrong_person_distance * unit * rng.standard_normal((batch, 1, 1, dims), np.float32) * (dims == 2)
    return np.asarray(np.where(is_other, root + aside + other, keyframes), np.float32)


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
    misfit = fiftieths @ _smooth_kernel(np.array(LAGS_S[_FITTED_LAGS])).T - target
    return np.asarray(fiftieths[np.square(misfit).sum(axis=1).argmin()])


@lru_cache(maxsize=16)
def _time_factors(
    table: tuple[JointNoise, ...], steps: int, first: int, last: int | None, left_out: float
) -> np.ndarray:  # [17, R, T]
    """Factors that turn R independent numbers, on their left, into each joint's process in time."""
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
    constants = slice(first, last)
    return np.asarray(_smooth_kernel(lags)[..., constants] @ _mixture(row)[constants] + 1e-6 * np.eye(steps))


def _standard_deviations(noise: EstimatorNoise, dims: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those of bias, slow and fast error, [17, D] each."""
    rows = [joint_noise(noise, name) for name in CORE_17.joints]
    if dims == 2:
        bias, std = np.array([row.bias for row in rows]), np.array([row.std for row in rows])
        fast = np.array([row.fast for row in rows])
    else:
        bias, std = np.array([row.world_bias_m for row in rows]), np.array([row.world_std_m for row in rows])
        # Fast error was measured in the image only; metres take the same share of it.
        share = np.array([sum(row.fast) / sum(row.std) for row in rows])[:, None]
        fast = share * std
    slow = np.sqrt(np.maximum(std**2 - fast**2, 0))
    # The mean absolute value of a Gaussian is 0.8 of its standard deviation.
    return (bias * 1.25).astype(np.float32), slow.astype(np.float32), fast.astype(np.float32)


@lru_cache(maxsize=1)
def _mixing() -> np.ndarray:  # [17, 18]
    """Rows of unit length that mix a joint's error from 17 independent ones and, last, the shift of the whole body."""
    rows: dict[str, np.ndarray] = {}
    whole_body = np.eye(len(CORE_17) + 1)[-1]

    def row(name: str) -> np.ndarray:
        if name not in CORE_17.joints:
            return whole_body
        if name not in rows:
            share, own = _PARENT_SHARE[body_part(name)], np.eye(len(CORE_17) + 1)[CORE_17.index(name)]
            rows[name] = share * row(BONE_PARENT[name]) + np.sqrt(1 - share**2) * own
        return rows[name]

    return np.stack([row(name) for name in CORE_17.joints]).astype(np.float32)


def _joint_speed(rows: np.ndarray) -> np.ndarray:  # [B, 17, D, T] -> [B, 17, 1, T] units a second
    """Speed over five grid steps, so that the error's size does not flicker."""
    index = np.arange(rows.shape[-1])
    ahead, behind = np.minimum(index + _REACH, index[-1]), np.maximum(index - _REACH, 0)
    padded = np.concatenate([rows[..., :1]] * _REACH + [rows] + [rows[..., -1:]] * _REACH, axis=-1)
    path = padded[..., 2 * _REACH :] - padded[..., : -2 * _REACH]
    speed = np.sqrt(np.einsum("bjdt,bjdt->bjt", path, path)[:, :, None])
    speed *= (GRID_HZ / np.maximum(ahead - behind, 1)).astype(np.float32)
    return np.asarray(speed)
