"""Card of `bench encoder --device cuda`: the CUDA encoder against torch, its compiler, graphs and the Triton kernels.

Correctness in float64 comes first, as in `bench kernels`, whose clock and table these are. Three times are told: of a
call on arrays of the card, by its own events; for small batches, of a launch among many in one graph, which leaves the
host out; and from keyframes in host memory to motion there, by the host's clock.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mixsynth_stream.backend import Forward, choose_backend, make_forward
from mixsynth_stream.bench.kernels.card import Card
from mixsynth_stream.bench.kernels.contenders import (
    COMPILED,
    EAGER,
    FORWARD,
    GRAPH,
    REDUCED,
    Case,
    Contender,
)
from mixsynth_stream.bench.kernels.run import HEADS, Bench, cells, motion_error, network_of, write_plot
from mixsynth_stream.bench.measure import percentiles_us, take_turns
from mixsynth_stream.reports import table, write_json

PRECISIONS = ("strict", "tf32", "bf16")
# Largest error at outputs of size 5, where the numbers of the motion are larger, as much more.
TOLERANCE = {"strict": 5e-5, "tf32": 2.5e-2, "bf16": 2.5e-1}
BATCHES = (1, 4096, 64)
NETWORKS = ("jhmdb", "h36m", "3dpw", "aist-smpl", "image-n10")
# A graph for the time of a launch holds so many, up to this batch.
_LAUNCHES, _MOST_IN_A_GRAPH = 20, 64
# The host's clock looks at so many calls a round.
_HOST_CALLS = 5


def encoder_of(case: Case, precision: str) -> Any:
    """The CUDA encoder with the weights of a case."""
    cuda: Any = importlib.import_module("mixsynth_stream._cuda")
    return cuda.Encoder(state=dict(case.state), precision=precision, **dataclasses.asdict(case.config))


def launcher(case: Case, precision: str) -> tuple[Callable[[], None], torch.Tensor, torch.Tensor]:
    """A call on the current stream, its keyframes and its motion [B, T, D], which is NaN until the first call."""
    encoder, keyframes = encoder_of(case, precision), case.keyframes.clone()
    shape = (case.batch, case.config.seq_len, case.config.joint_dim)
    out = torch.full(shape, float("nan"), device=case.device)

    def call() -> None:
        encoder.forward_on_card(keyframes, out=out, stream=torch.cuda.current_stream(case.device).cuda_stream)

    return call, keyframes, out


@dataclasses.dataclass(frozen=True)
class Captured:
    """A graph, with the call that it was made of: the encoder's weights must live as long as the graph."""

    graph: torch.cuda.CUDAGraph
    call: Callable[[], None]

    def replay(self) -> None:
        """Queue it on the current stream."""
        self.graph.replay()


