"""`HostEncoder`: numpy in, numpy out, through kept buffers and CUDA graphs. What the backend `triton` calls."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from mixsynth_stream.kernels.inference.encoder import CapturedEncoder, Encoder

logger = logging.getLogger(__name__)

# More windows than this take turns, and all that are captured are no more together: so memory is bounded.
_AT_ONCE = 4096
# A larger batch should keep the device busy for longer than its launches take, and gain nothing from a graph.
_LARGEST_CAPTURED = 1024
# One call at a time on all encoders: who waits for the device while another thread captures breaks the capture. The
# device would do one after the other anyway, and Triton's interpreter knows one thread only.
_turn = threading.Lock()


class HostEncoder:
    """An `Encoder` for arrays of the host. Any number of threads may call it: they take turns.

    A batch size that comes a second time is captured as a CUDA graph and replayed from then on, so that the odd last
    batch of a long job costs no capture. The sizes that were used last are kept. While one is captured, which is the
    only time, other threads of the program must not wait for the whole device or draw random numbers on it.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._captures = encoder.can_capture
        self._seen: set[int] = set()
        self._graphs: OrderedDict[int, CapturedEncoder] = OrderedDict()
        self._hold(1)

    @property
    def captured(self) -> tuple[int, ...]:
        """The batch sizes that are replayed, the one used last at the end."""
        return tuple(self._graphs)

    @torch.inference_mode()
    def __call__(self, keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] float32 -> [B, T, D] float32
        """The array returned is the caller's: no later call writes to it. Whoever calls has looked at the arguments."""
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
            self._hold(batch)
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

    def _hold(self, batch: int) -> None:
        """Buffers for `batch` windows, rounded up so that people who come one by one do not need new ones each time."""
        config, device = self._encoder.config, self._encoder.device
        windows = 1 << (batch - 1).bit_length()
        taken = windows, config.num_keyframes, config.joint_dim
        given = windows, config.seq_len, config.joint_dim

        def both(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
            """On the host, locked in memory so that copies need not wait, and on the device."""
            host = torch.empty(shape, pin_memory=device.type == "cuda")
            return host, host if device.type == "cpu" else torch.empty(shape, device=device)

        self._host_in, self._device_in = both(taken)
        self._host_out, self._device_out = both(given)

    def _graph(self, batch: int) -> CapturedEncoder | None:
        """What to replay for this batch size; None where it is launched."""
        if not self._captures or batch > _LARGEST_CAPTURED:
            return None
        if batch in self._graphs:
            self._graphs.move_to_end(batch)
            return self._graphs[batch]
        if batch not in self._seen:
            self._seen.add(batch)
            return None
        try:
            self._graphs[batch] = self._encoder.capture(batch)
        except RuntimeError as error:  # such as another thread of the program that waited for the device
            self._captures = False
            logger.warning("no CUDA graph for %d windows, and no more of them are tried: %s", batch, error)
            return None
        while sum(self._graphs) > _AT_ONCE:
            oldest, _ = self._graphs.popitem(last=False)
            self._seen.discard(oldest)
        return self._graphs[batch]
