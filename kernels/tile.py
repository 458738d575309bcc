"""Padded sizes of the fused encoder: how one program holds a group of windows. No torch and no Triton in here.

A program works on `windows` windows at once. Each has a slot of `token_slot` rows, and a slot of the same kind for
its keyframes, its token keys and its squeezed tokens. Matrices that work along time are block-diagonal over the slots,
so that a group reads like one long window; padding is zero in every matrix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

from mixsynth_stream.config import ModelConfig

# The card whose registers and wgmma the fused plan is for; what else there is gets blocks.
FUSED_CAPABILITY = (9, 0)
PRECISIONS = ("strict", "tf32", "bf16", "fp16")

# Numbers that one program can hold in registers as x [rows, channels], which is the largest thing that lives long.
_LARGEST_TILE = 128 * 128
_MOST_ROWS = 256
# In training a program holds three matrices of the tokens' energies: beyond these it spills, or finds no shared memory.
_TRAINED_ENERGIES = 64 * 64
_MOST_TRAINED_ROWS = 128
# Up to these sizes (half as much where strict) one launch does the whole network, or a whole layer, unspilled.
_WHOLE_STACK = 64 * 32
_WHOLE_LAYER = 128 * 64
_WHOLE_STRICT = 64 * 32
# Windows as short as jhmdb's (11 tokens) are grouped until their rows fill a tensor-core instruction of 64 rows.
_GROUPED_ROWS = 64
# tl.dot takes no inner dimension below 16.
_SMALLEST = 16
_THIS_CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What one launch does. `all_layers`: every layer, in a loop; otherwise parts of one layer."""

    embed: bool = False
    all_layers: bool = False
    channel: bool = False
    token: bool = False  # only where tiled: otherwise it is part of mix
    mix: bool = False
    feed_forward: bool = False
    finish: bool = False


