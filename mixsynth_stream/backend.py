"""Backends: the code that runs the network, chosen here by name or by `auto`."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError

logger = logging.getLogger(__name__)

# `auto` prefers them in this order.
BACKENDS = ("native", "torch", "triton", "cuda")

# `auto` takes a card that answers one window in this share of the native encoder's time or less, over so many calls.
_WORTH_A_CARD, _TIMED_CALLS = 0.5, 30

# keyframes [B, Q+1, D] float32, contiguous -> motion [B, T, D] float32
Forward = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class BackendStatus:
    """One row of the table that `info` prints."""

    name: str
    ready: bool
    device: str
    about: str  # what it is; where it is not ready, why not


def available_backends() -> list[BackendStatus]:
    """Every backend and whether this machine runs it. Each is imported, which takes a second or two."""
    return [_status(name) for name in BACKENDS]


def choose_backend(name: str = "auto") -> str:
    """The backend to use: `name` itself, or for `auto` the first one that this machine runs.

    Raises `ValueError` for an unknown name and `BackendUnavailableError`, with the cause, for one that cannot run.
    """
    if name == "auto":
        return _auto()
    if name not in BACKENDS:
        raise ValueError(f"backend must be auto or one of {', '.join(BACKENDS)}, found {name!r}")
    status = _status(name)
    if not status.ready:
        raise BackendUnavailableError(f"backend {name} cannot run here: {status.about}")
    return name


@lru_cache(maxsize=1)
def _auto() -> str:
    reasons: list[str] = []
    for name in BACKENDS:
        status = _status(name)
        if status.ready:
            others = f" ({'; '.join(reasons)})" if reasons else ""
            logger.info("backend %s on %s%s", name, status.device, others)
            return name
        reasons.append(f"{name}: {status.about}")
    raise BackendUnavailableError(f"no backend can run here: {'; '.join(reasons)}")


def backend_of(name: str, config: ModelConfig, state: Mapping[str, np.ndarray]) -> tuple[str, Forward]:
    """The backend for these weights and the network on it; raises as `choose_backend` does.

    `auto` takes a card where it answers this network's windows faster than the native encoder, and goes on natively
    where the card fails later, with a warning.
    """
    chosen = choose_backend(name)
    forward = make_forward(chosen, config, state)
    if name != "auto" or chosen != "native" or not (status := _status("cuda")).ready:
        return chosen, forward
    try:
        on_card = make_forward("cuda", config, state)
        times_us = [_window_us(candidate, config) for candidate in (on_card, forward)]
    except BackendUnavailableError as error:
        logger.info("not backend cuda: %s", error)
        return chosen, forward
    logger.info("one window takes %.0f µs on %s, %.0f µs natively", times_us[0], status.device, times_us[1])
    if times_us[0] > _WORTH_A_CARD * times_us[1]:
        return chosen, forward
    return "cuda", _with_fallback(on_card, forward)


def _window_us(forward: Forward, config: ModelConfig) -> float:
    """Microseconds of the median call with one window."""
    keyframes = np.zeros((1, config.num_keyframes, config.joint_dim), np.float32)
    times = []
    for _ in range(_TIMED_CALLS):
        start = time.perf_counter()
        forward(keyframes)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times))


def _with_fallback(on_card: Forward, native: Forward) -> Forward:
    """`on_card` until CUDA takes no more work from this process, and from then on `native`."""
    cuda: Any = importlib.import_module("mixsynth_stream._cuda")

    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        if not cuda.broken():
            try:
                return on_card(keyframes)
            except BackendUnavailableError as error:
                logger.warning("%s; the native encoder goes on", error)
        return native(keyframes)

    return forward


def _status(name: str) -> BackendStatus:
    module_name, description, remedy = {
        "native": (
            "mixsynth_stream._C",
            "C++, one thread",
            "build it with `pip install -e .`, which needs g++ and the Python headers",
        ),
        "torch": ("torch", "the readable network", "install it with `pip install mixsynth-stream[train]`"),
        "triton": (
            "mixsynth_stream.kernels.card",
            "fused kernels, one launch for the network to four a layer",
            "install it with `pip install mixsynth-stream[gpu]`",
        ),
        "cuda": (
            "mixsynth_stream._cuda",
            "CUDA C++, one launch",
            "build it with `MIXSYNTH_CUDA=1 pip install -e .`, which needs nvcc 12.8 or newer",
        ),
    }[name]
    is_on_card = name in ("triton", "cuda")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        device = "cuda" if is_on_card else "cpu"
        return BackendStatus(name=name, ready=False, device=device, about=f"{error}; {remedy}")
    if not is_on_card:
        return BackendStatus(name=name, ready=True, device="cpu", about=description)
    try:
        device = module.devices()[0] if name == "cuda" else str(module.find_device())
    except (BackendUnavailableError, RuntimeError) as error:  # CUDA's own error is a RuntimeError
        return BackendStatus(name=name, ready=False, device="cuda", about=str(error))
    description += ", in the interpreter" if name == "triton" and module.INTERPRETED else ""
    return BackendStatus(name=name, ready=True, device=device, about=description)


def make_forward(name: str, config: ModelConfig, state: Mapping[str, np.ndarray]) -> Forward:
    """The network with these weights on backend `name` (a name that `choose_backend` returned)."""
    makers = {
        "native": _native_forward,
        "torch": _torch_forward,
        "triton": _triton_forward,
        "cuda": _cuda_forward,
    }
    return makers[name](config, state)


def _native_forward(config: ModelConfig, state: Mapping[str, np.ndarray]) -> Forward:
    native: Any = importlib.import_module("mixsynth_stream._C")
    forward: Forward = native.Encoder(state=dict(state), **dataclasses.asdict(config)).forward
    return forward


def _torch_forward(config: ModelConfig, state: Mapping[str, np.ndarray]) -> Forward:
    import torch

    from mixsynth_stream.network import MixSynthFormer

    network = MixSynthFormer(config).eval()
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})

    @torch.inference_mode()
    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        _check_keyframes(keyframes, config)
        out: np.ndarray = network(torch.from_numpy(keyframes.copy())).numpy()
        return out

    return forward


def _triton_forward(config: ModelConfig, state: Mapping[str, np.ndarray]) -> Forward:
    from mixsynth_stream.kernels.inference.encoder import Encoder
    from mixsynth_stream.kernels.inference.host import HostEncoder

    # strict: every backend gives the same numbers.
    encoder = HostEncoder(Encoder(state, config, precision="strict"))

    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        _check_keyframes(keyframes, config)
        return encoder(keyframes)

    return forward


def _cuda_forward(config: ModelConfig, state: Mapping[str, np.ndarray]) -> Forward:
    cuda: Any = importlib.import_module("mixsynth_stream._cuda")
    try:
        # strict: every backend gives the same numbers.
        encoder = cuda.Encoder(state=dict(state), precision="strict", **dataclasses.asdict(config))
    except cuda.CudaError as error:
        raise BackendUnavailableError(f"backend cuda cannot run here: {error}") from error

    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        try:
            motion: np.ndarray = encoder.forward(keyframes)
        except cuda.CudaError as error:
            raise BackendUnavailableError(f"backend cuda: {error}") from error
        return motion

    return forward


def _check_keyframes(keyframes: np.ndarray, config: ModelConfig) -> None:
    expected = (config.num_keyframes, config.joint_dim)
    if keyframes.ndim != 3 or keyframes.shape[1:] != expected:
        raise ValueError(
            f"keyframes must have shape [batch, {expected[0]}, {expected[1]}], found {list(keyframes.shape)}"
        )
    if keyframes.dtype != np.float32:
        raise TypeError(f"keyframes must be float32, found {keyframes.dtype}")
    if not np.isfinite(keyframes).all():
        raise ValueError("keyframes must be finite, found NaN or infinity")
