"""Host: `HostEncoder`, numpy in and numpy out, through kept buffers and CUDA graphs, for the backend `triton`."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from mixsynth_stream.kernels.inference.encoder import CapturedEncoder, Encoder

logger = logging.getLogger(__name__)

# At most so many windows go in one pass, and at most so many have graphs, so that memory is bounded.
_AT_ONCE = 4096
# A larger batch keeps the device busy for longer than its launches take, so it should gain nothing from a graph.
_LARGEST_CAPTURED = 1024
# All encoders share one lock: a thread that waits for the device breaks the capture of another thread. The device runs
# calls one after the other anyway, and Triton's interpreter works in one thread only.
_turn = threading.Lock()


class HostEncoder:
    """An `Encoder` for arrays of the host. Any number of threads may call it: they take turns.

    A batch size that comes a second time is captured as a CUDA graph and replayed from then on, so that the odd last
    batch of a long job costs no capture. The sizes used last are kept. During a capture, and only then, other threads
    of the program must not wait for the whole device or draw random numbers on it.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._captures = encoder.can_capture
        self._once: set[int] = set()  # batch sizes that came once
        self._graphs: OrderedDict[int, CapturedEncoder] = OrderedDict()
        self._allocate(1)

    @property
    def captured(self) -> tuple[int, ...]:
        """The batch sizes that are replayed, the one used last at the end."""
        return tuple(self._graphs)

    @torch.inference_mode()
    def __call__(self, keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] float32 -> [B, T, D] float32
        """The caller owns the array returned: no later call writes to it. The caller has also checked the keyframes."""
        config = self._encoder.config
        motion = np.empty((len(keyframes), config.seq_len, config.joint_dim), np.float32)
        with _turn:
            for first in range(0, len(keyframes), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                self._run(keyframes[part], motion[part])
        return motion

    def _run(self, keyframes: np.ndarray, motion: np.ndarray) -> None:  # [B, Q+1, D], [B, T, D]
        batch = len(keyframes)
        if batch > len(self._host_in):
            self._allocate(batch)
        host_in, host_out = self._host_in[:batch], self._host_out[:batch]
        host_in.numpy()[:] = keyframes
        if (graph := self._graph(batch)) is not None:
            graph.keyframes.copy_(host_in, non_blocking=True)
            graph.replay()
            host_out.copy_(graph.motion, non_blocking=True)
        else:
            device_in, device_out = self._device_in[:batch], self._device_out[:batch]
            device_in.copy_(host_in, non_blocking=True)
            self._encoder(device_in, device_out)
            host_out.copy_(device_out, non_blocking=True)
        if self._encoder.device.type == "cuda":
            torch.cuda.current_stream(self._encoder.device).synchronize()
        motion[:] = host_out.numpy()

    def _allocate(self, batch: int) -> None:
        """Makes buffers for `batch` windows and some more, so that people who come one by one need new ones rarely."""
        config, device = self._encoder.config, self._encoder.device
        windows = 1 << (batch - 1).bit_length()

        def both(length: int) -> tuple[Tensor, Tensor]:  # [windows, length, D] each
            """On the host, locked in memory so that copies need not wait, and on the device."""
            shape = windows, length, config.joint_dim
            host = torch.empty(shape, pin_memory=device.type == "cuda")
            return host, host if device.type == "cpu" else torch.empty(shape, device=device)

        self._host_in, self._device_in = both(config.num_keyframes)
        self._host_out, self._device_out = both(config.seq_len)

    def _graph(self, batch: int) -> CapturedEncoder | None:
        """The graph to replay for this batch size, or None where its kernels are launched."""
        if not self._captures or batch > _LARGEST_CAPTURED:
            return None
        if batch in self._graphs:
            self._graphs.move_to_end(batch)
            return self._graphs[batch]
        if batch not in self._once:
            self._once.add(batch)
            return None
        try:
            self._graphs[batch] = self._encoder.capture(batch)
        except RuntimeError as error:  # for example because another thread waited for the device
            self._captures = False
            logger.warning("no CUDA graph for %d windows, and no more of them are tried: %s", batch, error)
            return None
        while sum(self._graphs) > _AT_ONCE:
            oldest, _ = self._graphs.popitem(last=False)
            self._once.discard(oldest)
        return self._graphs[batch]
