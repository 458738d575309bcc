"""Tile: padded sizes of a group of windows that one program holds, and where each packed weight lies.

Each of the group's `windows` has a slot of `token_slot` rows, and a slot each for its keyframes, its token keys and its
squeezed tokens. Matrices that work along time are block-diagonal over the slots, so that a group reads like one long
window. Padding is zero in every matrix. No torch and no Triton in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

from mixsynth_stream.config import ModelConfig

if TYPE_CHECKING:
    from mixsynth_stream.kernels.weights import LayerWeights

PRECISIONS = ("strict", "tf32", "bf16", "fp16")
# tl.dot takes no inner dimension below 16.
_SMALLEST = 16

AnyTile = TypeVar("AnyTile", bound="Tile")


@dataclass(frozen=True, kw_only=True)
class Tile:
    """What a kernel knows of a shape when it is compiled. Properties are padded sizes and places in packed weights."""

    tokens: int  # T
    channels: int  # C
    token_keys: int  # T / reduce_token
    channel_keys: int  # C / reduce_channel
    hidden: int  # E
    precision: str
    windows: int = 1
    # The ends of the network; a layer by itself has none.
    numbers: int = 1  # D
    keyframes: int = 1  # Q + 1
    layers: int = 1  # L

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {self.precision!r}")

    @classmethod
    def of_network(cls, config: ModelConfig, precision: str, *, windows: int = 1) -> Tile:
        """For a whole network, `windows` in a program."""
        return replace(
            cls.of_layer(config, precision, windows=windows),
            numbers=config.joint_dim,
            keyframes=config.num_keyframes,
            layers=config.num_encoder_layers,
        )

    @classmethod
    def of_layer(cls: type[AnyTile], layer: ModelConfig | LayerWeights, precision: str, *, windows: int = 1) -> AnyTile:
        """For one layer by itself: of a network's configuration, or with these weights."""
        if isinstance(layer, ModelConfig):
            return cls(
                tokens=layer.seq_len,
                channels=layer.emb_dim,
                token_keys=layer.seq_len // layer.reduce_token,
                channel_keys=layer.emb_dim // layer.reduce_channel,
                hidden=layer.emb_dim * layer.expansion_factor,
                precision=precision,
                windows=windows,
            )
        return cls(
            tokens=layer.mix.fc1_weight.shape[1],
            channels=len(layer.mix.proj_bias),
            token_keys=len(layer.mix.token.dense_bias),
            channel_keys=len(layer.mix.channel.dense_bias),
            hidden=len(layer.feed_forward.fc1_bias),
            precision=precision,
            windows=windows,
        )

    @property
    def cache_key(self) -> str:
        """Every size and place, by value. Triton files compiled kernels under it: other sizes are another kernel."""
        members = {name: member for kind in type(self).__mro__ for name, member in vars(kind).items()}
        sizes = {name: getattr(self, name) for name, member in members.items() if isinstance(member, cached_property)}
        return f"{self!r} {sizes!r}"

    @cached_property
    def token_slot(self) -> int:
        return max(power(self.tokens), _SMALLEST)

    @cached_property
    def rows(self) -> int:
        return self.windows * self.token_slot

    @cached_property
    def padded_channels(self) -> int:
        return max(power(self.channels), _SMALLEST)

    @cached_property
    def keyframe_slot(self) -> int:
        return power(self.keyframes)

    @cached_property
    def padded_keyframes(self) -> int:
        return max(self.windows * self.keyframe_slot, _SMALLEST)

    @cached_property
    def token_key_slot(self) -> int:
        return power(self.token_keys) if self.reduces_tokens else self.token_slot

    @cached_property
    def padded_token_keys(self) -> int:
        return max(self.windows * self.token_key_slot, _SMALLEST)

    @cached_property
    def padded_channel_keys(self) -> int:
        return max(power(self.channel_keys), _SMALLEST)

    @cached_property
    def reduces_tokens(self) -> bool:
        return self.token_keys != self.tokens

    @cached_property
    def reduces_channels(self) -> bool:
        return self.channel_keys != self.channels

    @cached_property
    def squeezed_slot(self) -> int:
        return power(max(self.tokens // 4, 1))

    @cached_property
    def squeezed_tokens(self) -> int:
        return self.windows * self.squeezed_slot

    @cached_property
    def squeezed_channels(self) -> int:
        return power(max(self.channels // 4, 1))

    @cached_property
    def hidden_block(self) -> int:
        """Hidden numbers of the feed-forward that are in registers at once."""
        return max(min(power(self.hidden), 64 if self.half else 32), _SMALLEST)

    @cached_property
    def padded_hidden(self) -> int:
        return _up(self.hidden, self.hidden_block)

    @cached_property
    def numbers_block(self) -> int:
        return max(min(power(self.numbers), 64 if self.half else 32), _SMALLEST)

    @cached_property
    def padded_numbers(self) -> int:
        return _up(self.numbers, self.numbers_block)

    @cached_property
    def half(self) -> bool:
        return self.precision in ("bf16", "fp16")

    @cached_property
    def num_warps(self) -> int:
        return 8 if self.largest > 64 * 64 else 4

    @cached_property
    def largest(self) -> int:
        """Numbers of the largest thing in registers: x, or the energies of a branch."""
        wide = max(self.rows, self.padded_channel_keys) * self.padded_channels
        return max(wide, self.rows * self.padded_token_keys)

    @cached_property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Matrices of one layer that products read, in the order in which they are packed."""
        rows, channels = self.rows, self.padded_channels
        shapes = {"token_dense": (channels, self.padded_token_keys), "channel_dense": (self.padded_channel_keys, rows)}
        if self.reduces_tokens:
            shapes["token_value"] = (self.padded_token_keys, rows)
        if self.reduces_channels:
            shapes["channel_value"] = (channels, self.padded_channel_keys)
        return shapes | {
            "token_squeeze": (self.squeezed_tokens, rows),
            "token_excite": (rows, self.squeezed_tokens),
            "channel_squeeze": (self.squeezed_channels, channels),
            "channel_excite": (channels, self.squeezed_channels),
            "reweight_fc1": (self.squeezed_tokens, rows),
            "reweight_fc2": (rows, self.squeezed_tokens),
            "proj": (channels, channels),
            "fc1": (channels, self.padded_hidden),
            "fc2": (self.padded_hidden, channels),
        }

    @cached_property
    def vectors(self) -> dict[str, tuple[int, ...]]:
        """Vectors of one layer: biases, mean weights of the two dense layers (the pools), LayerNorm."""
        rows, channels = self.rows, self.padded_channels
        return {
            "token_pool": (channels,),
            "token_pool_bias": (1,),
            "token_dense_bias": (self.padded_token_keys,),
            "token_value_bias": (self.padded_token_keys,),
            "channel_pool": (rows,),
            "channel_pool_bias": (1,),
            "channel_dense_bias": (self.padded_channel_keys,),
            "channel_value_bias": (self.padded_channel_keys,),
            "reweight_fc1_bias": (self.squeezed_tokens,),
            "reweight_fc2_bias": (rows,),
            "proj_bias": (channels,),
            "norm1_weight": (channels,),
            "norm1_bias": (channels,),
            "fc1_bias": (self.padded_hidden,),
            "fc2_bias": (channels,),
            "norm2_weight": (channels,),
            "norm2_bias": (channels,),
        }

    @cached_property
    def outer_matrices(self) -> dict[str, tuple[int, int]]:
        return {"emb": (self.padded_numbers, self.padded_channels), "fc": (self.padded_channels, self.padded_numbers)}

    @cached_property
    def outer_vectors(self) -> dict[str, tuple[int, ...]]:
        """The interpolation is among the vectors, because it stays in float32: it is most of the result."""
        return {
            "interp": (self.rows, self.padded_keyframes),
            "interp_bias": (self.rows,),
            "emb_sum": (self.padded_channels,),
            "emb_bias": (self.padded_channels,),
            "norm_weight": (self.padded_channels,),
            "norm_bias": (self.padded_channels,),
            "fc_bias": (self.padded_numbers,),
        }

    @cached_property
    def at(self) -> SimpleNamespace:
        """Where each packed weight starts: inside its layer or, for the ends of the network, behind all layers."""
        matrix_places, matrix_stride = _places(self.matrices, 0)
        vector_places, vector_stride = _places(self.vectors, 0)
        outer_matrices, matrix_size = _places(self.outer_matrices, self.layers * matrix_stride)
        outer_vectors, vector_size = _places(self.outer_vectors, self.layers * vector_stride)
        sizes = {"matrix_stride": matrix_stride, "matrix_size": matrix_size}
        sizes |= {"vector_stride": vector_stride, "vector_size": vector_size}
        return SimpleNamespace(**matrix_places, **vector_places, **outer_matrices, **outer_vectors, **sizes)


def _places(shapes: Mapping[str, tuple[int, ...]], start: int) -> tuple[dict[str, int], int]:
    places = {}
    for name, shape in shapes.items():
        places[name] = start
        size = 1
        for length in shape:
            size *= length
        # Starts are multiples of 16 numbers, where vector loads of every type may begin.
        start += _up(size, 16)
    return places, start


def power(n: int) -> int:
    """The next power of two."""
    return 1 << (n - 1).bit_length()


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
