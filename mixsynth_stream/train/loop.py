"""Loop: the steps of a training, from a `Recipe` to the best weights.

A recipe has network, data, loss and schedule; the loop has devices, files and interrupts.
"""

from __future__ import annotations

import copy
import math
import random
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mixsynth_stream.backend import Forward
from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import make_folder
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train.checkpoint import load_checkpoint, save_checkpoint
from mixsynth_stream.train.curves import Curves
from mixsynth_stream.train.devices import Process, join_processes, use_fast_layers, use_triton


class Recipe(Protocol):
    """One way to train: data, loss, optimisers and schedule. Only `draw` takes random numbers that are not torch's."""

    name: str  # stem of every file that training writes
    seed: int
    steps: int
    validate_every: int
    gradient_limit: float
    curves_label: str
    # A regular expression: the plot shows the errors whose names match it.
    curves_pattern: str
    # Whether drawing a batch takes a core about as long as a forward pass.
    draws_long: bool

    def settings(self) -> str:
        """All that must not change between a run and its continuation."""

    def start(self, process: Process) -> None:
        """Open the data, for one of several processes."""

    def network(self) -> nn.Module: ...
    def optimisers(self, network: nn.Module) -> list[torch.optim.Optimizer]:
        """Groups of parameters may have an `lr_share`, a factor on the learning rate."""

    def learning_rate(self, step: int) -> float: ...
    def ema_decay(self, step: int) -> float:
        """The share that the moving average of the weights keeps in this step; 0: it is the network itself."""

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """Keyframes [B, Q+1, D], then the targets of `loss`. The loop calls this in a second thread, one step ahead."""

    def loss(self, output: Tensor, *targets: Tensor) -> Tensor: ...
    def measure(self, forward: Forward) -> dict[str, float]:
        """Errors on the validation data, by name."""

    def score(self, errors: dict[str, float]) -> float:
        """One number to choose the best weights by: lower is better."""

    def random_state(self) -> str: ...
    def set_random_state(self, state: str) -> None: ...
    def save(self, weights: Path, state: dict[str, np.ndarray], step: int, errors: dict[str, float]) -> None:
        """Write the best weights so far, which have these `errors`, all or nothing."""

    def finish(self, weights: Path) -> None:
        """Complete the best weights after the last step, for example with an uncertainty table."""


def fit(recipe: Recipe, out: Path, *, resume: bool = False, patience: int = 0, kernels: bool = False) -> Path:
    """Train and return the path of the best weights. With `patience`, stop after so many validations without a gain.

    An interrupted training writes a checkpoint of the last whole step, and its curves. Nothing is lost: after resuming
    it ends with the weights of a run without a break.
    """
    make_folder(out / f"{recipe.name}.safetensors")
    with join_processes() as process, Interrupt() as interrupt, BatchPrefetcher(recipe) as batches:
        run = Run(recipe, out, process, batches, kernels)
        if resume:
            run.restore()
        hidden = not process.is_first
        with tqdm(total=recipe.steps, initial=run.step, unit="step", desc=recipe.name, disable=hidden) as bar:
            try:
                while run.step < recipe.steps and not (patience and run.since_best >= patience):
                    with interrupt.held():
                        run.advance()
                        bar.update()
                        if run.step % recipe.validate_every == 0 or run.step == recipe.steps:
                            run.validate(bar)
            except KeyboardInterrupt:
                run.save_interrupted()
                if process.is_first:
                    run.curves.save_plot()
                raise
        if process.is_first:
            recipe.finish(run.target)
            run.curves.save_plot()
        return run.target


class BatchPrefetcher:
    """Draws each batch on a second core while the network learns from the one before."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._next: Future[tuple[tuple[Tensor, ...], str]] | None = None

    def take(self, step: int) -> tuple[tuple[Tensor, ...], str]:
        """The batch of a step, and the recipe's random state after drawing it. Steps follow one another."""
        batch = (self._next or self._thread.submit(self._draw, step)).result()
        self._next = self._thread.submit(self._draw, step + 1) if step + 1 < self._recipe.steps else None
        return batch

    def _draw(self, step: int) -> tuple[tuple[Tensor, ...], str]:
        return self._recipe.draw(step), self._recipe.random_state()

    def __enter__(self) -> BatchPrefetcher:
        self._thread = ThreadPoolExecutor(1, "draw")
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)


