"""Ridge: regression from keyframes to motion, which is what a linear map learns from the network's training windows.

Inputs and outputs are those of the network: normalised keyframes, the oldest repeated while there are too few, and all
steps. The target is `carried`, as in training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.mocap import Clip, load_clips
from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.data.windows import WindowSampler
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import CHECKOUT, write_arrays
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.spaces import scale_floor
from mixsynth_stream.weights import Model

RIDGE_WINDOWS = 8192
# The folder in a checkout with fits to the training clips of the shipped weights (scripts/fit_ridge.py).
RIDGE_FOLDER = "benchmarks/ridge"
_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """A fit of the regression. A call has the signature of the methods in baselines.py."""

    weights: np.ndarray  # [(Q+1) * D + 1, T * D], the last row is the constant
    config: ModelConfig
    normalisation: str
    min_scale: float

    def __call__(
        self,
        keyframes: np.ndarray,  # [B, K, J, D], at most Q+1
        sample_interval: int,
        steps: np.ndarray,  # [M], from the oldest of these keyframes
    ) -> np.ndarray:  # [B, M, J, D], NaN outside the window
        """Poses at grid steps, linearly between whole ones."""
        config = self.config
        if sample_interval != config.sample_interval:
            raise ValueError(f"fitted for keyframes {config.sample_interval} steps apart, found {sample_interval}")
        missing = config.num_keyframes - keyframes.shape[1]
        padded = keyframes[:, np.maximum(np.arange(config.num_keyframes) - missing, 0)]
        root, scale = root_and_scale(padded, self.normalisation, self.min_scale)
        motion = _inputs((padded - root) / scale) @ self.weights
        poses = motion.reshape(len(keyframes), config.seq_len, *keyframes.shape[2:]) * scale + root
        at = np.asarray(steps, np.float64) + missing * sample_interval
        below = np.clip(np.floor(at).astype(int), 0, config.seq_len - 2)
        phase = (at - below)[:, None, None]
        inside = ((at >= 0) & (at <= config.seq_len - 1))[:, None, None]
        return np.where(inside, poses[:, below] * (1 - phase) + poses[:, below + 1] * phase, np.nan)


@dataclass(frozen=True, kw_only=True)
class RidgeSums:
    """Sums over windows, from which many strengths can be fitted after one pass over the data."""

    inputs: np.ndarray  # [F, F] mean of x x^T
    outputs: np.ndarray  # [F, T * D] mean of x y^T
    config: ModelConfig
    normalisation: str
    min_scale: float

    def fit(self, strength: float) -> Ridge:
        """Minimise the mean squared error plus `strength` times the squared weights; the constant is free."""
        penalty = np.diag(np.append(np.full(len(self.inputs) - 1, strength), 0.0))
        weights = np.linalg.solve(self.inputs + penalty, self.outputs)
        return Ridge(weights=weights, config=self.config, normalisation=self.normalisation, min_scale=self.min_scale)


def ridge_sums(
    clips: Sequence[Clip], config: ModelConfig, space: str, normalisation: str, *, count: int = RIDGE_WINDOWS
) -> RidgeSums:
    """Draw windows as training does. Those that reach past the end of their clip have no truth there and do not count.

    Raises `SourceError` where no window is left.
    """
    sampler = WindowSampler(clips, config, space, seed=0, irregular=0.0, partial=0.0)
    min_scale = scale_floor(space, FRAME_HEIGHT_PX)
    size = config.num_keyframes * config.joint_dim + 1
    xx, xy, window_count = np.zeros((size, size)), np.zeros((size, config.seq_len * config.joint_dim)), 0
    for _ in range(0, count, _BATCH):
        windows = sampler.draw(_BATCH)
        whole = windows.valid[:, -1]
        keyframes, carried = windows.keyframes[whole], windows.carried[whole]
        root, scale = root_and_scale(keyframes, normalisation, min_scale)
        x, y = _inputs((keyframes - root) / scale), ((carried - root) / scale).reshape(len(carried), -1)
        xx, xy, window_count = xx + x.T @ x, xy + x.T @ y, window_count + len(x)
    if window_count == 0:
        raise SourceError(
            f"of {len(clips)} clips none reaches {config.horizon} steps of 1/30 s past its second keyframe: nothing to "
            "fit ridge regression to; give longer training clips"
        )
    return RidgeSums(
        inputs=xx / window_count,
        outputs=xy / window_count,
        config=config,
        normalisation=normalisation,
        min_scale=min_scale,
    )


def fit_ridge(files: Sequence[str | Path], model: Model, strength: float) -> Ridge:
    """The regression beside `model`, fitted to the files of its training. Raises `SourceError`."""
    clips = [clip for path in files for clip in load_clips(path)]
    return ridge_sums(clips, model.config, model.info.space, model.info.normalisation).fit(strength)


def save_ridge(path: Path, ridge: Ridge) -> None:
    """Write a fit, so that people without the training clips can compare, too. Raises `OutputError`."""
    # Half precision changes an error of position by less than one in a thousand, of acceleration by one percent.
    weights = ridge.weights.astype(np.float16)
    facts = {"normalisation": ridge.normalisation, "min_scale": ridge.min_scale}
    write_arrays(path, {"weights": weights, "config": json.dumps(asdict(ridge.config)), **facts})


def load_ridge(path: Path) -> Ridge:
    """The fit that `save_ridge` wrote. Raises `SourceError`."""
    arrays = load_arrays(path, ("weights", "config", "normalisation", "min_scale"))
    return Ridge(
        weights=arrays["weights"].astype(np.float32),
        config=ModelConfig(**json.loads(str(arrays["config"]))),
        normalisation=str(arrays["normalisation"]),
        min_scale=float(arrays["min_scale"]),
    )


def checkout_ridge(model: Model) -> Ridge | None:
    """The checkout's fit to the training windows of the shipped weights, or None where such a network has none."""
    folder = CHECKOUT / RIDGE_FOLDER
    path = folder / f"{shipped_name(model.info.space, model.config.sample_interval)}.npz"
    if not path.is_file():
        return None
    ridge = load_ridge(path)
    dimensions = ("num_keyframes", "sample_interval", "seq_len", "joint_dim")
    same = all(getattr(ridge.config, name) == getattr(model.config, name) for name in dimensions)
    return ridge if same and ridge.normalisation == model.info.normalisation else None


def _inputs(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, J, D] -> [B, (Q+1) * J * D + 1]
    flat = keyframes.reshape(len(keyframes), -1)
    return np.concatenate([flat, np.ones((len(flat), 1), flat.dtype)], axis=1)
