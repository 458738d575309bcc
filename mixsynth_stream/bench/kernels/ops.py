"""Ops for `bench kernels`: each file with kernels by itself, beside its reference in eager torch.

An op has the name of its file in kernels/: `synth_mix` is the forward, `training/synth_mix` both passes in training. An
op is a case, as a network is: each contender gives its results by name, and they are held against float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mixsynth_stream.bench.kernels.contenders import EAGER, Contender
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels import ref
from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.ops import Ops
from mixsynth_stream.kernels.pack import pack_layer
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.kernels.training import ref as training_ref
from mixsynth_stream.kernels.training.channel_branch import channel_branch, channel_branch_bwd, channel_values
from mixsynth_stream.kernels.training.dropout import dropout
from mixsynth_stream.kernels.training.feed_forward import feed_forward, feed_forward_bwd
from mixsynth_stream.kernels.training.large_branch import branch_tile, large_branch, large_branch_bwd
from mixsynth_stream.kernels.training.library_products import OperandX
from mixsynth_stream.kernels.training.packed_layer import PackedLayer
from mixsynth_stream.kernels.training.synth_mix import synth_mix, synth_mix_bwd
from mixsynth_stream.kernels.training.tile import TrainingTile
from mixsynth_stream.kernels.training.token_branch import token_branch, token_branch_bwd
from mixsynth_stream.kernels.weights import EncoderWeights, SynthAttentionWeights
from mixsynth_stream.parameters import random_state

Results = dict[str, Tensor]
Call = Callable[[], Results]
# What dropout takes in its own case; the other ops run without.
_SHARE, _SEED = 0.1, 5


@dataclass(frozen=True)
class Op:
    """How the kernels run an op in a precision, and how its reference does in a type of numbers."""

    kernels: Callable[[OpCase, str], Call]
    reference: Callable[[OpCase, torch.dtype], Call]


class OpCase:
    """One op and one batch on a device, with random weights and random inputs."""

    def __init__(self, name: str, config: ModelConfig, batch: int, device: torch.device) -> None:
        self.name, self.config, self.batch, self.device = name, config, batch, device
        self.state = random_state(config)
        self._random = torch.Generator().manual_seed(batch)
        rows = config.seq_len, config.emb_dim
        self.x, self.t, self.c, self.d_out = (self._normal(*rows) for _ in range(4))
        self.difference, self.d_difference = (self._normal(config.seq_len) for _ in range(2))
        self.keyframes = self._normal(config.num_keyframes, config.joint_dim)

    def _normal(self, *shape: int) -> Tensor:  # [B, ...]
        return torch.randn(self.batch, *shape, generator=self._random).to(self.device)

    def weights(self, dtype: torch.dtype) -> EncoderWeights:
        state = {name: torch.from_numpy(value.copy()).to(self.device, dtype) for name, value in self.state.items()}
        return EncoderWeights.of(state)

    def packed(self, precision: str) -> PackedLayer:
        """The first layer as training packs it."""
        layer = self.weights(torch.float32).layers[0]
        tile = TrainingTile.of_layer(layer, precision)
        return PackedLayer(tile, *pack_layer(layer, tile))

    @cached_property
    def truth(self) -> Results:
        """The reference's results, in float64."""
        return OPS[self.name].reference(self, torch.float64)()

    def work(self) -> tuple[float, float]:
        """Operations of the reference's products, and bytes of x and of all results."""
        with FlopCounterMode(display=False) as counter:
            results = OPS[self.name].reference(self, torch.float32)()
        return counter.get_total_flops(), 4 * sum(value.numel() for value in (self.x, *results.values()))


def _by_name(names: str, values: Iterable[Tensor]) -> Results:
    return dict(zip(names.split(), values, strict=True))


def _branch_by_name(gradients: SynthAttentionWeights, reduced: bool) -> Results:
    """Those of a branch's weights, without the values where nothing is reduced."""
    used = gradients._asdict() if reduced else dict(list(gradients._asdict().items())[:4])
    return {f"d_{name}": value for name, value in used.items()}


def _synth_attention(case: OpCase, precision: str) -> Call:
    ops = Ops(case.weights(torch.float32).layers[0], precision=precision)
    return lambda: _by_name("t c", ops.synth_attention(case.x))


def _synth_attention_ref(case: OpCase, dtype: torch.dtype) -> Call:
    mix, x = case.weights(dtype).layers[0].mix, case.x.to(dtype)
    return lambda: _by_name("t c", ref.synth_attention_ref(x, mix.token, mix.channel))


def _synth_mix(case: OpCase, precision: str) -> Call:
    ops = Ops(case.weights(torch.float32).layers[0], precision=precision)
    return lambda: {"mixed": ops.synth_mix(case.x)}


def _synth_mix_ref(case: OpCase, dtype: torch.dtype) -> Call:
    mix, x = case.weights(dtype).layers[0].mix, case.x.to(dtype)
    return lambda: {"mixed": ref.synth_mix_ref(x, mix)}