class Run:
    """All state of a training, and the paths of its files."""

    def __init__(self, recipe: Recipe, out: Path, process: Process, batches: BatchPrefetcher, kernels: bool) -> None:
        self.recipe, self.process, self._batches = recipe, process, batches
        recipe.start(process)
        random.seed(recipe.seed)
        torch.manual_seed(recipe.seed + process.rank)
        self.network = recipe.network().to(process.device).train()
        self.average = copy.deepcopy(self.network).eval()
        self.module: nn.Module = self.network
        if kernels:
            use_triton(self.network, process.device.type)
        elif isinstance(self.network, MixSynthFormer):
            use_fast_layers(self.network, process.device.type, recipe.draws_long)
        if process.world_size > 1:
            # The published network has parameters that it never uses (value_reduce where its factor is 1).
            self.module = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        self.optimisers = recipe.optimisers(self.network)
        self.curves = Curves(out / recipe.name, recipe.curves_label, recipe.curves_pattern)
        self.checkpoint, self.target = out / f"{recipe.name}.checkpoint.pt", out / f"{recipe.name}.safetensors"
        self.step, self.best, self.since_best = 0, math.inf, 0
        # `_whole`: the state is that of one step, so that a checkpoint of it can be written.
        self._random, self._whole = (process.random_state(), recipe.random_state()), True

    def advance(self) -> None:
        """One step of the optimisers."""
        recipe, process = self.recipe, self.process
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate(self.step) * group.get("lr_share", 1.0)
        batch, recipe_state = self._batches.take(self.step)
        keyframes, *targets = (tensor.to(process.device) for tensor in batch)
        loss = recipe.loss(self.module(keyframes), *targets)
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.gradient_limit)
        value = loss.item()
        if not math.isfinite(value):
            raise ModelError(f"the loss became {value} in step {self.step + 1}; use a lower --lr, or look at the data")
        # Until all of it has moved, the state is neither that of this step nor that of the next.
        self._whole = False
        for optimiser in self.optimisers:
            optimiser.step()
        _update_average(self.average, self.network, recipe.ema_decay(self.step))
        self.curves.add_loss(value)
        self.step += 1
        self._random, self._whole = (process.random_state(), recipe_state), True

    def validate(self, bar: tqdm[None]) -> None:
        """Measure, keep the weights if they are the best so far, and write a checkpoint."""
        recipe, is_better = self.recipe, False
        if self.process.is_first:
            errors = recipe.measure(_forward(self.average))
            score = recipe.score(errors)
            if not math.isfinite(score):
                bad = ", ".join(f"{name} {value}" for name, value in errors.items() if not math.isfinite(value))
                raise ModelError(
                    f"the score became {score} after step {self.step} ({bad or 'all errors are finite'}); "
                    "look at the validation data, or use a lower --lr"
                )
            self.curves.add_row(self.step, recipe.learning_rate(self.step - 1), score, errors)
            bar.set_postfix(score=f"{score:.4f}")
            is_better = score < self.best
            if is_better:
                self.best = score
                state = {name: value.detach().cpu().numpy() for name, value in self.average.state_dict().items()}
                recipe.save(self.target, state, self.step, errors)
        is_better = self.process.broadcast(is_better)
        self.since_best = 0 if is_better else self.since_best + 1
        self._save()

    def save_interrupted(self) -> None:
        """Write a checkpoint of the last whole step. Several processes may stop at different steps: they write none."""
        if self._whole and self.process.world_size == 1:
            self._save()

    def restore(self) -> None:
        """Bring back all state as it was after the checkpoint's step."""
        saved = load_checkpoint(self.checkpoint, self._settings())
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        torch_state, recipe_state = saved["random"][self.process.rank]
        self.process.set_random_state(torch_state)
        self.recipe.set_random_state(recipe_state)
        self.curves.restore(saved["curves"])
        self.step, self.best, self.since_best = saved["step"], saved["best"], saved["since_best"]
        self._random = torch_state, recipe_state

    def _save(self) -> None:
        random_states = self.process.gather(self._random)
        if not self.process.is_first:
            return
        content = {
            "settings": self._settings(),
            "step": self.step,
            "best": self.best,
            "since_best": self.since_best,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "random": random_states,
            "curves": self.curves.state(),
        }
        save_checkpoint(self.checkpoint, content)

    def _settings(self) -> str:
        return f"{self.recipe.settings()}, processes {self.process.world_size}"


def _forward(network: nn.Module) -> Forward:
    """The network as a function of arrays."""

    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        device = next(network.parameters()).device
        with torch.no_grad():
            parts = [network(part.to(device)).cpu() for part in torch.from_numpy(keyframes).split(256)]
            return np.asarray(torch.cat(parts).numpy())

    return forward


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


def network_state(arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Parameters of a weight file as tensors."""
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
