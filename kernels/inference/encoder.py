"""Encoder: the network on a device. Weights are packed once and buffers kept; launches, and CUDA graphs of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.arguments import Specialisation, specialisation
from mixsynth_stream.kernels.blocks.launch import block_specialisation, launch_blocks, named_weights, scratch_sizes
from mixsynth_stream.kernels.card import checked_device, find_device, launch_options
from mixsynth_stream.kernels.encoder import encoder_fwd_kernel
from mixsynth_stream.kernels.pack import pack
from mixsynth_stream.kernels.plan import FUSED_CAPABILITY, FUSED_PROGRAMS, Plan, Stages, plan_for
from mixsynth_stream.kernels.tile import Tile
from mixsynth_stream.kernels.weights import EncoderWeights
from mixsynth_stream.parameters import check_shapes


def specialisations(
    config: ModelConfig,
    precision: str,
    batch: int,
    programs: int = FUSED_PROGRAMS,
    capability: tuple[int, int] = FUSED_CAPABILITY,
) -> list[Specialisation]:
    """What `Encoder` launches for `batch` windows on a card with `programs` multiprocessors, each kind once.

    In blocks, shapes share kernels: those with the same kernel, signature and constexprs are one.
    """
    plan = plan_for(config, precision, batch, programs, capability)
    of = block_specialisation if plan.in_blocks else _fused_specialisation
    return [of(stages, plan.tile) for stages in dict.fromkeys(stages for stages, _ in plan.launches)]


def _fused_specialisation(stages: Stages, tile: Tile) -> Specialisation:
    return specialisation(
        encoder_fwd_kernel,
        precision=tile.precision,
        constexprs={"tile": tile, "STAGES": stages},
        num_warps=tile.num_warps,
        name=f"encoder_fwd[{stages}]",
    )


class Encoder:
    """The network on a device, for inference: it keeps no gradients and refuses tensors that ask for them.

    It takes one call at a time, on any stream: each stream has its own buffers between launches.
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
        """`capability` is that of the card to plan for, by default the device's own."""
        check_shapes(state, config)
        self.config, self.precision = config, precision
        self.device = find_device() if device is None else checked_device(device)
        cuda = self.device.type == "cuda"
        self._capability = capability or (torch.cuda.get_device_capability(self.device) if cuda else FUSED_CAPABILITY)
        self._programs = torch.cuda.get_device_properties(self.device).multi_processor_count if cuda else 1
        self._weights = EncoderWeights.of({name: torch.as_tensor(value) for name, value in state.items()})
        self._plans: dict[int, Plan] = {}
        self._packed: dict[Plan, tuple[Tensor, Tensor]] = {}
        self._named: dict[Plan, tuple[dict[str, Tensor], ...]] = {}
        self._scratch: dict[int, Tensor] = {}
        self.plan(1)

    def plan(self, batch: int) -> Plan:
        """How one call with `batch` windows runs. Packs the weights for it if that is new."""
        if batch not in self._plans:
            plan = plan_for(self.config, self.precision, batch, self._programs, self._capability)
            if plan not in self._packed:
                matrices, vectors = pack(self._weights, plan.tile)
                self._packed[plan] = matrices.to(self.device), vectors.to(self.device)
                self._named[plan] = named_weights(plan.tile, *self._packed[plan])
            # Equal plans are one object, the first of them, whose sizes are known already.
            self._plans[batch] = next(known for known in self._packed if known == plan)
        return self._plans[batch]

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
        plan = self.plan(batch)
        tile = plan.tile
        if plan.in_blocks:
            buffers = self._buffers(scratch_sizes(tile, batch)) | {"keyframes": keyframes, "motion": out}
            launch_blocks(plan, batch, buffers, self._named[plan])
            return
        size = batch * tile.tokens * tile.channels if len(plan.launches) > 1 else 0
        between, channel_out = self._buffers({"between": size, "channel_out": size}).values()
        tensors = keyframes, out, between, channel_out, *self._packed[plan]
        options = launch_options(tile.num_warps)
        for stages, layer in plan.launches:
            encoder_fwd_kernel[(-(-batch // tile.windows),)](*tensors, batch, layer, tile, stages, **options)

    def _buffers(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Parts of the current stream's scratch memory, which grows when a batch needs more."""
        starts, end = {}, 0
        for name, size in sizes.items():
            starts[name] = end
            end += -(-size // 16) * 16  # so that each part is aligned
        stream = torch.cuda.current_stream(self.device).cuda_stream if self.device.type == "cuda" else 0
        if stream not in self._scratch or self._scratch[stream].numel() < end:
            # They are zeros, because the last block of rows may reach beyond the last window.
            self._scratch[stream] = torch.zeros(end, device=self.device)
        scratch = self._scratch[stream]
        return {name: scratch[start : start + sizes[name]] for name, start in starts.items()}

    def _check(self, name: str, value: Tensor, inner: tuple[int, int]) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch tensor, found {type(value).__name__}")
        if value.ndim != 3 or tuple(value.shape[1:]) != inner:
            raise ValueError(f"{name} must have shape [batch, {inner[0]}, {inner[1]}], found {list(value.shape)}")
        if value.dtype != torch.float32:
            raise TypeError(
                f"{name} must be float32, found {value.dtype}; precision {self.precision!r} is what the products round "
                "to, not what goes in"
            )
        if value.device != self.device:
            raise ValueError(f"{name} must be on {self.device} with the weights, found {value.device}")
        if not value.is_contiguous():
            raise ValueError(f"{name} must be contiguous, found strides {value.stride()}; call .contiguous()")
        if value.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                f"{name} asks for gradients, which this path does not keep; detach it, use torch.inference_mode(), or "
                "train with MixSynthFormer"
            )

    @property
    def can_capture(self) -> bool:
        """Whether CUDA graphs can be made: the interpreter has none."""
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
        # A graph holds addresses, and a larger batch of the same encoder would move its buffers.
        self._encoder = copy.copy(encoder)
        self._encoder._scratch = {}
        self.keyframes = torch.zeros(batch, config.num_keyframes, config.joint_dim, device=device)
        self.motion = torch.empty(batch, config.seq_len, config.joint_dim, device=device)
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):  # this call compiles and allocates, which a capture may not
            self._encoder(self.keyframes, self.motion)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # The capture uses the same stream, because buffers belong to one. Other threads may go on using the device in
        # this mode; `HostEncoder` names the exceptions.
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
        """Makes `motion` of what lies in `keyframes`, on the current stream."""
        with torch.cuda.device_of(self.keyframes):
            self._graph.replay()