def _feed_forward(case: OpCase, precision: str) -> Call:
    ops = Ops(case.weights(torch.float32).layers[0], precision=precision)
    return lambda: {"out": ops.feed_forward(case.x)}


def _feed_forward_ref(case: OpCase, dtype: torch.dtype) -> Call:
    weights, x = case.weights(dtype).layers[0].feed_forward, case.x.to(dtype)
    return lambda: {"out": ref.feed_forward_ref(x, weights)}


def _encoder_as_on(capability: tuple[int, int] | None) -> Callable[[OpCase, str], Call]:
    def kernels(case: OpCase, precision: str) -> Call:
        encoder = Encoder(case.state, case.config, precision=precision, device=case.device, capability=capability)
        return lambda: {"motion": encoder(case.keyframes)}

    return kernels


def _encoder_ref(case: OpCase, dtype: torch.dtype) -> Call:
    weights, keyframes = case.weights(dtype), case.keyframes.to(dtype)
    return lambda: {"motion": ref.encoder_ref(keyframes, weights)}


def _dropout(case: OpCase, precision: str) -> Call:
    tile, seed = case.packed(precision).tile, torch.tensor([_SEED], device=case.device)
    return lambda: _by_name("proj hidden out", dropout(case.x, tile, seed, _SHARE)[:3])


def _dropout_ref(case: OpCase, dtype: torch.dtype) -> Call:
    widths = case.config.emb_dim, case.config.emb_dim * case.config.expansion_factor, case.config.emb_dim

    def call() -> Results:
        shapes = ((case.batch, case.config.seq_len, width) for width in widths)
        factors = (training_ref.dropout_ref(_SEED, i, s, _SHARE, case.device) for i, s in enumerate(shapes))
        return _by_name("proj hidden out", ((factor > 0).to(dtype) for factor in factors))

    return call


def _token_branch(case: OpCase, precision: str) -> Call:
    layer, x, reduced = case.packed(precision), case.x, case.config.reduce_token > 1

    def call() -> Results:
        branch, d_x = token_branch(layer, x, case.c), torch.zeros_like(x)
        operand_x = OperandX.of(x, layer.operand)
        d_mean, weights, reweight = token_branch_bwd(
            layer, x, operand_x, case.d_out, branch.mean, case.d_difference, d_x
        )
        return {
            **_by_name("t mean a_t d_x d_mean", (*branch, d_x, d_mean)),
            **_branch_by_name(weights, reduced),
            **_by_name("d_fc1_weight d_fc1_bias d_fc2_weight d_fc2_bias", reweight),
        }

    return call


def _token_branch_ref(case: OpCase, dtype: torch.dtype) -> Call:
    mix, reduced = case.weights(dtype).layers[0].mix, case.config.reduce_token > 1
    x, c, d_t, d_difference = (tensor.to(dtype) for tensor in (case.x, case.c, case.d_out, case.d_difference))

    def call() -> Results:
        t = ref.branch_ref(x, mix.token)
        mean = (t + c).mean(dim=-1)
        _, difference = training_ref.reweight_ref(mean, mix)
        d_mean, *reweight = training_ref.reweight_bwd_ref(mean, mix, d_difference)
        d_mean = d_mean / x.shape[-1]
        d_x, weights = training_ref.branch_bwd_ref(x, mix.token, d_t + d_mean[..., None])
        return {
            **_by_name("t mean a_t d_x d_mean", (t, mean, difference.sigmoid(), d_x, d_mean)),
            **_branch_by_name(weights, reduced),
            **_by_name("d_fc1_weight d_fc1_bias d_fc2_weight d_fc2_bias", reweight),
        }

    return call


def _channel_branch(case: OpCase, precision: str) -> Call:
    layer, x, reduced = case.packed(precision), case.x, case.config.reduce_channel > 1

    def call() -> Results:
        values, d_x = channel_values(layer, x), torch.zeros_like(x)
        c, operand_x = channel_branch(layer, x, values), OperandX.of(x, layer.operand)
        weights = channel_branch_bwd(layer, x, operand_x, values, case.d_out, case.difference, d_x)
        return {"c": c, "d_x": d_x, **_branch_by_name(weights, reduced)}

    return call


def _channel_branch_ref(case: OpCase, dtype: torch.dtype) -> Call:
    channel, reduced = case.weights(dtype).layers[0].mix.channel, case.config.reduce_channel > 1
    x, d_c = case.x.to(dtype).mT, (case.d_out + case.difference[..., None]).to(dtype).mT

    def call() -> Results:
        d_x, weights = training_ref.branch_bwd_ref(x, channel, d_c)
        return {"c": ref.branch_ref(x, channel).mT, "d_x": d_x.mT, **_branch_by_name(weights, reduced)}

    return call


def _mixture(case: OpCase, precision: str) -> Call:
    layer, a_t = case.packed(precision), case.difference.sigmoid()
    seed = torch.tensor([_SEED], device=case.device)
    d_proj, inputs = case.d_out.to(layer.operand), (case.t, case.c, a_t)

    def call() -> Results:
        summed = synth_mix(layer, case.x, *inputs, dropout(case.x, layer.tile, seed, 0.0))
        gradients = synth_mix_bwd(layer, d_proj, *inputs)
        return _by_name(
            "summed d_t d_c d_difference d_proj_weight d_proj_bias", (summed, *gradients[:3], *gradients.proj)
        )

    return call


