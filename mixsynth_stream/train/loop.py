"""The training loop. What is trained, on what and how, is a `Recipe`; the loop knows devices, files and interrupts."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import make_folder
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.train.checkpoint import read_checkpoint, write_checkpoint
from mixsynth_stream.train.curves import Curves
from mixsynth_stream.train.devices import Place, fast_layers, on_kernels, place

Caller = Callable[[np.ndarray], np.ndarray]


class Recipe(Protocol):
    """One way to train: data, loss, optimisers and schedule. `draw` has the only random numbers besides torch's."""

    name: str  # stem of every file that training writes
    seed: int
    steps: int
    validate_every: int
    gradient_limit: float
    curves_label: str
    # Regular expression: which of the measured errors the plot shows.
    curves_drawn: str

    def settings(self) -> str:
        """What must not change between a run and its continuation."""

    def start(self, here: Place) -> None:
        """Open the data, for one of several processes."""

    def network(self) -> nn.Module: ...
    def optimisers(self, network: nn.Module) -> list[torch.optim.Optimizer]:
        """Groups of parameters may have an `lr_share`, a factor on the learning rate."""

    def learning_rate(self, step: int) -> float: ...
    def average_keep(self, step: int) -> float:
        """Share that the moving average of the weights keeps in this step; 0: it is the network itself."""

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """Keyframes [B, Q+1, D], then whatever `loss` takes. Called in a thread of its own, one step ahead."""

    def loss(self, said: Tensor, *wanted: Tensor) -> Tensor: ...
    def measure(self, call: Caller) -> dict[str, float]: ...
    def score(self, rows: dict[str, float]) -> float:
        """One number to choose the best weights by: lower is better."""

    def random_state(self) -> str: ...
    def set_random_state(self, state: str) -> None: ...
    def save(self, weights: Path, state: dict[str, np.ndarray], step: int, rows: dict[str, float]) -> None:
        """Write the best weights so far (`rows` measure them), all or nothing."""

    def finish(self, weights: Path) -> None:
        """What is left to do with the best weights after the last step."""


def fit(recipe: Recipe, out: Path, *, resume: bool = False, patience: int = 0, kernels: bool = False) -> Path:
    """Train and return the path of the best weights. With `patience`, stop after so many validations without a gain.

    Interrupted between validations it draws the curves and writes a checkpoint of the last whole step, so that nothing
    is lost and resuming gives the weights of a run that was never interrupted.
    """
    make_folder(out / f"{recipe.name}.safetensors")
    with place() as here, Interrupt() as interrupt, DrawnAhead(recipe) as drawn:
        run = Run(recipe, out, here, drawn, kernels)
        if resume:
            run.restore()
        with tqdm(total=recipe.steps, initial=run.step, unit="step", desc=recipe.name, disable=not here.first) as bar:
            try:
                while run.step < recipe.steps and not (patience and run.since_best >= patience):
                    with interrupt.held():
                        run.advance()
                        bar.update()
                        if run.step % recipe.validate_every == 0 or run.step == recipe.steps:
                            run.validate(bar)
            except KeyboardInterrupt:
                run.save_interrupted()
                if here.first:
                    run.curves.draw()
                raise
        if here.first:
            recipe.finish(run.target)
            run.curves.draw()
        return run.target


class DrawnAhead:
    """Batches, each drawn while the network learns from the one before: work for a second core."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._next: Future[tuple[tuple[Tensor, ...], str]] | None = None

    def take(self, step: int) -> tuple[tuple[Tensor, ...], str]:
        """The batch of a step, and the recipe's random state when it was drawn. Steps follow one another."""
        batch = (self._next or self._thread.submit(self._draw, step)).result()
        self._next = self._thread.submit(self._draw, step + 1) if step + 1 < self._recipe.steps else None
        return batch

    def _draw(self, step: int) -> tuple[tuple[Tensor, ...], str]:
        return self._recipe.draw(step), self._recipe.random_state()

    def __enter__(self) -> DrawnAhead:
        self._thread = ThreadPoolExecutor(1, "draw")
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)


