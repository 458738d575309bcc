"""`Encoder`: weights packed once to a device, buffers kept, launches, CUDA graphs. Inference only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.blocks.launch import (
    TiledLaunch,
    launch_tiled,
    named_weights,
    scratch_sizes,
    tiled_launch,
    tiled_signature,
)
from mixsynth_stream.kernels.card import MOST_REGISTERS, Specialisation, checked_device, find_device
from mixsynth_stream.kernels.encoder import encoder_fwd_kernel
from mixsynth_stream.kernels.pack import OPERANDS, pack
from mixsynth_stream.kernels.tile import FUSED_CAPABILITY, Tile, tile_of
from mixsynth_stream.kernels.weights import EncoderWeights
from mixsynth_stream.parameters import check_shapes


def specialisations(
    config: ModelConfig,
    precision: str,
    batch: int,
    programs: int = 132,
    capability: tuple[int, int] = FUSED_CAPABILITY,
) -> list[Specialisation]:
    """What `Encoder` launches for `batch` windows on a card with `programs` multiprocessors, each kind once.

    Where windows are tiled, shapes share kernels: those with the same kernel, signature and constexprs are one.
    """
    tile = tile_of(config, precision, batch, programs, capability)
    operand = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}[OPERANDS[precision]]
    kinds = dict.fromkeys(stages for stages, _ in tile.launches)
    if tile.tiled:
        return [_tiled_specialisation(tiled_launch(stages, tile), tile, operand) for stages in kinds]
    signature = {"keyframes": "*fp32", "motion": "*fp32", "between": "*fp32", "channel_out": "*fp32"}
    signature |= {"matrices": operand, "vectors": "*fp32", "batch": "i32", "layer": "i32"}
    signature |= {"S": "constexpr", "STAGES": "constexpr"}
    return [
        Specialisation(encoder_fwd_kernel, signature, {"S": tile, "STAGES": stages}, tuple(range(6)), tile.num_warps, 1,
                       f"encoder_fwd[{stages}]", MOST_REGISTERS)
        for stages in kinds
    ]  # fmt: skip


def _tiled_specialisation(launch: TiledLaunch, tile: Tile, operand: str) -> Specialisation:
    signature, aligned = tiled_signature(launch, tile, operand)
    name = f"{launch.kernel.__name__}[{launch.blocks}]"
    return Specialisation(
        launch.kernel, signature, {"S": launch.blocks}, aligned, launch.num_warps, 1, name, MOST_REGISTERS
    )


class Encoder:
    """The network on a device. Inference only: it keeps no gradients and refuses tensors that ask for them.

    One call at a time, and on any stream: what lies between launches is kept apart for each.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor | np.ndarray],
        config: ModelConfig,
        *,
        precision: str,
        device: torch.device | str | None = None,
        capability: tuple[int, int] | None = None,
    ) -> None:
        """`capability` plans as for another card; without it, for the one that there is."""
        check_shapes(state, config)
        self.config, self.precision = config, precision
        self.device = find_device() if device is None else checked_device(device)
        cuda = self.device.type == "cuda"
        self._capability = capability or (torch.cuda.get_device_capability(self.device) if cuda else FUSED_CAPABILITY)
        self._programs = torch.cuda.get_device_properties(self.device).multi_processor_count if cuda else 1
        self._weights = EncoderWeights.of({name: torch.as_tensor(value) for name, value in state.items()})
        self._tiles: dict[int, Tile] = {}
        self._packed: dict[Tile, tuple[Tensor, Tensor]] = {}
        self._named: dict[Tile, tuple[dict[str, Tensor], ...]] = {}
        self._scratch: dict[int, Tensor] = {}
        self.tile(1)

    def tile(self, batch: int) -> Tile:
        """How `batch` windows are laid out; packs the weights for it if that is new."""
        if batch not in self._tiles:
            tile = tile_of(self.config, self.precision, batch, self._programs, self._capability)
            if tile not in self._packed:
                matrices, vectors = pack(self._weights, tile)
                self._packed[tile] = matrices.to(self.device), vectors.to(self.device)
                self._named[tile] = named_weights(tile, *self._packed[tile])
            # Of equal tiles always the first, which has worked out its sizes already.
            self._tiles[batch] = next(known for known in self._packed if known == tile)
        return self._tiles[batch]

    def plan(self, batch: int) -> str:
        """How one call with `batch` windows runs, in words."""
        return self.tile(batch).plan

    def launches(self, batch: int) -> int:
        """Kernels that one call with `batch` windows starts."""
        return len(self.tile(batch).launches)

    def __call__(
        self,
        keyframes: Tensor,  # [B, Q+1, D] float32
        out: Tensor | None = None,  # [B, T, D] float32
    ) -> Tensor:  # [B, T, D] float32
        """Raises `TypeError` or `ValueError` that names what does not fit.

        Keyframes must be finite: in a batch of short windows, NaN in one reaches its neighbours.
        """
        config = self.config
        self._check("keyframes", keyframes, (config.num_keyframes, config.joint_dim))
        batch = len(keyframes)
        shape = (batch, config.seq_len, config.joint_dim)
        if out is None:
            out = torch.empty(shape, device=self.device)
        else:
            self._check("out", out, shape[1:])
            if len(out) != batch:
                raise ValueError(f"out must hold {batch} windows as keyframes do, found {len(out)}")
        if batch:
            # Triton launches on the current device, wherever the tensors are.
            with torch.cuda.device_of(keyframes):
                self._launch(keyframes, out)
        return out

    def _launch(self, keyframes: Tensor, out: Tensor) -> None:
        batch = len(keyframes)
        tile = self.tile(batch)
        if tile.tiled:
            buffers = self._buffers(scratch_sizes(tile, batch)) | {"keyframes": keyframes, "motion": out}
            launch_tiled(tile, batch, buffers, self._named[tile])
            return
        size = batch * tile.tokens * tile.channels if len(tile.launches) > 1 else 0
        between, channel_out = self._buffers({"between": size, "channel_out": size}).values()
        matrices, vectors = self._packed[tile]
        grid = (-(-batch // tile.windows),)
        for stages, layer in tile.launches:
            encoder_fwd_kernel[grid](
                keyframes, out, between, channel_out, matrices, vectors, batch, layer, tile, stages,
                num_warps=tile.num_warps, num_stages=1, maxnreg=MOST_REGISTERS,
            )  # fmt: skip

    def _buffers(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Parts of the scratch memory of the current stream, which grows where it has to."""
        starts, end = {}, 0
        for name, size in sizes.items():
            starts[name] = end
            end += -(-size // 16) * 16  # so that each is aligned
        stream = torch.cuda.current_stream(self.device).cuda_stream if self.device.type == "cuda" else 0
        if stream not in self._scratch or self._scratch[stream].numel() < end:
            # Zeros, because the last block of rows may reach beyond the last window.
            self._scratch[stream] = torch.zeros(end, device=self.device)
        scratch = self._scratch[stream]
        return {name: scratch[start : start + sizes[name]] for name, start in starts.items()}

    def _check(self, name: str, value: Tensor, inner: tuple[int, int]) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch tensor, found {type(value).__name__}")
        if value.ndim != 3 or tuple(value.shape[1:]) != inner:
            raise ValueError(f"{name} must have shape [batch, {inner[0]}, {inner[1]}], found {list(value.shape)}")
        if value.dtype != torch.float32:
            raise TypeError(f"{name} must be float32, found {value.dtype}; precision {self.precision!r} is what the "
                            "products round to, not what goes in")  # fmt: skip
        if value.device != self.device:
            raise ValueError(f"{name} must be on {self.device} with the weights, found {value.device}")
        if not value.is_contiguous():
            raise ValueError(f"{name} must be contiguous, found strides {value.stride()}; call .contiguous()")
        if value.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} asks for gradients, which this path does not keep; detach it, use "
                             "torch.inference_mode(), or train with MixSynthFormer")  # fmt: skip

    @property
    def can_capture(self) -> bool:
        """Whether there are CUDA graphs here: the interpreter has none."""
        return self.device.type == "cuda"

    def capture(self, batch: int) -> CapturedEncoder:
        """A CUDA graph for exactly `batch` windows. Raises `BackendUnavailableError` without a CUDA device."""
        if not self.can_capture:
            raise BackendUnavailableError(f"CUDA graphs need a CUDA device, and this encoder is on {self.device}")
        if batch < 1:
            raise ValueError(f"a graph needs at least 1 window, found {batch}")
        return CapturedEncoder(self, batch)


class CapturedEncoder:
    """An `Encoder` for one batch size with all its launches in one CUDA graph.

    A call copies into `keyframes`, replays, and returns `motion`, which the next call overwrites.
    """

    def __init__(self, encoder: Encoder, batch: int) -> None:
        config, device = encoder.config, encoder.device
        # An encoder of its own: a graph holds addresses, and a larger batch would move the buffers.
        self._encoder = object.__new__(Encoder)
        self._encoder.__dict__.update(encoder.__dict__, _scratch={})
        self.keyframes = torch.zeros(batch, config.num_keyframes, config.joint_dim, device=device)
        self.motion = torch.empty(batch, config.seq_len, config.joint_dim, device=device)
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):  # compiles and allocates, which a capture may not
            self._encoder(self.keyframes, self.motion)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # On the same stream, because buffers belong to one; and whatever other threads may do meanwhile.
        with torch.cuda.graph(self._graph, stream=side, capture_error_mode="thread_local"):
            self._encoder(self.keyframes, self.motion)

    def __call__(self, keyframes: Tensor) -> Tensor:  # [B, Q+1, D] -> [B, T, D]
        config, batch = self._encoder.config, len(self.keyframes)
        self._encoder._check("keyframes", keyframes, (config.num_keyframes, config.joint_dim))
        if len(keyframes) != batch:
            raise ValueError(f"this graph is for {batch} windows, found {len(keyframes)}; capture another")
        self.keyframes.copy_(keyframes)
        self.replay()
        return self.motion

    def replay(self) -> None:
        """From what lies in `keyframes` to `motion`, on the current stream."""
        with torch.cuda.device_of(self.keyframes):
            self._graph.replay()