def _mixture_ref(case: OpCase, dtype: torch.dtype) -> Call:
    mix, a_t = case.weights(dtype).layers[0].mix, case.difference.to(dtype).sigmoid()
    x, t, c, d_proj = (tensor.to(dtype) for tensor in (case.x, case.t, case.c, case.d_out))

    def call() -> Results:
        summed = x + training_ref.mixture_ref(t, c, a_t, mix)
        gradients = training_ref.mixture_bwd_ref(t, c, a_t, mix, d_proj)
        return _by_name("summed d_t d_c d_difference d_proj_weight d_proj_bias", (summed, *gradients))

    return call


def _second_half(case: OpCase, precision: str) -> Call:
    layer, seed = case.packed(precision), torch.tensor([_SEED], device=case.device)

    def call() -> Results:
        masks = dropout(case.x, layer.tile, seed, 0.0)
        out, gradients = feed_forward(layer, case.x, masks), feed_forward_bwd(layer, case.x, case.d_out, masks)
        return _by_name(_SECOND_HALF, (out, gradients.d_summed, *gradients.norm1, *gradients.weights[:4]))

    return call


_SECOND_HALF = "out d_summed d_norm_weight d_norm_bias d_fc1_weight d_fc1_bias d_fc2_weight d_fc2_bias"


def _second_half_ref(case: OpCase, dtype: torch.dtype) -> Call:
    layer, summed, d_out = case.weights(dtype).layers[0], case.x.to(dtype), case.d_out.to(dtype)
    keeps = training_ref.Drops(*(torch.ones((), dtype=dtype, device=case.device) for _ in range(3)))

    def call() -> Results:
        y = functional.layer_norm(summed, summed.shape[-1:], *layer.norm)
        out = ref.feed_forward_ref(y, layer.feed_forward)
        d_y, weights = training_ref.feed_forward_bwd_ref(y, layer.feed_forward, keeps, d_out)
        d_summed, norm = training_ref.layer_norm_bwd_ref(summed, layer.norm, d_y)
        return _by_name(_SECOND_HALF, (out, d_summed, *norm, *weights[:4]))

    return call


def _large_branch(case: OpCase, precision: str) -> Call:
    layer = case.packed(precision)
    tile, token = branch_tile(layer.tile, True), case.weights(layer.operand).layers[0].mix.token
    rows, values, d_out = (tensor.to(layer.operand) for tensor in _large_inputs(case))
    dense, bias, gate = token.dense_weight, token.dense_bias.float(), case.difference.sigmoid()

    def call() -> Results:
        attention = large_branch(tile, rows, dense, bias, gate)
        gradients = large_branch_bwd(tile, rows, dense, bias, gate, values, d_out)
        return _by_name("attention d_energies d_excited", (attention, *gradients))

    return call


def _large_branch_ref(case: OpCase, dtype: torch.dtype) -> Call:
    token, gate = case.weights(dtype).layers[0].mix.token, case.difference.to(dtype).sigmoid()
    rows, values, d_out = (tensor.to(dtype) for tensor in _large_inputs(case))
    inputs = rows, token.dense_weight, token.dense_bias, gate

    def call() -> Results:
        gradients = training_ref.large_branch_bwd_ref(*inputs, values, d_out)
        return _by_name("attention d_energies d_excited", (training_ref.large_branch_ref(*inputs), *gradients))

    return call


def _large_inputs(case: OpCase) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, values [B, m, width] and the gradient of the token branch."""
    keys = case.config.seq_len // case.config.reduce_token
    return case.x, case.t[:, :keys].contiguous(), case.d_out


OPS: dict[str, Op] = {
    "synth_attention": Op(_synth_attention, _synth_attention_ref),
    "synth_mix": Op(_synth_mix, _synth_mix_ref),
    "feed_forward": Op(_feed_forward, _feed_forward_ref),
    "encoder": Op(_encoder_as_on(None), _encoder_ref),
    "blocks/kernels": Op(_encoder_as_on((8, 0)), _encoder_ref),
    "training/dropout": Op(_dropout, _dropout_ref),
    "training/token_branch": Op(_token_branch, _token_branch_ref),
    "training/channel_branch": Op(_channel_branch, _channel_branch_ref),
    "training/synth_mix": Op(_mixture, _mixture_ref),
    "training/feed_forward": Op(_second_half, _second_half_ref),
    "training/large_branch": Op(_large_branch, _large_branch_ref),
}


def _kernels(precision: str) -> Contender:
    return Contender(lambda case: OPS[case.name].kernels(case, precision), precision)


OP_CONTENDERS: dict[str, Contender] = {
    EAGER: Contender(lambda case: OPS[case.name].reference(case, torch.float32), "fp32"),
    **{f"kernels {precision}": _kernels(precision) for precision in PRECISIONS},
}
