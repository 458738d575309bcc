"""Devices: where training runs, in which precision, and as which of several processes (`torchrun`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits
from torch import distributed, nn

from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train.native import use_native


@dataclass(frozen=True)
class Process:
    """One of `world_size` processes. The first one validates and writes files; all draw their own windows."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> int:
        """This process's part of a batch, so that several processes follow the recipe of one."""
        if batch % self.world_size:
            raise ValueError(f"a batch of {batch} cannot be shared by {self.world_size} processes; use a multiple")
        return batch // self.world_size

    def gather(self, value: object) -> list[object]:
        """The values of all processes, by rank. Every process has to call this."""
        values: list[object] = [value] * self.world_size
        if self.world_size > 1:
            distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: bool) -> bool:
        """The value of the first process. Every process has to call this."""
        return bool(self.gather(value)[0])

    def random_state(self) -> dict[str, torch.Tensor]:
        """The state of torch's random numbers in this process; dropout draws from them."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def set_random_state(self, state: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)


def use_fast_layers(network: MixSynthFormer, device_type: str, draws_long: bool) -> None:
    """Run the layers of the encoder in the fastest way that a device has without packages beyond torch.

    `draws_long`: drawing a batch takes about as long as a forward pass.
    """
    if device_type == "cuda":
        use_mixed_precision(network, "cuda")
    elif device_type == "cpu":
        threads = torch.get_num_threads()
        # The next batch is drawn during the forward pass (`BatchPrefetcher`).
        use_native(network, threads, forward_threads=max(threads - 1, 1) if draws_long else threads)
        # Threads of torch spin while they wait: beside other work two of them made a tenth of the steps that one makes.
        torch.set_num_threads(1)


def use_mixed_precision(network: MixSynthFormer, device_type: str) -> None:
    """Run the layers of the encoder in bfloat16, because they take nearly all of the time.

    The path beside them from keyframes to poses (l_interp, fc) keeps float32: bfloat16 has two to three digits, and its
    rounding is larger than what a network gains in a gap.
    """
    encode = torch.autocast(device_type, torch.bfloat16)(network.encoder.forward)
    network.encoder.forward = encode  # type: ignore[method-assign]


def use_triton(network: nn.Module, device_type: str) -> None:
    """Run the layers of the encoder on the Triton kernels; on a CUDA device in bfloat16, as `use_mixed_precision` does.

    Raises `BackendUnavailableError` where they cannot run, because the user named them.
    """
    if not isinstance(network, MixSynthFormer):
        raise BackendUnavailableError(f"the kernels train MixSynthFormer, found {type(network).__name__}")
    try:
        from mixsynth_stream.kernels.training.autograd import use_kernels
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            f"--kernels needs {error.name}: pip install 'mixsynth-stream[gpu]', or train without it"
        ) from error
    use_kernels(network, "bf16" if device_type == "cuda" else "strict")


@contextlib.contextmanager
def join_processes() -> Iterator[Process]:
    """This process; under torchrun it joins the others, and leaves them at the end."""
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    threads = torch.get_num_threads()
    if world_size > 1:
        distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        # Threads of numpy's products and of torch's short loops spin after their work. They take the cores that the
        # layers and the drawing of the next batch need: on two cores a step took half as long again.
        with threadpool_limits(1, "blas"):
            yield Process(device, rank, world_size)
    finally:
        torch.set_num_threads(threads)
        if world_size > 1:
            distributed.destroy_process_group()
