"""Where training runs: which device, in which precision, and as which of several processes (`torchrun`)."""

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
from mixsynth_stream.train_native import has_dropout, use_native


@dataclass(frozen=True)
class Place:
    """One process of `world` on its device. The first one validates and writes files; all draw their own windows."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> int:
        """This process's part of a batch, so that several processes follow the recipe of one."""
        if batch % self.world:
            raise ValueError(f"a batch of {batch} cannot be shared by {self.world} processes; use a multiple")
        return batch // self.world

    def gathered(self, value: object) -> list[object]:
        """Everybody's value, by rank; every process has to ask."""
        values: list[object] = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(values, value)
        return values

    def agreed(self, value: bool) -> bool:
        """The first process's answer."""
        return bool(self.gathered(value)[0])

    def random_state(self) -> dict[str, torch.Tensor]:
        """torch's random numbers here, for dropout."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def set_random_state(self, state: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)


def fast_layers(network: MixSynthFormer, device_type: str) -> None:
    """The layers of the encoder as they are fastest on a device, without packages beyond torch."""
    if device_type == "cuda":
        mixed_precision(network, "cuda")
    elif device_type == "cpu" and not has_dropout(network):
        threads = torch.get_num_threads()
        # The next batch is drawn during the forward pass (`train_fit.DrawnAhead`), and takes about as long.
        use_native(network, threads, forward_threads=max(threads - 1, 1))
        torch.set_num_threads(1)


def mixed_precision(network: MixSynthFormer, device_type: str) -> None:
    """bfloat16 in the layers of the encoder, where nearly all of the time goes.

    The way from keyframes to poses beside them (l_interp, fc) keeps float32: bfloat16 has two to three digits, and what
    a network can win in a gap is smaller.
    """
    encode = torch.autocast(device_type, torch.bfloat16)(network.encoder.forward)
    network.encoder.forward = encode  # type: ignore[method-assign]


def on_kernels(network: nn.Module, device_type: str) -> None:
    """The layers of the encoder on the Triton kernels, in bfloat16 on a CUDA device as `mixed_precision` has them.

    Raises `BackendUnavailableError` where they cannot run: they were asked for by name.
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
def place() -> Iterator[Place]:
    """This process's place; under torchrun it joins the others, and leaves them at the end."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    threads = torch.get_num_threads()
    if world > 1:
        distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        # Threads of numpy's products and of torch's short loops spin after their work, and take the cores that the
        # layers and the drawing of the next batch need: on two cores a step took half as long again.
        with threadpool_limits(1, "blas"):
            yield Place(device, rank, world)
    finally:
        torch.set_num_threads(threads)
        if world > 1:
            distributed.destroy_process_group()
