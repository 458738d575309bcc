"""One encoder layer in training, on whole tensors: forward, and all gradients from the layer's input alone.

Four launches forward, eight backwards: `README.md` says which and what they leave in memory. Each of those backwards
writes the gradients that its Linears received, as operands, and a library product makes that of the weight. No sum
depends on which program comes first. Windows that one program cannot hold have their branches from `large_mix.py`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.card import MOST_REGISTERS, Specialisation
from mixsynth_stream.kernels.pack import OPERANDS
from mixsynth_stream.kernels.tile import Tile, for_training
from mixsynth_stream.kernels.training.channel_branch import channel_branch_bwd_kernel, channel_branch_fwd_kernel
from mixsynth_stream.kernels.training.dropout import BLOCK, dropout_fwd_kernel
from mixsynth_stream.kernels.training.feed_forward import (
    feed_forward_bwd_kernel,
    feed_forward_end_bwd_kernel,
    feed_forward_train_fwd_kernel,
)
from mixsynth_stream.kernels.training.large_branch import (
    MOST_KEYS,
    BranchRows,
    branch_layout,
    large_branch_bwd_kernel,
    large_branch_fwd_kernel,
)
from mixsynth_stream.kernels.training.large_mix import LargeMix, Mixed
from mixsynth_stream.kernels.training.library_products import linear_bwd, linear_bwd_by_keys, reweight_bwd
from mixsynth_stream.kernels.training.synth_mix import synth_mix_bwd_kernel, synth_mix_train_fwd_kernel
from mixsynth_stream.kernels.training.token_branch import token_branch_bwd_kernel, token_branch_fwd_kernel
from mixsynth_stream.kernels.training.token_rows import TokenRows, token_rows
from mixsynth_stream.kernels.weights import (
    FeedForwardWeights,
    LayerWeights,
    NormWeights,
    SynthAttentionWeights,
    SynthMixWeights,
)

# Type of a kernel's arguments where it is neither float32 nor a flag.
_OPERAND_ARGUMENTS = ("matrices", "d_proj", "y", "y_out", "hidden_out", "d_before", "d_second", "mixed_out",
                      "d_energies_out", "d_values_out", "rows", "dense", "attention_out", "key_values",
                      "d_given")  # fmt: skip
_KERNELS = (dropout_fwd_kernel, channel_branch_fwd_kernel, token_branch_fwd_kernel, synth_mix_train_fwd_kernel,
            feed_forward_train_fwd_kernel, feed_forward_end_bwd_kernel, feed_forward_bwd_kernel, synth_mix_bwd_kernel,
            token_branch_bwd_kernel, channel_branch_bwd_kernel)  # fmt: skip
# Those that hold a window; and what is in their place where none can.
_OF_BRANCHES = (channel_branch_fwd_kernel, token_branch_fwd_kernel, token_branch_bwd_kernel, channel_branch_bwd_kernel)
_OF_LARGE_BRANCHES = (large_branch_fwd_kernel, large_branch_bwd_kernel)
# Those in which tokens do not meet.
_OF_TOKENS = (synth_mix_train_fwd_kernel, feed_forward_train_fwd_kernel, feed_forward_end_bwd_kernel,
              feed_forward_bwd_kernel, synth_mix_bwd_kernel)  # fmt: skip
# In large windows.
_MOST_CHANNELS = 256


def training_tile(config: ModelConfig, precision: str) -> Tile:
    """One window a program, where a program can hold it. Raises `BackendUnavailableError` on what no kernel trains."""
    tile = for_training(Tile(
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
    ))  # fmt: skip
    check_fits(tile)
    return tile


def check_fits(tile: Tile) -> None:
    """Raises `BackendUnavailableError` where a program cannot hold a row of channels, or of a branch's energies."""
    keys = max(tile.token_keys, tile.channel_keys)
    if tile.tiled and (keys > MOST_KEYS or tile.channels > _MOST_CHANNELS):
        raise BackendUnavailableError(
            f"training on the kernels takes at most {_MOST_CHANNELS} channels and {MOST_KEYS} keys a branch where one "
            f"program cannot hold a window, found {tile.channels} and {keys}; train without them"
        )


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
            summed = self._recomputed(x, proj).summed
            self._launch(
                feed_forward_train_fwd_kernel, summed, out, *self._packed, *kept, self._drops[1], **self._flags
            )
        return out

    def backward(self, x: Tensor, d_out: Tensor) -> tuple[Tensor, LayerWeights]:
        """Gradients of x and, in the type of the operands or float32, of the weights."""
        made, kept = _Made(x, self._packed[0].dtype), self._kept(x)
        again = self._recomputed(x, kept[0])
        d_proj, d_summed, norms, feed_forward = self._feed_forward_bwd(again.summed, d_out, kept, made)
        # d_summed is the residual's part of the gradient of x, to which the branches add theirs.
        d_x, d_token, d_given = d_summed, torch.empty_like(x), torch.empty_like(x)
        mixed, d_difference = made(self.tile.channels), torch.empty_like(again.mean)
        self._launch(
            synth_mix_bwd_kernel, d_proj, again.token, again.given, again.weight, d_token, d_given, d_difference, mixed,
            self._packed[0],
        )  # fmt: skip
        proj, mean, branches = linear_bwd(mixed, d_proj), again.mean, again.branches
        del kept, again, d_proj, mixed
        if isinstance(branches, Mixed):
            token, channel, reweight = self._large.backward(x, branches, d_token, d_given, d_difference, d_x)
        else:
            token, d_mean, mix_small = self._token_bwd(x, d_token, mean, d_difference, d_x, made)
            del d_token
            channel = self._channel_bwd(x, branches, d_given, d_mean, d_x, made)
            reweight = reweight_bwd(mean, d_difference, *mix_small[..., : self.tile.tokens // 4].unbind(1))
        mix = SynthMixWeights(token, channel, *reweight, *proj)
        return d_x, LayerWeights(mix, NormWeights(*_norms(norms, self.tile, 0)), feed_forward)

    def _feed_forward_bwd(
        self, summed: Tensor, d_out: Tensor, kept: tuple[Tensor, Tensor, Tensor], made: _Made
    ) -> tuple[Tensor, Tensor, Tensor, FeedForwardWeights]:
        """Gradients of what the projection gave and of what the first LayerNorm took, and parts of the norms'."""
        tile, share = self.tile, self._drops[1]
        kept_proj, kept_hidden, kept_out = kept
        d_end, d_summed = torch.empty_like(summed), torch.empty_like(summed)
        y, d_second, d_proj = (made(tile.channels) for _ in range(3))
        hidden, d_before = made(tile.hidden), made(tile.hidden)
        norms = summed.new_empty(self._programs(token_rows(tile), len(summed)), 4, tile.padded_channels)
        self._launch(
            feed_forward_end_bwd_kernel, summed, d_out, d_end, d_second, y, norms, *self._packed, kept_hidden,
            kept_out, share, **self._flags,
        )  # fmt: skip
        self._launch(
            feed_forward_bwd_kernel, summed, d_end, d_second, y, d_summed, d_proj, hidden, d_before, norms,
            *self._packed, kept_hidden, kept_proj, share, **self._flags,
        )  # fmt: skip
        weights = FeedForwardWeights(
            *linear_bwd(y, d_before), *linear_bwd(hidden, d_second), NormWeights(*_norms(norms, tile, 2))
        )
        return d_proj, d_summed, norms, weights

    def _token_bwd(
        self, x: Tensor, d_token: Tensor, mean: Tensor, d_difference: Tensor, d_x: Tensor, made: _Made
    ) -> tuple[SynthAttentionWeights, Tensor, Tensor]:
        """Gradients of the branch's weights, of the mean of both branches, and what those of the re-weight come of."""
        tile = self.tile
        d_mean, mix_small = torch.empty_like(mean), x.new_empty(len(x), 2, tile.squeezed_tokens)
        small = x.new_empty(len(x), 2 * (tile.rows + tile.squeezed_tokens))
        d_energies, d_values = made(tile.token_keys), made.keys(tile.token_keys * tile.reduces_tokens)
        self._launch(
            token_branch_bwd_kernel, x, d_token, mean, d_difference, d_x, d_mean, d_energies, d_values, mix_small,
            small, *self._packed,
        )  # fmt: skip
        dense, gate = linear_bwd(made.rows, d_energies), _gate_bwd(small, tile.rows, tile.tokens)
        return SynthAttentionWeights(*dense, *gate, *linear_bwd_by_keys(d_values, made.by_time)), d_mean, mix_small

    def _channel_bwd(
        self, x: Tensor, values: Tensor, d_given: Tensor, d_mean: Tensor, d_x: Tensor, made: _Made
    ) -> SynthAttentionWeights:
        tile, rows, by_time = self.tile, made.rows, made.by_time
        small = x.new_empty(len(x), 2 * (tile.padded_channels + tile.squeezed_channels))
        d_values = torch.zeros_like(values, dtype=torch.float32) if tile.reduces_channels else d_x
        d_energies, d_pooled = made.keys(tile.channel_keys), x.new_empty(len(x), tile.channels)
        self._launch(
            channel_branch_bwd_kernel, x, values, d_given, d_mean, d_x, d_values, d_energies, d_pooled, small,
            *self._packed,
        )  # fmt: skip
        gate = _gate_bwd(small, tile.padded_channels, tile.channels)
        dense = linear_bwd_by_keys(d_energies, by_time)
        pool = (by_time @ d_pooled.to(by_time.dtype).flatten(), d_pooled.sum())
        dense = dense[0] + pool[0] / tile.channel_keys, dense[1] + pool[1] / tile.channel_keys
        if not tile.reduces_channels:
            return SynthAttentionWeights(*dense, *gate, *linear_bwd(rows, made(0)))
        d_values = d_values.to(rows.dtype)
        d_x += d_values @ self._channel_value().T
        return SynthAttentionWeights(*dense, *gate, *linear_bwd(rows, d_values))

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
                kept[-1], seed, share, count, STREAM=stream, BLOCK=BLOCK, num_warps=self.tile.num_warps, num_stages=1,
                maxnreg=MOST_REGISTERS,
            )  # fmt: skip
        return kept[0], kept[1], kept[2]

    def _recomputed(self, x: Tensor, kept: Tensor) -> _Recomputed:
        branches: Tensor | Mixed
        if self.tile.tiled:
            branches = self._large(x)
            token, given, mean, weight = branches[:4]
        else:
            branches = self._channel_values(x)
            given, token = torch.empty_like(x), torch.empty_like(x)
            mean, weight = x.new_empty(x.shape[:2]), x.new_empty(x.shape[:2])
            self._launch(channel_branch_fwd_kernel, x, branches, given, *self._packed)
            self._launch(token_branch_fwd_kernel, x, given, token, mean, weight, *self._packed)
        share, summed = self._drops[1], torch.empty_like(x)
        self._launch(
            synth_mix_train_fwd_kernel, x, token, given, weight, summed, *self._packed, kept, share, **self._flags
        )
        return _Recomputed(branches, given, token, mean, weight, summed)

    @cached_property
    def _large(self) -> LargeMix:
        return LargeMix(self.tile, *self._packed)

    def _channel_values(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, T, n]
        if not self.tile.reduces_channels:
            return x
        operand = self._packed[0].dtype
        bias = self._packed[1][self.tile.at.channel_value_bias :][: self.tile.channel_keys]
        return x.to(operand) @ self._channel_value() + bias.to(operand)

    def _channel_value(self) -> Tensor:  # [C, n]
        """The matrix that reduces channels, where there is one."""
        rows, columns = self.tile.matrices["channel_value"]
        packed = self._packed[0][self.tile.at.channel_value :][: rows * columns].view(rows, columns)
        return packed[: self.tile.channels, : self.tile.channel_keys]

    def _programs(self, laid_out: Tile | TokenRows, batch: int) -> int:
        count = batch if laid_out is self.tile else batch * self.tile.tokens
        return -(-count // laid_out.windows)

    def _launch(self, kernel: Any, x: Tensor, *arguments: object, **flags: int) -> None:
        laid_out = _laid_out(kernel, self.tile)
        count = len(x) if laid_out is self.tile else len(x) * self.tile.tokens
        kernel[(self._programs(laid_out, len(x)),)](
            x, *arguments, count, S=laid_out, **flags, num_warps=laid_out.num_warps, num_stages=1,
            maxnreg=MOST_REGISTERS,
        )  # fmt: skip


class _Recomputed(NamedTuple):
    """What a layer goes through up to its first LayerNorm."""

    # [B, T, n], what the channels attend to: x, or reduced. For large windows, what the branches kept.
    branches: Tensor | Mixed
    given: Tensor  # [B, T, C], of the channels
    token: Tensor  # [B, T, C], of the tokens
    mean: Tensor  # [B, T], of both
    weight: Tensor  # [B, T], of the tokens in the mixture
    summed: Tensor  # [B, T, C], what the first LayerNorm takes


class _Made:
    """New tensors of operands that have an x's windows."""

    def __init__(self, x: Tensor, operand: torch.dtype) -> None:
        self._x, self._operand = x, operand

    def __call__(self, width: int) -> Tensor:  # [B, T, width]
        return self._x.new_empty(*self._x.shape[:2], width, dtype=self._operand)

    @cached_property
    def rows(self) -> Tensor:  # [B, T, C]
        """x itself, as operands."""
        return self._x.to(self._operand)

    @cached_property
    def by_time(self) -> Tensor:  # [T, B * C]
        return self._x.transpose(0, 1).to(self._operand).flatten(1)

    def keys(self, keys: int) -> Tensor:  # [keys, B, C]
        return self._x.new_empty(keys, len(self._x), self._x.shape[2], dtype=self._operand)


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


def _laid_out(kernel: Any, tile: Tile) -> Tile | TokenRows:
    """What a program of a kernel holds: a window, or a block of tokens."""
    return token_rows(tile) if kernel in _OF_TOKENS else tile


def specialisations_backward(config: ModelConfig, precision: str) -> list[Specialisation]:
    """What a training step launches, for those who compile it ahead of time. With dropout, which takes more."""
    tile = training_tile(config, precision)
    large = dict.fromkeys(branch_layout(tile, tokens) for tokens in (True, False)) if tile.tiled else {}
    found = [_specialisation(kernel, layout, tile) for kernel in _OF_LARGE_BRANCHES for layout in large]
    left = [kernel for kernel in _KERNELS if not (tile.tiled and kernel in _OF_BRANCHES)]
    return found + [_specialisation(kernel, _laid_out(kernel, tile), tile) for kernel in left]


def _specialisation(kernel: Any, laid_out: Tile | TokenRows | BranchRows, tile: Tile) -> Specialisation:
    """One of these, with the types of its arguments."""
    operand = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}[OPERANDS[tile.precision]]
    constants: dict[str, object] = {"S": laid_out, "DROPS": True, "STREAM": 0, "BLOCK": BLOCK}
    kinds = dict.fromkeys(kernel.arg_names, "*fp32")
    kinds |= {name: operand for name in _OPERAND_ARGUMENTS if name in kinds}
    if tile.reduces_channels and "values" in kinds:
        kinds["values"] = operand
    scalars = {"seed": "*i64", "share": "fp32", "batch": "i32", "count": "i32"}
    scalars |= dict.fromkeys(("kept", "kept_proj", "kept_hidden", "kept_out"), "*i8")
    scalars |= dict.fromkeys(constants, "constexpr")
    kinds |= {name: kind for name, kind in scalars.items() if name in kinds}
    values = {name: value for name, value in constants.items() if name in kinds}
    aligned = tuple(i for i, (name, kind) in enumerate(kinds.items()) if kind.startswith("*") and name != "seed")
    name = kernel.fn.__name__.removesuffix("_kernel")
    return Specialisation(kernel, kinds, values, aligned, laid_out.num_warps, 1, name, MOST_REGISTERS)
