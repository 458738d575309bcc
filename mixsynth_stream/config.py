"""ModelConfig: the dimensions of the network. A leaf: it imports nothing of ours and no numpy."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Dimensions of one MixSynthFormer, in the paper's letters.

    N `sample_interval`: grid steps between keyframes. Q `step`: keyframe intervals in a window (Q + 1 keyframes).
    H `horizon`: steps past the newest keyframe. D `joint_dim`: numbers a pose (joints x axes). C `emb_dim`: channels.
    Raises `ValueError` where a dimension is no whole number, too small, or a reduce factor too large.
    """

    sample_interval: int
    step: int
    joint_dim: int
    emb_dim: int
    num_encoder_layers: int
    horizon: int = 0
    expansion_factor: int = 2
    reduce_token: int = 1
    reduce_channel: int = 1

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "horizon"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, found {value!r}")
        if not isinstance(self.horizon, int) or self.horizon < 0:
            raise ValueError(f"horizon must be a whole number of at least 0, found {self.horizon!r}")
        if self.reduce_token > self.seq_len or self.reduce_channel > self.emb_dim:
            raise ValueError(
                f"reduce factors ({self.reduce_token}, {self.reduce_channel}) exceed the {self.seq_len} tokens "
                f"or the {self.emb_dim} channels; use smaller ones"
            )

    @property
    def num_keyframes(self) -> int:
        """Q + 1."""
        return self.step + 1

    @property
    def newest(self) -> int:
        """Grid step of the newest keyframe, N * Q."""
        return self.sample_interval * self.step

    @property
    def seq_len(self) -> int:
        """T = N * Q + 1 + H."""
        return self.newest + 1 + self.horizon
