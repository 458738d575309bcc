"""Windows of motion as an estimator would see them, with keyframes and two targets, for training and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data import cameras as cam
from mixsynth_stream.data.estimator_noise import EstimatorNoise, add_accidents, errors
from mixsynth_stream.data.gaussian import QuickGaussian
from mixsynth_stream.data.gestures import with_gestures
from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.data.sources import source_factors
from mixsynth_stream.data.time_last import poses, time_last
from mixsynth_stream.data.variation import look_steps, on_grid, seen_joints, without_unseen
from mixsynth_stream.errors import SourceError
from mixsynth_stream.interpolation import catmull_rom_matrix
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.spaces import GRID_HZ, LANDMARK_SPACES, checked_space

# Half of the windows come from a source whose frames do not fall on the grid: 24 to 60 Hz.
_OFF_GRID_SHARE = 0.5
_SLOWEST_SOURCE_HZ, _FASTEST_SOURCE_HZ = 24.0, 60.0
# In one window in four the estimator looked at irregular times, and in one in eight it lacks joints.
_IRREGULAR_SHARE = 1 / 4
_PARTIAL_SHARE = 1 / 8
# One window in six is a cold start: it holds fewer real keyframes than it has slots.
_COLD_SHARE = 1 / 6
# Clips are played at this tempo. Most of them are dance and climbing, which is faster than most motion.
_SLOWEST_TEMPO, _FASTEST_TEMPO = 0.4, 1.2
# In one window in four the person stops or starts within about this many grid steps; in recordings people seldom do.
_STOP_SHARE = 1 / 4
_STOP_STEPS = (0.5, 3.0)
# A clip with a median joint speed below this many metres a second has a smaller weight and is played faster, both
# within these limits.
_LIVELY_M_S = 0.4
_LEAST_WEIGHT = 0.12
_FASTEST_TEMPO_OF_SLOW = 3.0
# Share of the variance of slow error that training leaves out.
_LEFT_OUT = 1e-5
# A clip reaches at least this many grid steps past the newest keyframe; steps past its end are not valid.
_LEAST_AHEAD = 6


@dataclass(frozen=True, kw_only=True)
class Windows:
    """B windows in pixels (D = 2) or hip-centred metres (D = 3), not normalised; joints in CORE_17 order."""

    keyframes: np.ndarray  # [B, Q+1, 17, D] estimates; the slots of cold starts and lost keyframes are filled in
    clean: np.ndarray  # [B, T, 17, D] the truth
    carried: np.ndarray  # [B, T, 17, D] the truth with the estimator's slow error: the target of training
    valid: np.ndarray  # [B, T] bool: False before the first real keyframe and past the end of the clip
    clip: np.ndarray  # [B] number of the clip
    seen: np.ndarray | None = None  # [B, 17] bool: joints that the estimator gives; None: all
    estimates: np.ndarray | None = None  # [B, T, 17, D] of every step; training has none


class WindowSampler:
    """Draws random windows. `rng` is its whole state."""

    def __init__(
        self,
        clips: Sequence[Clip],
        config: ModelConfig,
        space: str,
        seed: int,
        noise: EstimatorNoise | None = None,
        source_weights: Mapping[str, float] | None = None,
        irregular: float = _IRREGULAR_SHARE,
        partial: float = _PARTIAL_SHARE,
    ) -> None:
        """`source_weights`: factors on the chance of clips by their source, 1 where a source is not there.

        Shares of the windows: `irregular`, whose keyframes come at any distance; `partial`, which lack joints.
        """
        checked_space(space, LANDMARK_SPACES)
        self.rng = QuickGaussian(np.random.PCG64(seed))
        self.noise = replace(noise or EstimatorNoise(), left_out=_LEFT_OUT)
        self._config, self._space = config, space
        self._irregular, self._partial = irregular, partial
        self._track = _Track.of(clips)
        speed = np.array([_median_speed(clip) for clip in clips])
        self._fastest = np.clip(_LIVELY_M_S / np.maximum(speed, 1e-3), _FASTEST_TEMPO, _FASTEST_TEMPO_OF_SLOW)
        # The last and the first frame that the newest keyframe may fall on, at the slowest tempo that is drawn.
        steps = self._track.rate / GRID_HZ
        room = self._track.length - 1 - (config.sample_interval + _LEAST_AHEAD) * steps * self._fastest
        weight = np.maximum(room, 0) * np.clip(speed / _LIVELY_M_S, _LEAST_WEIGHT, 1)
        if not weight.any():
            nearest = int(np.argmax(room / self._track.rate))
            clip_s = (self._track.length[nearest] - 1) / self._track.rate[nearest]
            # Rounded up, so that a clip of the printed length is long enough.
            least_s = np.ceil(100 * (clip_s - room[nearest] / self._track.rate[nearest]) + 1e-6) / 100
            raise SourceError(
                f"no clip is long enough to train on: the longest lasts {_longest_s(self._track):.2f} s; "
                f"{least_s:.2f} s would do for {clips[nearest].name}, which lasts {clip_s:.2f} s, and the "
                "slower the motion the more it takes; give longer clips"
            )
        weight *= source_factors(clips, source_weights or {})
        self.chances = weight / weight.sum()  # [C]

    def draw(self, batch: int) -> Windows:
        """`batch` windows with every kind of variation."""
        rng, config = self.rng, self._config
        clip = rng.choice(len(self.chances), batch, p=self.chances)
        tempo = np.exp(rng.uniform(np.log(_SLOWEST_TEMPO), np.log(self._fastest[clip])))
        per_step = tempo * self._track.rate[clip] / GRID_HZ
        first, last = config.sample_interval * per_step, self._track.length[clip] - 1 - _LEAST_AHEAD * per_step
        newest = first + rng.random(batch) * np.maximum(last - first, 0)
        offset = self._off_grid(batch)
        speed = self._stop_and_go(batch) * per_step[:, None]
        frames = np.cumsum(speed, axis=1)
        frame = newest[:, None] + frames - frames[:, config.newest, None] + offset * speed
        motion = with_gestures(rng, self._track.at(clip, frame))
        is_mirrored, rows = rng.random(batch) < 0.5, time_last(motion)
        rows[is_mirrored] = time_last(cam.mirrored(poses(rows[is_mirrored])))
        motion = cam.resized(poses(rows), cam.random_body_factors(rng, batch).astype(np.float32))
        inside = (frame >= 0) & (frame <= self._track.length[clip, None] - 1)
        oldest = self._oldest(inside)
        # Windows are alike before this line, so the first ones may be those with irregular looks.
        count = int(rng.binomial(batch, self._irregular))
        parts = []
        for some in (slice(0, count), slice(count, batch)):
            first = oldest[some]
            if not len(first):
                continue
            looks = None
            if some.stop == count:
                looks = np.maximum(look_steps(rng, count, config), config.sample_interval * first[:, None])
            see = (rng, self.noise, config, self._space, motion[some], clip[some], first, inside[some])
            parts.append(_estimated(*see, looks=looks))
        windows = parts[0] if len(parts) == 1 else _together(*parts)
        seen = seen_joints(rng, batch, self._partial)
        return replace(windows, keyframes=without_unseen(windows.keyframes, seen), seen=seen)

    def _stop_and_go(self, batch: int) -> np.ndarray:  # [B, T] factor on the tempo, at most 1
        rng, steps = self.rng, np.arange(self._config.seq_len)
        middle, width = rng.uniform(0, len(steps), (batch, 1)), rng.uniform(*_STOP_STEPS, (batch, 1))
        direction = rng.choice([-1.0, 1.0], (batch, 1))
        factor = 1 / (1 + np.exp(np.clip(direction * (steps - middle) / width, -50, 50)))
        return np.where(rng.random((batch, 1)) < _STOP_SHARE, factor, 1.0)

    def _off_grid(self, batch: int) -> np.ndarray:  # [B, T] grid steps by which the true time is later
        """A keyframe is the first frame at or after its grid time; time runs linearly between keyframes."""
        rng, config = self.rng, self._config
        interval = GRID_HZ / rng.uniform(_SLOWEST_SOURCE_HZ, _FASTEST_SOURCE_HZ, (batch, 1))
        interval *= rng.random((batch, 1)) < _OFF_GRID_SHARE
        delay = interval * rng.random((batch, config.num_keyframes))
        delay -= delay[:, -1:]
        position = np.minimum(np.arange(config.seq_len) / config.sample_interval, config.step)
        left = np.minimum(position.astype(int), config.step - 1)
        part = position - left
        return np.asarray(delay[:, left] * (1 - part) + delay[:, left + 1] * part)

    def _oldest(self, inside: np.ndarray) -> np.ndarray:  # [B, T] -> [B] the oldest real keyframe, at most Q - 1
        rng, config = self.rng, self._config
        in_clip = np.argmax(inside[:, : config.newest + 1 : config.sample_interval], axis=1)
        is_cold = rng.random(len(inside)) < _COLD_SHARE
        oldest = np.where(is_cold, rng.integers(0, config.step, len(inside)), 0)
        return np.minimum(np.maximum(in_clip, oldest), config.step - 1)


def _longest_s(track: _Track) -> float:
    return float(np.max((track.length - 1) / track.rate))


def validation_windows(
    clips: Sequence[Clip],
    config: ModelConfig,
    space: str,
    seed: int = 0,
    stride: int = 15,
    noise: EstimatorNoise | None = None,
) -> Windows:
    """Full windows, `stride` grid steps apart, of every clip; the same for the same seed.

    A clip shorter than a window gives cold starts: two keyframes or more and the steps ahead that the clip still has;
    later steps are not `valid`. Such clips are often the fastest motion of a file (a run through the room).
    Bodies and tempo are as recorded; cameras and the estimator's errors are simulated, without accidents.
    """
    rng = np.random.default_rng(seed)
    track = _Track.of(clips)
    per_step = track.rate / GRID_HZ
    numbers, starts = [], []
    for number, (length, step) in enumerate(zip(track.length, per_step, strict=True)):
        first = _window_starts(length, step, config, stride)
        numbers.append(np.full(len(first), number))
        starts.append(first)
    clip, start = np.concatenate(numbers), np.concatenate(starts)
    if not len(clip):
        interval_s = config.sample_interval / GRID_HZ
        raise SourceError(
            f"no clip reaches from one keyframe to the next: the longest lasts {_longest_s(track):.2f} s "
            f"and they are {interval_s:.2f} s apart; give longer clips"
        )
    frame = start[:, None] + np.arange(config.seq_len) * per_step[clip, None]
    inside = (frame >= -1e-6) & (frame <= track.length[clip, None] - 1 + 1e-6)
    oldest = np.argmax(inside[:, : config.newest + 1 : config.sample_interval], axis=1)
    quiet = (noise or EstimatorNoise()).without_accidents()
    windows = _estimated(rng, quiet, config, space, track.at(clip, frame), clip, oldest, inside, every_step=True)
    # Many methods read these arrays pose by pose, so the poses lie together.
    arrays = (windows.keyframes, windows.clean, windows.carried, windows.estimates)
    keyframes, clean, carried, estimates = (np.ascontiguousarray(array) for array in arrays if array is not None)
    return replace(windows, keyframes=keyframes, clean=clean, carried=carried, estimates=estimates)


def _window_starts(length: int, per_step: float, config: ModelConfig, stride: int) -> np.ndarray:
    """First frames of a clip's windows. For a short clip they lie before it, so that its first frame is a keyframe."""
    end = length - 1 + 1e-6
    full = np.arange(0, end - (config.seq_len - 1) * per_step, stride * per_step)
    if len(full):
        return full
    # The newest keyframe is at least the clip's second.
    keyframes = np.arange(1, config.num_keyframes) * config.sample_interval * per_step
    return np.asarray(keyframes[keyframes < end] - config.newest * per_step)


