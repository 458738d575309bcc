"""Bench kernels: the Triton kernels against torch eager, torch.compile and a CUDA graph, on a CUDA device.

Correctness in float64 comes first. Then all contenders take turns, round by round, in one process, and are compared by
the median of the rounds' ratios. Times are those of the card's own events, a whole call each. A case is a network,
forward and in a training step, or an op of one kernel file by its name.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mixsynth_stream.bench.measure import flops, take_turns
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError, ModelError
from mixsynth_stream.parameters import parameter_shapes, random_state
from mixsynth_stream.presets import published_shapes, shipped_shapes, shipped_weights
from mixsynth_stream.reports import save_plot, table, write_json

# Every contender is compared with those of these that take part.
OVER = {
    "over_eager": "eager",
    "over_compiled": "torch.compile",
    "over_reduced": "torch.compile reduce-overhead",
    "over_graph": "CUDA graph of eager",
}
BATCHES, TRAINING_BATCH = (1, 64, 512, 4096), 512
_ROUNDS = 25
# Files of kernels/ that hold kernels, by path. They are measured where `--case` names them, at the sizes of h36m.
OP_NAMES = (
    "synth_attention",
    "synth_mix",
    "feed_forward",
    "encoder",
    "blocks/kernels",
    "training/dropout",
    "training/token_branch",
    "training/channel_branch",
    "training/synth_mix",
    "training/feed_forward",
    "training/large_branch",
)
_OP_NETWORK = "h36m"
# `--quick` measures these in a few minutes: the largest gains, and the largest batch first.
_QUICK_CASES, _QUICK_BATCHES = ("jhmdb", "h36m", "3dpw", "aist-smpl", "image-n10"), (4096, 1)
_QUICK_ROUNDS, _QUICK_COMPILE_S = 15, 80.0
# A round's time is the mean of this many seconds of calls.
_ROUND_S, _MOST_CALLS = 0.02, 200


class Meter(Protocol):
    """What a benchmark asks of a card; see `bench.kernels.card.Card`."""

    device: Any
    name: str

    def seconds(self, call: Callable[[], Any], calls: int) -> float: ...
    def memory(self, call: Callable[[], Any]) -> int: ...
    def launches(self, call: Callable[[], Any]) -> int | None: ...
    def ceilings(self) -> Mapping[str, float]: ...


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where a contender's numbers are wrong."""
    names, batches, rounds = _plan(args)
    try:
        from mixsynth_stream.bench.kernels.card import Card
        from mixsynth_stream.kernels.card import INTERPRETED
    except ImportError as error:
        raise BackendUnavailableError(
            f"bench kernels needs torch and triton: {error}; pip install 'mixsynth-stream[gpu]'"
        ) from error
    card = Card()
    if INTERPRETED:
        raise BackendUnavailableError("TRITON_INTERPRET=1 is set, so the kernels run on the CPU; unset it for CUDA")
    bench = Bench(card, rounds=rounds, compile_s=args.compile_s or (_QUICK_COMPILE_S if args.quick else None))
    print(f"{card.name}: " + ", ".join(f"{value / 1e12:.3g} T {what}/s" for what, value in bench.ceilings.items()))
    rows: list[dict[str, Any]] = []
    red = False
    for case, contenders, what in _cases(names, batches, card.device):
        case_rows, failures = bench.rows_of(case, contenders, what=what)
        if failures:
            red = True
            print(f"{case.name}, batch {case.batch}: gate RED, and no speed measured of these", *failures, sep="\n  ")
        print(f"\n{case.name}, batch {case.batch}, {what}")
        print(table([HEADS, *(cells(row) for row in case_rows)]), flush=True)
        rows += case_rows
        if args.json is not None:  # each time, so that a run that is cut short keeps its rows
            write_json(args.json, rows, packages=("torch", "triton"))
    if args.plot is not None:
        write_plot(args.plot, rows)
    return 1 if red else 0


def _plan(args: argparse.Namespace) -> tuple[list[str], Sequence[int], int]:
    """Networks and ops, batches and rounds. Raises `ValueError` on those that do not exist."""
    known = [*published_shapes(), *shipped_shapes()]
    if unknown := [name for name in args.case or () if name not in (*known, *OP_NAMES)]:
        raise ValueError(
            f"--case must be of {', '.join(known)}, found {', '.join(unknown)}; or an op of {', '.join(OP_NAMES)}"
        )
    names, batches, rounds = (_QUICK_CASES, _QUICK_BATCHES, _QUICK_ROUNDS) if args.quick else (known, BATCHES, _ROUNDS)
    rounds = rounds if args.rounds is None else args.rounds
    batches = args.batch or batches
    if min(rounds, *batches) < 1:
        raise ValueError("--rounds and --batch must be at least 1")
    return args.case or list(names), batches, rounds


