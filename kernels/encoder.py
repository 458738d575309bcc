"""The whole network, fused: keyframes in, poses out, in one launch, one a layer, or up to three a layer.

How many depends on what fits into the registers of one program; `Tile.launches` says it. Between launches there is x,
in float32; no energies and no attention leave a program.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.ends import embed, finish
from mixsynth_stream.kernels.feed_forward import feed_forward
from mixsynth_stream.kernels.pieces import load_windows, load_windows_again, normed, store_windows
from mixsynth_stream.kernels.synth_attention import channel_branch, token_attention, token_values
from mixsynth_stream.kernels.synth_mix import both_branches, mix


# Not specialised: Triton would compile anew for layer 1 and for batches of whole sixteens.
@triton.jit(do_not_specialize=["batch", "layer"])
def encoder_fwd_kernel(
    keyframes: tl.tensor,  # [B, Q+1, D] float32
    motion: tl.tensor,  # [B, T, D] float32
    between: tl.tensor,  # [B, T, C] float32: x from launch to launch
    channel_out: tl.tensor,  # [B, T, C] float32: what the channels give, where a layer is split
    matrices: tl.tensor,  # packed
    vectors: tl.tensor,  # packed
    batch: int,
    layer: int,
    S: tl.constexpr,  # Tile
    STAGES: tl.constexpr,  # Stages
) -> None:
    """The stages of one launch, for one group of windows."""
    group = tl.program_id(0)
    if STAGES.embed:
        x = embed(keyframes, matrices, vectors, group, batch, S)
    else:
        x = load_windows(between, group, batch, S)
    if STAGES.all_layers:
        for i in tl.range(0, tl.constexpr(S.layers), num_stages=1):
            x = whole_layer(x, matrices + i * S.at.matrix_stride, vectors + i * S.at.vector_stride, S)
    else:
        m, v = matrices + layer * S.at.matrix_stride, vectors + layer * S.at.vector_stride
        if STAGES.channel and STAGES.mix:
            x = normed(x + both_branches(x, m, v, S), v + S.at.norm1_weight, v + S.at.norm1_bias, S)
        elif STAGES.channel:
            store_windows(channel_out, channel_branch(x, m, v, S), group, batch, S)
        elif STAGES.mix:
            attention = token_attention(x, m, v, S)
            values = token_values(x, m, v, S)
            mixed = mix(attention, values, load_windows(channel_out, group, batch, S), m, v, S)
            # Read again: kept in registers all the while, it would push others out.
            x = load_windows_again(between, group, batch, S) + mixed
            x = normed(x, v + S.at.norm1_weight, v + S.at.norm1_bias, S)
        if STAGES.feed_forward:
            x = normed(x + feed_forward(x, m, v, S), v + S.at.norm2_weight, v + S.at.norm2_bias, S)
    if STAGES.finish:
        finish(x, keyframes, motion, matrices, vectors, group, batch, S)
    elif STAGES.embed or STAGES.mix or STAGES.feed_forward:
        store_windows(between, x, group, batch, S)


@triton.jit
def whole_layer(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    mixed = both_branches(x, matrices, vectors, S)
    x = normed(x + mixed, vectors + S.at.norm1_weight, vectors + S.at.norm1_bias, S)
    out = feed_forward(x, matrices, vectors, S)
    return normed(x + out, vectors + S.at.norm2_weight, vectors + S.at.norm2_bias, S)