@dataclass(frozen=True)
class _Track:
    """All clips end to end."""

    core: np.ndarray  # [F, 17, 3] metres, y up
    start: np.ndarray  # [C]
    length: np.ndarray  # [C]
    rate: np.ndarray  # [C] Hz

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> _Track:
        if not clips:
            raise ValueError("no clips were given")
        length = np.array([len(clip.positions) for clip in clips])
        core = np.concatenate([clip.core for clip in clips]).astype(np.float32)
        return cls(core, np.cumsum(length) - length, length, np.array([clip.rate_hz for clip in clips]))

    def at(self, clip: np.ndarray, frame: np.ndarray) -> np.ndarray:  # [B], [B, T] -> [B, T, 17, 3]
        """Poses at fractional frames, linearly between frames; outside a clip its first or last pose."""
        last = (self.length[clip] - 1)[:, None]
        frame = np.clip(frame, 0, last)
        left = np.minimum(frame.astype(int), last - 1)
        part = (frame - left)[..., None, None].astype(np.float32)
        index = self.start[clip][:, None] + left
        before = self.core[index]
        motion = self.core[index + 1]
        motion -= before
        motion *= part
        motion += before
        return poses(time_last(motion))


def _estimated(
    rng: np.random.Generator,
    noise: EstimatorNoise,
    config: ModelConfig,
    space: str,
    motion: np.ndarray,  # [B, T, 17, 3] metres, y up
    clip: np.ndarray,  # [B]
    oldest: np.ndarray,  # [B] the oldest real keyframe
    inside: np.ndarray,  # [B, T]
    every_step: bool = False,  # whether the result has estimates of every step
    looks: np.ndarray | None = None,  # [B, K] steps at which the estimator looks; None: the slots' own
) -> Windows:
    """Windows of this motion with random cameras and simulated errors."""
    cameras = cam.random_cameras(rng, motion)
    clean = cam.to_image(cameras, motion) if space == "image" else cam.to_world(cameras, motion)
    grid = slice(0, config.newest + 1, config.sample_interval)
    unit = np.median(scale_of(clean[:, grid]), axis=1)[:, None, None, None].astype(np.float32)
    estimate_steps = grid if looks is None and not every_step else slice(None)
    slow, fast = errors(rng, noise, clean, unit, estimate_steps)
    carried = clean + slow
    estimates = carried[:, estimate_steps] + fast
    if looks is None:
        keyframes = add_accidents(rng, noise, estimates[:, grid] if every_step else estimates, unit)
        slots = np.maximum(np.arange(config.num_keyframes), oldest[:, None])
        keyframes = np.take_along_axis(keyframes, slots[:, :, None, None], axis=1)
        lost = rng.random(slots.shape) < noise.lost_chance
        keyframes = _predict_lost(keyframes, lost & (slots >= oldest[:, None] + 2), config.sample_interval)
    else:
        # A keyframe that is lost is a longer way to the next.
        answers = add_accidents(rng, noise, estimates[np.arange(len(looks))[:, None], looks], unit)
        keyframes = on_grid(answers, looks, np.arange(config.seq_len)[grid])
    valid = inside & (np.arange(config.seq_len) >= config.sample_interval * oldest[:, None])
    return Windows(
        keyframes=keyframes,
        clean=clean,
        carried=carried,
        valid=valid,
        clip=clip,
        estimates=estimates if every_step else None,
    )