class Run:
    """Everything that changes while training, and where it is kept."""

    def __init__(self, recipe: Recipe, out: Path, here: Place, drawn: DrawnAhead, kernels: bool) -> None:
        self.recipe, self.here, self._drawn = recipe, here, drawn
        recipe.start(here)
        random.seed(recipe.seed)
        torch.manual_seed(recipe.seed + here.rank)
        self.network = recipe.network().to(here.device).train()
        self.average = copy.deepcopy(self.network).eval()
        self.trained: nn.Module = self.network
        if kernels:
            on_kernels(self.network, here.device.type)
        elif isinstance(self.network, MixSynthFormer):
            fast_layers(self.network, here.device.type)
        if here.world > 1:
            # Some parameters of the published network are never used (value_reduce where its factor is 1).
            self.trained = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        self.optimisers = recipe.optimisers(self.network)
        self.curves = Curves(out / recipe.name, recipe.curves_label, recipe.curves_drawn)
        self.checkpoint, self.target = out / f"{recipe.name}.checkpoint.pt", out / f"{recipe.name}.safetensors"
        self.step, self.best, self.since_best = 0, math.inf, 0
        self._random, self._whole = (here.random_state(), recipe.random_state()), True

    def advance(self) -> None:
        """One step of the optimisers."""
        recipe, here = self.recipe, self.here
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate(self.step) * group.get("lr_share", 1.0)
        batch, recipe_state = self._drawn.take(self.step)
        keyframes, *wanted = (tensor.to(here.device) for tensor in batch)
        loss = recipe.loss(self.trained(keyframes), *wanted)
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.gradient_limit)
        value = loss.item()
        if not math.isfinite(value):
            raise ModelError(f"the loss became {value} in step {self.step + 1}; use a lower --lr, or look at the data")
        # From here to the end the state is neither that of this step nor of the next.
        self._whole = False
        for optimiser in self.optimisers:
            optimiser.step()
        _follow(self.average, self.network, recipe.average_keep(self.step))
        self.curves.add_loss(value)
        self.step += 1
        self._random, self._whole = (here.random_state(), recipe_state), True

    def validate(self, bar: tqdm[None]) -> None:
        """Measure, keep the weights if they are the best so far, and write a checkpoint."""
        recipe, better = self.recipe, False
        if self.here.first:
            rows = recipe.measure(_caller(self.average))
            score = recipe.score(rows)
            if not math.isfinite(score):
                bad = ", ".join(f"{name} {value}" for name, value in rows.items() if not math.isfinite(value))
                raise ModelError(f"the score became {score} after step {self.step} ({bad or 'all errors are finite'}); "
                                 "look at the validation data, or use a lower --lr")  # fmt: skip
            self.curves.add_row(self.step, recipe.learning_rate(self.step - 1), score, rows)
            bar.set_postfix(score=f"{score:.4f}")
            better = score < self.best
            if better:
                self.best = score
                state = {name: value.detach().cpu().numpy() for name, value in self.average.state_dict().items()}
                recipe.save(self.target, state, self.step, rows)
        better = self.here.agreed(better)
        self.since_best = 0 if better else self.since_best + 1
        self._save()

    def save_interrupted(self) -> None:
        """A checkpoint of the last whole step. One of several processes cannot know that all stopped at the same."""
        if self._whole and self.here.world == 1:
            self._save()

    def restore(self) -> None:
        """Everything as it was after the checkpoint's step."""
        saved = read_checkpoint(self.checkpoint, self._settings())
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        torch_state, recipe_state = saved["random"][self.here.rank]
        self.here.set_random_state(torch_state)
        self.recipe.set_random_state(recipe_state)
        self.curves.restore(saved["curves"])
        self.step, self.best, self.since_best = saved["step"], saved["best"], saved["since_best"]
        self._random = torch_state, recipe_state

    def _save(self) -> None:
        everybody = self.here.gathered(self._random)
        if self.here.first:
            write_checkpoint(self.checkpoint, {
                "settings": self._settings(), "step": self.step, "best": self.best, "since_best": self.since_best,
                "network": self.network.state_dict(), "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers], "random": everybody,
                "curves": self.curves.state(),
            })  # fmt: skip

    def _settings(self) -> str:
        return f"{self.recipe.settings()}, processes {self.here.world}"


def _caller(network: nn.Module) -> Caller:
    """The network as a function of arrays."""

    def call(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        device = next(network.parameters()).device
        with torch.no_grad():
            parts = [network(part.to(device)).cpu() for part in torch.from_numpy(keyframes).split(256)]
            return np.asarray(torch.cat(parts).numpy())

    return call


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)


def network_state(arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Parameters of a weight file as tensors."""
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