def _cases(names: Sequence[str], batches: Sequence[int], device: Any) -> Iterator[tuple[Any, Mapping[str, Any], str]]:
    """Each case with its contenders and what they do: networks forward, then in training, then ops."""
    from mixsynth_stream.bench.kernels.contenders import FORWARD, TRAINING, Case
    from mixsynth_stream.bench.kernels.ops import OP_CONTENDERS, OpCase

    networks = [name for name in names if name not in OP_NAMES]
    for contenders, what, sizes in ((FORWARD, "forward", batches), (TRAINING, "training step", (TRAINING_BATCH,))):
        for batch, name in itertools.product(sizes, networks):
            yield Case(name, *network_of(name), batch, device), contenders, what
    for batch, name in itertools.product(batches, [name for name in names if name in OP_NAMES]):
        yield OpCase(name, network_of(_OP_NETWORK)[0], batch, device), OP_CONTENDERS, "op"


def network_of(name: str) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
    """A published shape with random weights, or weights that ship."""
    if name in (shapes := published_shapes()):
        return shapes[name], random_state(shapes[name])
    return shipped_shapes()[name], shipped_weights(name)


class Bench:
    """What is the same for all cases: the card, its ceilings, and the time that compilers may still take."""

    def __init__(self, card: Meter, *, rounds: int, compile_s: float | None = None) -> None:
        self.card, self.rounds = card, rounds
        self.ceilings = card.ceilings()
        self._compile_s = float("inf") if compile_s is None else compile_s

    def rows_of(
        self, case: Any, contenders: Mapping[str, Any], *, what: str = "forward"
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The rows of a case, and a sentence for each contender that fails or is wrong, which has no row."""
        from mixsynth_stream.bench.kernels.contenders import SLOW_TO_MAKE

        expected = case.true_gradients if what == "training step" else case.truth
        error_of: Callable[[Any, Any], float] = motion_error if what == "forward" else gradient_error
        calls: dict[str, Callable[[], Any]] = {}
        facts: dict[str, dict[str, Any]] = {}
        failures: list[str] = []
        for name, contender in contenders.items():
            if name in SLOW_TO_MAKE and self._compile_s <= 0:
                print(f"without {name} at {case.name}, batch {case.batch}: the time for compilers is spent")
                continue
            start = time.monotonic()
            results: list[Any] = []
            try:
                # Making it counts, because that is where graphs and buffers take their memory.
                memory = self.card.memory(functools.partial(_make_and_call, contender, case, results))
            except Exception as failure:  # compilers raise whatever they like, and one failure must not hide the rest
                sentence = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
                if name in SLOW_TO_MAKE:
                    print(f"without {name} at {case.name}, batch {case.batch}: {sentence}")
                else:
                    failures.append(f"{name} fails: {sentence}")
                continue
            calls[name], result = results
            if name in SLOW_TO_MAKE:
                self._compile_s -= time.monotonic() - start
            facts[name] = {"precision": contender.precision, "memory_mb": memory / 2**20}
            if contender.tolerance is not None:
                facts[name]["tolerance"] = contender.tolerance
            facts[name]["max_error"] = error_of(result, expected)
        # No speed without correctness.
        wrong = gate_failures(facts, relative=what != "forward")
        calls = {name: call for name, call in calls.items() if name not in wrong}
        for name, call in calls.items():
            facts[name]["launches"] = self.card.launches(call)
        return self._rows(case, self._seconds(calls), facts, what), failures + list(wrong.values())

    def _seconds(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
        """Seconds a call, one number a round."""
        for call in calls.values():
            self.card.seconds(call, 3)  # compilers and allocators settle
        count = {
            name: min(_MOST_CALLS, max(1, int(_ROUND_S / self.card.seconds(call, 3)))) for name, call in calls.items()
        }
        return take_turns(list(calls), self.rounds, lambda name: self.card.seconds(calls[name], count[name]))

    def _rows(
        self, case: Any, seconds: Mapping[str, Sequence[float]], facts: Mapping[str, Mapping[str, Any]], what: str
    ) -> list[dict[str, Any]]:
        """Ratios are medians over the rounds, above 1 where the contender is faster."""
        from mixsynth_stream.bench.kernels.contenders import CEILING

        per_round = {name: np.array(times) for name, times in seconds.items()}
        operations, traffic_bytes = _work(case, what)
        rows = []
        for name, times in per_round.items():
            p20, p50, p80 = (float(value) for value in np.percentile(1e6 * times, [20, 50, 80]))
            row = {"case": case.name, "batch": case.batch, "what": what, "contender": name}
            row |= {"p20_us": p20, "p50_us": p50, "p80_us": p80}
            for ratio, peer in OVER.items():
                row[ratio] = float(np.median(per_round[peer] / times)) if peer in per_round else None
            ceiling = self.ceilings[CEILING[facts[name]["precision"]]]
            row |= {
                "gflops": operations / p50 / 1e3,
                "of_flops": operations / (p50 * 1e-6) / ceiling,
                "gb_s": traffic_bytes / p50 / 1e3,
                "of_bytes": traffic_bytes / (p50 * 1e-6) / self.ceilings["bytes"],
            }
            rows.append({**row, **facts[name], "card": self.card.name})
        return rows


def _make_and_call(contender: Any, case: Any, results: list[Any]) -> None:
    results.append(contender.make(case))
    results.append(results[0]())


def _work(case: Any, what: str) -> tuple[float, float]:
    """Operations of a call, and bytes that it has to move at least."""
    if what == "op":
        operations, traffic_bytes = case.work()
        return float(operations), float(traffic_bytes)
    training = what == "training step"
    # The backward of a product is two products.
    return flops(case.config) * case.batch * (3 if training else 1), least_bytes(case.config, case.batch, training)


def least_bytes(config: ModelConfig, batch: int, training: bool = False) -> int:
    """What has to move at least: keyframes in, poses out, parameters once; in training the gradients of both too."""
    poses = batch * (config.num_keyframes + config.seq_len) * config.joint_dim
    parameters = sum(int(np.prod(shape)) for shape in parameter_shapes(config).values())
    return 4 * (poses + parameters) * (2 if training else 1)


def motion_error(motion: Any, truth: Any) -> float:  # [B, T, D] each
    """The largest absolute error, at outputs of size 5; larger outputs may be off by as much more."""
    if motion.shape != truth.shape:
        return float("inf")
    worst, size = float((motion.double() - truth).abs().max()), float(truth.abs().max())
    return worst / max(1.0, size / 5)


def gradient_error(gradients: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
    """The largest relative error of a parameter's gradient, or of an op's result."""
    if gradients.keys() != truth.keys():
        return float("inf")
    # A gradient that is all but zero is rounding alone: it is held against the largest of them.
    floor = 1e-3 * max(float(value.norm()) for value in truth.values())
    return max(
        float((gradients[name].double() - value).norm()) / max(float(value.norm()), floor)
        for name, value in truth.items()
    )


def gate_failures(facts: Mapping[str, Mapping[str, Any]], *, relative: bool) -> dict[str, str]:
    """A sentence for every contender whose largest error, absolute or relative, is too large, by its name."""
    from mixsynth_stream.bench.kernels.contenders import GRADIENT_TOLERANCE, TOLERANCE

    table_of = GRADIENT_TOLERANCE if relative else TOLERANCE
    allowed = {name: fact.get("tolerance", table_of[fact["precision"]]) for name, fact in facts.items()}
    return {
        name: f"{name} is off by {fact['max_error']:.1e} from float64, more than {allowed[name]:.0e}"
        for name, fact in facts.items()
        if not fact["max_error"] <= allowed[name]
    }


HEADS = ["microseconds a call", "p20", "p50", "p80", "over eager", "over compile", "over reduced", "over graph"]
HEADS += ["TFLOP/s", "GB/s", "launches", "MB", "error"]


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table with these heads."""
    times = [f"{row[f'{p}_us']:.1f}" for p in ("p20", "p50", "p80")]
    ratios = ["-" if row[over] is None else f"{row[over]:.2f}x" for over in OVER]
    card_cells = [
        f"{row['gflops'] / 1e3:.2f} ({row['of_flops']:.0%})",
        f"{row['gb_s']:.0f} ({row['of_bytes']:.0%})",
        "-" if row["launches"] is None else str(row["launches"]),
        f"{row['memory_mb']:.1f}",
    ]
    return [row["contender"], *times, *ratios, *card_cells, f"{row['max_error']:.0e}"]


def write_plot(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """How many times faster than eager, one panel a batch. Raises `OutputError`; needs matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError("--plot needs matplotlib: pip install matplotlib") from error
    panels = list(dict.fromkeys((row["what"], row["batch"]) for row in rows))
    cases = list(dict.fromkeys(row["case"] for row in rows))
    contenders = [name for name in dict.fromkeys(row["contender"] for row in rows) if name != "eager"]
    figure = Figure(figsize=(2 + 1.6 * len(cases), 3.2 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    colours = {name: f"C{i}" if i < 10 else f"C{i - 10}" for i, name in enumerate(contenders)}
    for number, (what, batch) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, number + 1)
        for i, name in enumerate(contenders):
            bars = what, batch, name
            ratios = {r["case"]: r["over_eager"] for r in rows if (r["what"], r["batch"], r["contender"]) == bars}
            places = np.arange(len(cases)) + (i - (len(contenders) - 1) / 2) * 0.8 / len(contenders)
            heights = [ratios.get(case) or 0.0 for case in cases]
            hatch = "//" if name.endswith("graph") else None
            axes.bar(places, heights, 0.8 / len(contenders), label=name, color=colours[name], hatch=hatch)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(cases)), cases)
        axes.set_ylabel("times as fast as eager")
        axes.set_title(f"{rows[0]['card']}, {what}, batch {batch}", fontsize=9)
        if number == 0:
            axes.legend(fontsize=6, ncols=3)
    save_plot(path, figure)
