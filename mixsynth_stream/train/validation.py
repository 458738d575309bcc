"""MocapScore: validation while training, by errors in the gaps and ahead as shares of the best simple method's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mixsynth_stream.backend import Forward
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.data.cameras import FRAME_HEIGHT_PX
from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.data.windows import validation_windows
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.baselines import TUNED_DAMPING_STEPS, baselines
from mixsynth_stream.normalise import root_and_scale
from mixsynth_stream.spaces import GRID_HZ, scale_floor

HORIZONS_MS = (100, 200, 300, 400, 500, 600)
_VALIDATION_SEED = 1234
# The ratios of the gaps count for half of the score, because the horizons, which are more, would outvote them.
_GAP_SHARE = 0.5


class MocapScore:
    """Fixed windows of every validation set, with the errors of the best simple method on them."""

    def __init__(self, sets: Mapping[str, Sequence[Clip]], config: ModelConfig, space: str, normalisation: str) -> None:
        newest, between = config.newest, np.arange(1, config.sample_interval)
        questions = {
            "gap": newest - between,
            "earlier_gap": newest - config.sample_interval - between,
            **{f"ahead_{ms}": np.array([newest + round(ms / 1000 * GRID_HZ)]) for ms in HORIZONS_MS},
        }
        # A short window has no earlier gap, a short horizon no late forecasts, and N = 1 no gaps at all.
        questions = {
            name: steps
            for name, steps in questions.items()
            if len(steps) and 0 <= steps.min() <= steps.max() < config.seq_len
        }
        self._sets = {}
        for name, clips in sets.items():
            try:
                windows = validation_windows(clips, config, space, _VALIDATION_SEED)
            except SourceError as error:
                raise SourceError(f"{name}: {error}") from error
            floor = scale_floor(space, FRAME_HEIGHT_PX)
            root, scale = root_and_scale(windows.keyframes, normalisation, floor)
            keyframes, truth = (windows.keyframes - root) / scale, (windows.carried - root) / scale
            truth[~windows.valid] = np.nan
            methods = baselines(TUNED_DAMPING_STEPS[space]).values()
            simple = [method(keyframes, config.sample_interval, np.arange(config.seq_len)) for method in methods]
            # A set of short clips has no truth for some of the questions.
            known = np.asarray(windows.valid.any(axis=0))
            best = {
                question: (steps, min(_mean_error(poses, truth, steps) for poses in simple))
                for question, steps in questions.items()
                if known[steps].any()
            }
            self._sets[name] = (keyframes.astype(np.float32), truth, best)

    def measure(self, forward: Forward) -> dict[str, float]:
        """`set/question` -> error divided by the best simple method's; below 1 the network wins."""
        ratios = {}
        for name, (keyframes, truth, best) in self._sets.items():
            poses = forward(keyframes.reshape(*keyframes.shape[:2], -1)).reshape(truth.shape)
            for question, (steps, simple) in best.items():
                ratios[f"{name}/{question}"] = _mean_error(poses, truth, steps) / simple
        return ratios

    def score(self, ratios: Mapping[str, float]) -> float:
        """One number to choose a checkpoint by: lower is better."""
        gaps, ahead = (
            [value for name, value in ratios.items() if kind in name.rpartition("/")[2]] for kind in ("gap", "ahead")
        )
        if not gaps or not ahead:
            return float(np.mean(gaps + ahead))
        return float(_GAP_SHARE * np.mean(gaps) + (1 - _GAP_SHARE) * np.mean(ahead))


def _mean_error(
    poses: np.ndarray,  # [B, T, 17, D]
    truth: np.ndarray,  # [B, T, 17, D]
    steps: np.ndarray,  # [M]
) -> float:
    """Mean distance over the steps that have a truth; infinite where a method has no answer."""
    error = np.linalg.norm(poses[:, steps] - truth[:, steps], axis=-1)
    known = np.isfinite(truth[:, steps]).all(axis=(-2, -1))
    mean = float(error[known].mean())
    return mean if np.isfinite(mean) else float("inf")
