"""One encoder layer in training, on whole tensors: forward, and all gradients from the layer's input alone.

Three launches forward, seven backwards: `README.md` says which and what they leave in memory. Each of those backwards
writes the gradients that its Linears received, as operands, and a library product makes that of the weight. No sum
depends on which program comes first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.dropout import BLOCK, dropout_fwd_kernel
from mixsynth_stream.kernels.feed_forward_bwd import (
    feed_forward_bwd_kernel,
    feed_forward_end_bwd_kernel,
    feed_forward_train_fwd_kernel,
)
from mixsynth_stream.kernels.launch import Specialisation
from mixsynth_stream.kernels.pack import OPERANDS
from mixsynth_stream.kernels.synth_attention_bwd import (
    channel_branch_bwd_kernel,
    channel_branch_fwd_kernel,
    token_branch_bwd_kernel,
)
from mixsynth_stream.kernels.synth_mix_bwd import synth_mix_bwd_kernel, synth_mix_train_fwd_kernel
from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.weights import (
    FeedForwardWeights,
    LayerWeights,
    NormWeights,
    SynthAttentionWeights,
    SynthMixWeights,
)

# Type of a kernel's arguments where it is neither float32 nor a flag.
_OPERAND_ARGUMENTS = ("matrices", "d_proj", "y", "y_out", "hidden_out", "d_before", "d_second", "mixed_out",
                      "d_energies_out", "d_values_out")  # fmt: skip
_KERNELS = (dropout_fwd_kernel, channel_branch_fwd_kernel, synth_mix_train_fwd_kernel, feed_forward_train_fwd_kernel,
            feed_forward_end_bwd_kernel, feed_forward_bwd_kernel, synth_mix_bwd_kernel,
            token_branch_bwd_kernel, channel_branch_bwd_kernel)  # fmt: skip


def training_tile(config: ModelConfig, precision: str) -> Tile:
    """One window a program. Raises `BackendUnavailableError` where a program cannot hold it."""
    tile = Tile(
        tokens=config.seq_len,
        channels=config.emb_dim,
        numbers=config.joint_dim,
        keyframes=config.num_keyframes,
        layers=1,
        token_keys=config.seq_len // config.reduce_token,
        channel_keys=config.emb_dim // config.reduce_channel,
        hidden=config.emb_dim * config.expansion_factor,
        windows=1,
        precision=precision,
    )
    if not tile.fits:
        raise BackendUnavailableError(
            f"training on the kernels needs a window that fits into one program, found {tile.tokens} tokens and "
            f"{tile.channels} channels; train without them"
        )
    return tile


class TrainedLayer:
    """Launches for one layer: its packed weights and its dropout."""

    def __init__(self, tile: Tile, matrices: Tensor, vectors: Tensor, seed: Tensor, share: float) -> None:
        self.tile, self._packed = tile, (matrices, vectors)
        self._drops = seed, share
        self._flags = {"DROPS": share > 0}

    def __call__(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, C]
        out = torch.empty_like(x)
        if len(x):
            proj, *kept = self._kept(x)
            summed = self._recomputed(x, proj)[1]
            given = *self._packed, *kept, self._drops[1]
            flags = {**self._flags, "NUMBERS": _numbers(self.tile)}
            self._launch(feed_forward_train_fwd_kernel, summed, out, *given, **flags)
        return out

    def backward(self, x: Tensor, d_out: Tensor) -> tuple[Tensor, LayerWeights]:
        """Gradients of x and, in the type of the operands or float32, of the weights."""
        tile, operand = self.tile, self._packed[0].dtype
        batch, made = len(x), _Made(x, operand)
        kept_proj, kept_hidden, kept_out = self._kept(x)
        share = self._drops[1]
        given, summed = self._recomputed(x, kept_proj)
        d_end, d_summed = torch.empty_like(x), torch.empty_like(x)
        y, d_second, d_proj = (made(tile.channels) for _ in range(3))
        hidden, d_before = made(tile.hidden), made(tile.hidden)
        norms = x.new_empty(batch, 4, tile.padded_channels)
        self._launch(
            feed_forward_end_bwd_kernel, summed, d_out, d_end, d_second, y, norms, *self._packed, kept_hidden,
            kept_out, share, **self._flags, NUMBERS=_numbers(self.tile),
        )  # fmt: skip
        self._launch(
            feed_forward_bwd_kernel, summed, d_end, d_second, y, d_summed, d_proj, hidden, d_before, norms,
            *self._packed, kept_hidden, kept_proj, share, **self._flags, NUMBERS=_numbers(self.tile),
        )  # fmt: skip
        ff = FeedForwardWeights(
            *_linear_bwd(y, d_before), *_linear_bwd(hidden, d_second), NormWeights(*_norms(norms, tile, 2))
        )
        del kept_proj, kept_hidden, kept_out, y, hidden, d_before, d_second, summed
        # d_summed is the residual's part of the gradient of x, to which the branches add theirs.
        d_x, d_token, d_given, mixed = d_summed, d_end, torch.empty_like(x), made(tile.channels)
        mix_small, token_small, channel_small = (
            x.new_empty(batch, 2 * (long + short))
            for long, short in (
                (tile.rows, tile.squeezed_tokens),
                (tile.rows, tile.squeezed_tokens),
                (tile.padded_channels, tile.squeezed_channels),
            )
        )
        self._launch(synth_mix_bwd_kernel, x, given, d_proj, d_token, d_given, mixed, mix_small, *self._packed)
        proj = _linear_bwd(mixed, d_proj)
        del given, d_proj, mixed
        rows, by_time = x.to(operand), x.transpose(0, 1).to(operand).flatten(1)  # [B, T, C], [T, B * C]
        d_energies, d_values = made(tile.token_keys), made.keys(tile.token_keys * tile.reduces_tokens)
        self._launch(token_branch_bwd_kernel, x, d_token, d_x, d_energies, d_values, token_small, *self._packed)
        gate = _gate_bwd(token_small, tile.rows, tile.tokens)
        token = SynthAttentionWeights(*_linear_bwd(rows, d_energies), *gate, *_by_keys(d_values, by_time))
        d_energies, d_values = made.keys(tile.channel_keys), made(tile.channel_keys * tile.reduces_channels)
        d_pooled = x.new_empty(batch, tile.channels)
        self._launch(
            channel_branch_bwd_kernel, x, d_given, d_x, d_energies, d_pooled, d_values, channel_small, *self._packed,
            COLUMNS=_columns(tile),
        )  # fmt: skip
        gate = _gate_bwd(channel_small, tile.padded_channels, tile.channels)
        dense = _by_keys(d_energies, by_time)
        pool = (by_time @ d_pooled.to(operand).flatten(), d_pooled.sum())
        dense = dense[0] + pool[0] / tile.channel_keys, dense[1] + pool[1] / tile.channel_keys
        channel = SynthAttentionWeights(*dense, *gate, *_linear_bwd(rows, d_values))
        mix = SynthMixWeights(token, channel, *_reweight_bwd(mix_small, tile), *proj)
        return d_x, LayerWeights(mix, NormWeights(*_norms(norms, tile, 0)), ff)

    def _kept(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the three dropouts keep; without dropout, anything."""
        seed, share = self._drops
        if not share:
            return seed, seed, seed
        kept = []
        for stream, width in enumerate((self.tile.channels, self.tile.hidden, self.tile.channels)):
            kept.append(x.new_empty(*x.shape[:2], width, dtype=torch.int8))
            count = self.tile.tokens * width
            grid = len(x), -(-count // BLOCK)
            dropout_fwd_kernel[grid](
                kept[-1], seed, share, count, STREAM=stream, BLOCK=BLOCK, num_warps=_num_warps(self.tile), num_stages=1
            )
        return kept[0], kept[1], kept[2]

    def _recomputed(self, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, C] each
        """What the channels give, and what the first LayerNorm takes."""
        given, summed = torch.empty_like(x), torch.empty_like(x)
        self._launch(channel_branch_fwd_kernel, x, given, *self._packed)
        share = self._drops[1]
        self._launch(synth_mix_train_fwd_kernel, x, given, summed, *self._packed, kept, share, **self._flags)
        return given, summed

    def _launch(self, kernel: Any, x: Tensor, *arguments: object, **flags: int) -> None:
        kernel[(len(x),)](x, *arguments, len(x), S=self.tile, **flags, num_warps=_num_warps(self.tile), num_stages=1)


class _Made:
    """New tensors of operands that have an x's windows."""

    def __init__(self, x: Tensor, operand: torch.dtype) -> None:
        self._x, self._operand = x, operand

    def __call__(self, width: int) -> Tensor:  # [B, T, width]
        return self._x.new_empty(*self._x.shape[:2], width, dtype=self._operand)

    def keys(self, keys: int) -> Tensor:  # [keys, B, C]
        return self._x.new_empty(keys, len(self._x), self._x.shape[2], dtype=self._operand)


def _linear_bwd(x: Tensor, d_out: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, i], [B, T, o] -> [o, i], [o]
    d_out = d_out.flatten(0, -2)
    return d_out.T @ x.flatten(0, -2), d_out.sum(0, dtype=torch.float32)


def _by_keys(d_out: Tensor, by_time: Tensor) -> tuple[Tensor, Tensor]:  # [o, B, C], [T, B * C] -> [o, T], [o]
    d_out = d_out.flatten(1)
    return d_out @ by_time.T, d_out.sum(1, dtype=torch.float32)


def _norms(norms: Tensor, tile: Tile, first: int) -> tuple[Tensor, Tensor]:  # [B, 4, padded channels] -> [C] each
    weight, bias = norms[:, first : first + 2, : tile.channels].sum(0)
    return weight.clone(), bias.clone()


def _split(small: Tensor, padded: int, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four vectors of each window: two of `length`, two of a fourth of it."""
    long, short = small[:, : 2 * padded].unflatten(1, (2, -1)), small[:, 2 * padded :].unflatten(1, (2, -1))
    return long[:, 0, :length], long[:, 1, :length], short[:, 0, : length // 4], short[:, 1, : length // 4]


def _gate_bwd(small: Tensor, padded: int, length: int) -> tuple[Tensor, Tensor]:
    """Gradients of a gate's two matrices."""
    pooled, d_excited, squeezed, d_squeezed = _split(small, padded, length)
    return d_squeezed.T @ pooled, d_excited.T @ squeezed


def _reweight_bwd(small: Tensor, tile: Tile) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean, d_difference, hidden, d_before = _split(small, tile.rows, tile.tokens)
    # Two scores a token, of which the kernels know the difference.
    weight, bias = (torch.stack((part, -part), dim=1).flatten(0, 1) for part in _linear_bwd(hidden, d_difference))
    return *_linear_bwd(mean, d_before), weight, bias


def _numbers(tile: Tile) -> int:
    """Hidden numbers that are in registers at once in the feed-forward."""
    return min(tile.hidden_block, 32) if tile.rows * tile.padded_channels > 128 * 64 else tile.hidden_block


def _columns(tile: Tile) -> int:
    """Channels whose energies are in registers at once in the backward of the channel branch."""
    return 32 if tile.padded_channels > 64 else 16


def _num_warps(tile: Tile) -> int:
    return 8 if tile.largest > 64 * 64 else 4


def specialisations_backward(config: ModelConfig, precision: str) -> list[Specialisation]:
    """What a training step launches, for those who compile it ahead of time. With dropout, which takes more."""
    tile = training_tile(config, precision)
    operand = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}[OPERANDS[precision]]
    constants = {"S": tile, "DROPS": True, "COLUMNS": _columns(tile), "NUMBERS": _numbers(tile)}
    constants |= {"STREAM": 0, "BLOCK": BLOCK}
    found = []
    for kernel in _KERNELS:
        kinds = dict.fromkeys(kernel.arg_names, "*fp32")
        kinds |= {name: operand for name in _OPERAND_ARGUMENTS if name in kinds}
        scalars = {"seed": "*i64", "share": "fp32", "batch": "i32", "count": "i32"}
        scalars |= dict.fromkeys(("kept", "kept_proj", "kept_hidden", "kept_out"), "*i8")
        scalars |= dict.fromkeys(constants, "constexpr")
        kinds |= {name: kind for name, kind in scalars.items() if name in kinds}
        values = {name: value for name, value in constants.items() if name in kinds}
        aligned = tuple(i for i, (name, kind) in enumerate(kinds.items()) if kind.startswith("*") and name != "seed")
        name = kernel.fn.__name__.removesuffix("_kernel")
        found.append(Specialisation(kernel, kinds, values, aligned, _num_warps(tile), 1, name))
    return found