@dataclass(frozen=True)
class Tile:
    """What is known of a shape when a kernel is compiled. Properties are padded sizes and places in packed weights."""

    tokens: int  # T
    channels: int  # C
    numbers: int  # D
    keyframes: int  # Q + 1
    layers: int  # L
    token_keys: int  # T / reduce_token
    channel_keys: int  # C / reduce_channel
    hidden: int  # E
    windows: int
    precision: str
    # Not in one program: in blocks (`blocks/`) or, in training, with products of the library (`training/large_mix.py`).
    tiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {self.precision!r}")

    @property
    def cache_key(self) -> str:
        """What Triton files compiled kernels under: with the fields alone it would find those of older sizes, too."""
        return f"{self!r} {_THIS_CODE}"

    @cached_property
    def token_slot(self) -> int:
        return max(_power(self.tokens), _SMALLEST)

    @cached_property
    def rows(self) -> int:
        return self.windows * self.token_slot

    @cached_property
    def padded_channels(self) -> int:
        return max(_power(self.channels), _SMALLEST)

    @cached_property
    def keyframe_slot(self) -> int:
        return _power(self.keyframes)

    @cached_property
    def padded_keyframes(self) -> int:
        return max(self.windows * self.keyframe_slot, _SMALLEST)

    @cached_property
    def token_key_slot(self) -> int:
        return _power(self.token_keys) if self.reduces_tokens else self.token_slot

    @cached_property
    def padded_token_keys(self) -> int:
        return max(self.windows * self.token_key_slot, _SMALLEST)

    @cached_property
    def padded_channel_keys(self) -> int:
        return max(_power(self.channel_keys), _SMALLEST)

    @cached_property
    def reduces_tokens(self) -> bool:
        return self.token_keys != self.tokens

    @cached_property
    def reduces_channels(self) -> bool:
        return self.channel_keys != self.channels

    @cached_property
    def squeezed_slot(self) -> int:
        return _power(max(self.tokens // 4, 1))

    @cached_property
    def squeezed_tokens(self) -> int:
        return self.windows * self.squeezed_slot

    @cached_property
    def squeezed_channels(self) -> int:
        return _power(max(self.channels // 4, 1))

    @cached_property
    def hidden_block(self) -> int:
        """Hidden numbers of the feed-forward that are in the making at once."""
        return max(min(_power(self.hidden), 64 if self.half else 32), _SMALLEST)

    @cached_property
    def padded_hidden(self) -> int:
        return _up(self.hidden, self.hidden_block)

    @cached_property
    def numbers_block(self) -> int:
        return max(min(_power(self.numbers), 64 if self.half else 32), _SMALLEST)

    @cached_property
    def padded_numbers(self) -> int:
        return _up(self.numbers, self.numbers_block)

    @cached_property
    def half(self) -> bool:
        return self.precision in ("bf16", "fp16")

    @cached_property
    def channel_block(self) -> int:
        """Channels of a window that a training kernel holds at once."""
        return min(self.padded_channels, 32 if self.half or self.rows <= 32 else 16)

    @cached_property
    def row_block(self) -> int:
        """Tokens of a window that a training kernel holds at once, where it works along time."""
        return min(self.rows, 32)

    @cached_property
    def key_block(self) -> int:
        """Channel keys that a training kernel reads back at once."""
        return self.padded_channel_keys if self.half else min(self.padded_channel_keys, 32)

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
        """Where each packed weight starts, inside its layer or, for those of no layer, behind all layers."""
        matrix_places, matrix_stride = _places(self.matrices, 0)
        vector_places, vector_stride = _places(self.vectors, 0)
        outer_matrices, matrix_size = _places(self.outer_matrices, self.layers * matrix_stride)
        outer_vectors, vector_size = _places(self.outer_vectors, self.layers * vector_stride)
        sizes = {"matrix_stride": matrix_stride, "matrix_size": matrix_size}
        sizes |= {"vector_stride": vector_stride, "vector_size": vector_size}
        return SimpleNamespace(**matrix_places, **vector_places, **outer_matrices, **outer_vectors, **sizes)

    @cached_property
    def launches(self) -> tuple[tuple[Stages, int], ...]:
        """The launches of one forward and the layer that each is for.

        The more registers a tile takes, the more parts a layer is cut into, so that none spills.
        """
        if self.tiled:
            return self._tiled_launches
        size = self.largest * (2 if self.precision == "strict" else 1)
        if size <= _WHOLE_STACK:
            return ((Stages(embed=True, all_layers=True, finish=True), 0),)
        # A window of few tokens and many channels (jhmdb by itself) has large energies but little beside them.
        few = self.rows * self.padded_channels <= _WHOLE_STACK
        whole = self.windows == 1 and (few or size <= _WHOLE_LAYER)
        # Beside the embedding of a group, the channel branch would spill.
        apart = self.windows > 1 and not whole
        launches = [(Stages(embed=True), 0)] if apart else []
        for i in range(self.layers):
            first, last = i == 0 and not apart, i == self.layers - 1
            if whole:
                parts = [Stages(embed=first, channel=True, mix=True, feed_forward=True, finish=last)]
            elif self.half:
                parts = [Stages(embed=first, channel=True), Stages(mix=True, feed_forward=True, finish=last)]
            else:
                parts = [Stages(embed=first, channel=True), Stages(mix=True), Stages(feed_forward=True, finish=last)]
            launches += [(stages, i) for stages in parts]
        return tuple(launches)

    @property
    def _tiled_launches(self) -> tuple[tuple[Stages, int], ...]:
        layer = (Stages(channel=True), Stages(token=True), Stages(mix=True), Stages(feed_forward=True))
        layers = ((stages, i) for i in range(self.layers) for stages in layer)
        return ((Stages(embed=True), 0), *layers, (Stages(finish=True), 0))

    @property
    def plan(self) -> str:
        """The launches of one forward, in words."""
        count = len(self.launches)
        if count == 1:
            words = "one launch for the network"
        elif count == self.layers:
            words = "one launch a layer"
        elif self.tiled:
            words = "4 launches a layer and one for each end"
        else:
            words = f"{count // self.layers} launches a layer" + (" and one before" if count % self.layers else "")
        words += f", {count} in all" if count > 1 else ""
        if self.tiled:
            words += ", windows in blocks"
        elif self.windows > 1:
            words += f", {self.windows} windows in a program"
        return words

    @property
    def fits(self) -> bool:
        """Whether one program can hold a window. Otherwise it has to be tiled."""
        return self.rows <= _MOST_ROWS and self.largest <= _LARGEST_TILE

    @property
    def fits_training(self) -> bool:
        """Whether one program can hold a window in training. Otherwise the library makes the branches' products."""
        energies = self.rows * self.padded_token_keys
        return self.fits and self.rows <= _MOST_TRAINED_ROWS and energies <= _TRAINED_ENERGIES

    @property
    def training_plan(self) -> str:
        """The launches of one layer in training, in words."""
        words = "4 launches a layer forward and 8 backwards"
        return words + (", products of both branches by the library" if self.tiled else "")


def for_training(tile: Tile) -> Tile:
    """The same in training, where fewer windows fit."""
    return replace(tile, tiled=not tile.fits_training)


def tile_of(
    config: ModelConfig, precision: str, batch: int, programs: int = 1, capability: tuple[int, int] = FUSED_CAPABILITY
) -> Tile:
    """The tile for `batch` windows on a card of a compute capability.

    Short windows are grouped once there are more groups than `programs` can run.
    """
    slot = max(_power(config.seq_len), _SMALLEST)
    grouped = max(_GROUPED_ROWS // slot, 1)
    # Four-byte operands of a group take too many registers and, in three TF32 parts, too much shared memory.
    if batch < programs * grouped or precision in ("strict", "tf32"):
        grouped = 1
    tile = Tile(
        tokens=config.seq_len,
        channels=config.emb_dim,
        numbers=config.joint_dim,
        keyframes=config.num_keyframes,
        layers=config.num_encoder_layers,
        token_keys=config.seq_len // config.reduce_token,
        channel_keys=config.emb_dim // config.reduce_channel,
        hidden=config.emb_dim * config.expansion_factor,
        windows=grouped,
        precision=precision,
    )
    if tile.fits and capability == FUSED_CAPABILITY and (precision != "strict" or tile.largest <= _WHOLE_STRICT):
        return tile
    return replace(tile, windows=1, tiled=True)


def _places(shapes: Mapping[str, tuple[int, ...]], start: int) -> tuple[dict[str, int], int]:
    places = {}
    for name, shape in shapes.items():
        places[name] = start
        size = 1
        for length in shape:
            size *= length
        # 16 numbers, so that every row of every type starts where vector loads may.
        start += _up(size, 16)
    return places, start


def _power(n: int) -> int:
    """The next power of two."""
    return 1 << (n - 1).bit_length()


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