def _together(first: Windows, second: Windows) -> Windows:
    """Both batches as one, without estimates."""
    names = ("keyframes", "clean", "carried", "valid", "clip")
    return Windows(**{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names})


def _predict_lost(
    keyframes: np.ndarray,  # [B, Q+1, 17, D]
    lost: np.ndarray,  # [B, Q+1] bool, False for the first two
    sample_interval: int,
) -> np.ndarray:
    """The slot of a lost keyframe takes the prediction of a window: the damped velocity of the two before it."""
    before, last = _damped_velocity(sample_interval)
    result = keyframes.copy()
    for slot in range(2, keyframes.shape[1]):
        window = np.flatnonzero(lost[:, slot])
        result[window, slot] = before * result[window, slot - 2] + last * result[window, slot - 1]
    return result


@lru_cache(maxsize=4)
def _damped_velocity(sample_interval: int) -> np.ndarray:  # [2]
    """Weights of the two newest keyframes in the prediction of the next."""
    return catmull_rom_matrix(sample_interval, 1, sample_interval)[-1].astype(np.float32)


def _median_speed(clip: Clip) -> float:
    """Median joint speed in metres a second."""
    return float(np.median(np.linalg.norm(np.diff(clip.positions, axis=0), axis=-1)) * clip.rate_hz)
