"""PredictionRecipe: short-term prediction, with the optimisers and the loss of the weights that ship.

The paper says little of its prediction network. Muon and AdamW, a cosine, a moving average of the weights, and the
distances of joints and of their movements are ahead of its recipe for the other tasks (docs/prediction.md).
"""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train.config import PresetConfig
from mixsynth_stream.train.mocap import average_decay, motion_loss, muon_and_adamw, rate_share
from mixsynth_stream.train.published import PRESET_DROPOUT, PresetRecipe

_WARM_UP, _WEIGHT_DECAY, _EMA, _VELOCITY_WEIGHT = 200, 0.01, 0.998, 1.0


class PredictionRecipe(PresetRecipe):
    """A `Recipe` for the presets of short-term prediction. Only the frames ahead count."""

    # The plot shows those of 48 errors that choose the weights, and constant velocity's beside them.
    curves_pattern = "validation/(network|constant_velocity)_at"

    def __init__(self, config: PresetConfig, shape: ModelConfig | None = None) -> None:
        super().__init__(config, shape)
        self._seen = self.shape.num_keyframes
        self._weights = (torch.arange(self.shape.seq_len) >= self._seen).float()

    def settings(self) -> str:
        return json.dumps(json.loads(super().settings()) | {"recipe": "prediction"})

    def network(self) -> nn.Module:
        return MixSynthFormer(self.shape, dropout=PRESET_DROPOUT)

    def optimisers(self, network: nn.Module) -> list[torch.optim.Optimizer]:
        return muon_and_adamw(network, self.config.lr, _WEIGHT_DECAY)

    def learning_rate(self, step: int) -> float:
        return self.config.lr * rate_share(step, self.steps, min(_WARM_UP, self.steps // 10))

    def ema_decay(self, step: int) -> float:
        return average_decay(_EMA, step)

    def loss(self, output: Tensor, *targets: Tensor) -> Tensor:
        truth, counted = targets
        # The last frame seen has no error, so that the first step ahead counts as a movement, too.
        predicted = torch.cat([truth[:, : self._seen], output[:, self._seen :]], dim=1)
        valid = torch.cat([torch.ones_like(counted[:, : self._seen]), counted[:, self._seen :]], dim=1)
        joints = truth.unflatten(-1, (-1, 3))
        return motion_loss(predicted, joints, valid, self._weights.to(truth.device), _VELOCITY_WEIGHT)
