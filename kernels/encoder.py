"""Encoder kernel: the whole network, fused: keyframes in, poses out.

That takes one launch, one a layer, or up to three a layer. The number depends on what fits into the registers of one
program; `plan.py` decides it. Between launches x lies in memory, in float32; energies and attention never leave a
program.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mixsynth_stream.kernels.arguments import Float32, Operands
from mixsynth_stream.kernels.ends import embed, finish
from mixsynth_stream.kernels.feed_forward import feed_forward
from mixsynth_stream.kernels.pieces import load_windows, load_windows_again, norm1, norm2, store_windows
from mixsynth_stream.kernels.synth_attention import channel_branch, token_attention, token_values
from mixsynth_stream.kernels.synth_mix import mix, synth_mix


# If it specialised on these, Triton would compile anew for layer 1 and for batches that are multiples of 16.
@triton.jit(do_not_specialize=["batch", "layer"])
def encoder_fwd_kernel(
    keyframes: Float32,  # [B, Q+1, D]
    motion: Float32,  # [B, T, D]
    between: Float32,  # [B, T, C]: x from launch to launch
    channel_out: Float32,  # [B, T, C]: of the channel branch, where a layer is split
    matrices: Operands,  # packed
    vectors: Float32,  # packed
    batch: int,
    layer: int,
    tile: tl.constexpr,  # Tile
    STAGES: tl.constexpr,  # Stages
) -> None:
    """The stages of one launch, for one group of windows."""
    group = tl.program_id(0)
    if STAGES.embed:
        x = embed(keyframes, matrices, vectors, group, batch, tile)
    else:
        x = load_windows(between, group, batch, tile)
    if STAGES.all_layers:
        for i in tl.range(0, tl.constexpr(tile.layers), num_stages=1):
            x = whole_layer(x, matrices + i * tile.at.matrix_stride, vectors + i * tile.at.vector_stride, tile)
    else:
        m, v = matrices + layer * tile.at.matrix_stride, vectors + layer * tile.at.vector_stride
        if STAGES.channel and STAGES.mix:
            x = norm1(x + synth_mix(x, m, v, tile), v, tile)
        elif STAGES.channel:
            store_windows(channel_out, channel_branch(x, m, v, tile), group, batch, tile)
        elif STAGES.mix:
            attention = token_attention(x, m, v, tile)
            values = token_values(x, m, v, tile)
            mixed = mix(attention, values, load_windows(channel_out, group, batch, tile), m, v, tile)
            # x is read again: to keep it in registers all the while would push other values out.
            x = norm1(load_windows_again(between, group, batch, tile) + mixed, v, tile)
        if STAGES.feed_forward:
            x = norm2(x + feed_forward(x, m, v, tile), v, tile)
    if STAGES.finish:
        finish(x, keyframes, motion, matrices, vectors, group, batch, tile)
    elif STAGES.embed or STAGES.mix or STAGES.feed_forward:
        store_windows(between, x, group, batch, tile)


@triton.jit
def whole_layer(
    x: tl.tensor,  # [rows, channels]
    matrices: tl.tensor,
    vectors: tl.tensor,
    tile: tl.constexpr,
) -> tl.tensor:  # [rows, channels]
    """x = norm1(x + synth_att(x)); x = norm2(x + ff(x))."""
    x = norm1(x + synth_mix(x, matrices, vectors, tile), vectors, tile)
    return norm2(x + feed_forward(x, matrices, vectors, tile), vectors, tile)
