"""PredictionRecipe: short-term prediction, with the optimisers and the loss of the weights that ship.

The paper says little of its prediction network. Ours starts as the best linear prediction. Muon and AdamW, a cosine, a
moving average of the weights, and the distances of joints and of their movements are ahead of the paper's recipe for
the other tasks (docs/prediction.md).
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor, nn

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train.config import PresetConfig
from mixsynth_stream.train.mocap import average_decay, motion_loss, muon_and_adamw, rate_share
from mixsynth_stream.train.published import PRESET_DROPOUT, PresetRecipe

_WARM_UP, _WEIGHT_DECAY, _EMA, _VELOCITY_WEIGHT = 200, 0.3, 0.998, 1.0
# Windows from which the start is fitted, and the ridge as a share of the mean square of a frame.
_FIT_WINDOWS, _RIDGE = 20_000, 1e-3


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
        network = MixSynthFormer(self.shape, dropout=PRESET_DROPOUT)
        with torch.no_grad():
            network.l_interp.weight[self._seen :] = self._linear_prediction()
        return network

    def _linear_prediction(self) -> Tensor:  # [H, Q+1]
        """The shares of the frames seen that come nearest to the frames ahead (least squares), and add up to 1."""
        _, truth, counted = self._windows.at(
            np.arange(0, self._windows.frames, -(-self._windows.frames // _FIT_WINDOWS))
        )
        last = truth[:, self._seen - 1 : self._seen]
        moved = (truth - last).transpose(1, 2)[counted[:, self._seen :].all(dim=1)].flatten(0, 1).double()
        seen, ahead = moved[:, : self._seen - 1], moved[:, self._seen :]
        squares = seen.T @ seen
        squares += _RIDGE * max(float(squares.diagonal().mean()), 1e-9) * torch.eye(len(squares))
        shares = torch.linalg.solve(squares, seen.T @ ahead).T
        return torch.cat([shares, 1 - shares.sum(dim=1, keepdim=True)], dim=1).float()

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