def captured(case: Case, call: Callable[[], None], count: int = 1) -> Captured:
    """A graph of `count` calls."""
    side = torch.cuda.Stream(case.device)
    side.wait_stream(torch.cuda.current_stream(case.device))
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream(case.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for _ in range(count):
            call()
    return Captured(graph, call)


def _launched(precision: str) -> Callable[[Case], Callable[[], torch.Tensor]]:
    def make(case: Case) -> Callable[[], torch.Tensor]:
        call, _, out = launcher(case, precision)

        def run() -> torch.Tensor:
            call()
            return out

        return run

    return make


def _replayed(precision: str) -> Callable[[Case], Callable[[], torch.Tensor]]:
    """With the copy of its input, which the graphs of the others make too."""

    def make(case: Case) -> Callable[[], torch.Tensor]:
        call, keyframes, out = launcher(case, precision)
        graph = captured(case, call)

        def run() -> torch.Tensor:
            keyframes.copy_(case.keyframes)
            graph.replay()
            return out

        return run

    return make


PEERS = (EAGER, COMPILED, REDUCED, GRAPH, "kernels bf16, graph", "kernels strict, graph")
CONTENDERS: dict[str, Contender] = {
    **{name: FORWARD[name] for name in PEERS},
    **{f"cuda {name}": Contender(_launched(name), name, TOLERANCE[name]) for name in PRECISIONS},
    **{f"cuda {name}, graph": Contender(_replayed(name), name, TOLERANCE[name]) for name in PRECISIONS},
}


def measure(args: argparse.Namespace) -> int:
    """Run and print; 1 where a contender's numbers are wrong. Raises `ValueError`, `BackendUnavailableError`."""
    names, batches = args.case or list(NETWORKS), args.batch or BATCHES
    _check(args, names)
    choose_backend("cuda")
    start, card = time.monotonic(), Card()
    bench = Bench(card, rounds=args.rounds, compile_s=args.compile_s)
    print(f"{card.name}: " + ", ".join(f"{value / 1e12:.3g} T {what}/s" for what, value in bench.ceilings.items()))
    contenders = {name: CONTENDERS[name] for name in args.contender or CONTENDERS}
    rows: list[dict[str, Any]] = []
    red = False
    for case in _cases(names, batches, card.device):
        if args.seconds is not None and time.monotonic() - start > args.seconds:
            print(f"the {args.seconds:.0f} s of --seconds are over before {case.name}, batch {case.batch}")
            break
        case_rows, failures = bench.rows_of(case, contenders)
        for row in case_rows:
            row["device_us"] = _device_us(card, case, row)
        host = [] if failures else host_rows(case, args.rounds, card.name)
        red |= bool(failures)
        if failures:
            print(f"{case.name}, batch {case.batch}: gate RED, and no speed measured of these", *failures, sep="\n  ")
        print(f"\n{case.name}, batch {case.batch}, on the card")
        print(table([[*HEADS, "alone"], *([*cells(row), _microseconds(row["device_us"])] for row in case_rows)]))
        print(table([_HOST_HEADS, *map(_host_cells, host)]), flush=True)
        rows += [*case_rows, *host]
        if args.json is not None:  # each time, so that a run that is cut short keeps its rows
            write_json(args.json, rows, packages=("torch", "triton"))
    if args.plot is not None:
        write_plot(args.plot, [row for row in rows if row["what"] == "forward"])
    return 1 if red else 0


def _check(args: argparse.Namespace, names: list[str]) -> None:
    from mixsynth_stream.presets import published_shapes, shipped_shapes

    known = [*published_shapes(), *shipped_shapes()]
    for option, request, choices in (("--case", names, known), ("--contender", args.contender or (), CONTENDERS)):
        if unknown := [name for name in request if name not in choices]:
            raise ValueError(f"{option} must be of {', '.join(choices)}, found {', '.join(unknown)}")
    for option, value in (("--threads", args.threads), ("--core", args.core)):
        if value is not None:
            raise ValueError(f"{option} does not go with --device cuda")


def _cases(names: list[str], batches: Any, device: torch.device) -> Iterator[Case]:
    for batch, name in itertools.product(batches, names):
        yield Case(name, *network_of(name), batch, device)


def _device_us(card: Card, case: Case, row: Mapping[str, Any]) -> float | None:
    """A launch of ours among many in a graph; None for others, and for batches that take long enough by themselves."""
    name = row["contender"]
    if not (name.startswith("cuda ") and name.endswith(", graph")) or case.batch > _MOST_IN_A_GRAPH:
        return None
    call, _, _ = launcher(case, row["precision"])
    graph = captured(case, call, _LAUNCHES)
    graph.replay()
    return 1e6 * min(card.seconds(graph.replay, 3) for _ in range(5)) / _LAUNCHES


def _microseconds(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def host_rows(case: Case, rounds: int, card_name: str) -> list[dict[str, Any]]:
    """From keyframes in host memory to motion there: eager on the card, the native encoder, and ours."""
    keyframes, truth = case.keyframes.cpu().numpy(), case.truth.cpu()
    forwards: dict[str, Forward] = {EAGER: _eager_from_host(case)}
    if case.batch <= _MOST_IN_A_GRAPH:  # a large one would take the whole time
        forwards["native, one core"] = make_forward("native", case.config, case.state)
    forwards |= {f"cuda {precision}": encoder_of(case, precision).forward for precision in PRECISIONS}
    errors = {name: motion_error(torch.from_numpy(call(keyframes)), truth) for name, call in forwards.items()}

    def seconds(name: str) -> float:
        start = time.perf_counter()
        for _ in range(_HOST_CALLS):
            forwards[name](keyframes)
        return (time.perf_counter() - start) / _HOST_CALLS

    for name in forwards:
        seconds(name)
    times = {name: np.array(numbers) for name, numbers in take_turns(list(forwards), rounds, seconds).items()}
    return [
        {
            "case": case.name,
            "batch": case.batch,
            "what": "host to host",
            "contender": name,
            **percentiles_us(numbers),
            "over_eager": float(np.median(times[EAGER] / numbers)),
            "max_error": errors[name],
            "card": card_name,
        }
        for name, numbers in times.items()
    ]


def _eager_from_host(case: Case) -> Forward:
    network = case.network()

    @torch.inference_mode()
    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        motion: np.ndarray = network(torch.from_numpy(keyframes).to(case.device)).cpu().numpy()
        return motion

    return forward


_HOST_HEADS = ["microseconds, host to host", "p20", "p50", "p80", "over eager", "error"]


def _host_cells(row: Mapping[str, Any]) -> list[str]:
    times = [_microseconds(row[f"{p}_us"]) for p in ("p20", "p50", "p80")]
    return [row["contender"], *times, f"{row['over_eager']:.2f}x", f"{row['max_error']:.0e}"]
