"""`bench kernels`: the fused Triton kernels against torch eager, torch.compile and a CUDA graph, on a CUDA device.

Correctness against the network in float64 comes first. Then all contenders take turns, round by round, in one process,
and are compared by the median of the rounds' ratios. Times are those of the card's own events, a whole call each.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mixsynth_stream.bench.measure import flops, take_turns
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError, ModelError
from mixsynth_stream.parameters import parameter_shapes, random_state
from mixsynth_stream.presets import published_shapes, shipped_shapes, shipped_weights
from mixsynth_stream.reports import save_plot, table, write_json

# Every contender is compared with these, as far as they take part.
OVER = {"over_eager": "eager", "over_compiled": "torch.compile", "over_graph": "CUDA graph of eager"}
BATCHES, TRAINING_BATCH = (1, 64, 512, 4096), 512
_ROUNDS = 25
# What `--quick` measures, in a few minutes: the largest gains and the smallest batch first.
_QUICK_CASES, _QUICK_BATCHES = ("jhmdb", "h36m", "3dpw", "aist-smpl", "image-n10"), (4096, 1)
_QUICK_ROUNDS, _QUICK_COMPILE_S = 15, 80.0
# A round's time is the mean of this many seconds of calls.
_ROUND_S, _MOST_CALLS = 0.02, 200


class Meter(Protocol):
    """What is asked of a card; see `bench.kernels.card.Card`."""

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
        from mixsynth_stream.bench.kernels.contenders import FORWARD, TRAINING, Case
        from mixsynth_stream.kernels.card import INTERPRETED
    except ImportError as error:
        raise BackendUnavailableError(f"bench kernels needs torch and triton: {error}; "
                                      "pip install 'mixsynth-stream[gpu]'") from error  # fmt: skip
    card = Card()
    if INTERPRETED:
        raise BackendUnavailableError("TRITON_INTERPRET=1 is set, so the kernels run on the CPU; unset it for CUDA")
    bench = Bench(card, rounds=rounds, compile_s=args.compile_s or (_QUICK_COMPILE_S if args.quick else None))
    print(f"{card.name}: " + ", ".join(f"{value / 1e12:.3g} T {what}/s" for what, value in bench.ceilings.items()))
    rows: list[dict[str, Any]] = []
    red = False
    for training in (False, True):
        contenders = TRAINING if training else FORWARD
        for batch in (TRAINING_BATCH,) if training else batches:
            for name in names:
                case = Case(name, *network_of(name), batch, card.device)
                found, wrong = bench.rows_of(case, contenders, training=training)
                if wrong:
                    red = True
                    print(f"{name}, batch {batch}: gate RED, and no speed measured of these", *wrong, sep="\n  ")
                print(f"\n{name}, batch {batch}, {'training step' if training else 'forward'}")
                print(table([_HEADS, *(_cells(row) for row in found)]), flush=True)
                rows += found
                if args.json is not None:  # already, because whoever runs out of time keeps what was measured
                    write_json(args.json, rows, packages=("torch", "triton"))
    if args.plot is not None:
        write_plot(args.plot, rows)
    return 1 if red else 0


def _plan(args: argparse.Namespace) -> tuple[list[str], Sequence[int], int]:
    """Networks, batches and rounds. Raises `ValueError` on those that do not exist."""
    known = [*published_shapes(), *shipped_shapes()]
    if unknown := [name for name in args.case or () if name not in known]:
        raise ValueError(f"--case must be of {', '.join(known)}, found {', '.join(unknown)}")
    names, batches, rounds = (_QUICK_CASES, _QUICK_BATCHES, _QUICK_ROUNDS) if args.quick else (known, BATCHES, _ROUNDS)
    rounds = rounds if args.rounds is None else args.rounds
    batches = args.batch or batches
    if min(rounds, *batches) < 1:
        raise ValueError("--rounds and --batch must be at least 1")
    return args.case or list(names), batches, rounds


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
        self, case: Any, contenders: Mapping[str, Any], *, training: bool = False
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The rows of a case, and a sentence for each contender that fails or whose numbers are wrong, and has none."""
        from mixsynth_stream.bench.kernels.contenders import SLOW_TO_MAKE

        expected = case.true_gradients if training else case.truth
        calls: dict[str, Callable[[], Any]] = {}
        facts: dict[str, dict[str, Any]] = {}
        wrong: list[str] = []
        for name, contender in contenders.items():
            if name in SLOW_TO_MAKE and self._compile_s <= 0:
                print(f"without {name} at {case.name}, batch {case.batch}: the time for compilers is spent")
                continue
            start = time.monotonic()
            made: list[Any] = []
            try:
                # With its making, because that is where graphs and buffers take theirs.
                memory = self.card.memory(functools.partial(_make_and_call, contender, case, made))
            except Exception as failure:  # compilers raise whatever they like, and one failure must not hide the rest
                said = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
                if name in SLOW_TO_MAKE:
                    print(f"without {name} at {case.name}, batch {case.batch}: {said}")
                else:
                    wrong.append(f"{name} fails: {said}")
                continue
            calls[name], found = made
            if name in SLOW_TO_MAKE:
                self._compile_s -= time.monotonic() - start
            error = gradient_error(found, expected) if training else motion_error(found, expected)
            facts[name] = {"max_error": error, "precision": contender.precision, "memory_mb": memory / 2**20}
        # No speed without correctness.
        off = gate_failures(facts, training=training)
        calls = {name: call for name, call in calls.items() if name not in off}
        for name, call in calls.items():
            facts[name]["launches"] = self.card.launches(call)
        return self._rows(case, self._seconds(calls), facts, training), wrong + list(off.values())

    def _seconds(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
        """Seconds a call, one number a round."""
        for call in calls.values():
            self.card.seconds(call, 3)  # compilers and allocators settle
        count = {
            name: min(_MOST_CALLS, max(1, int(_ROUND_S / self.card.seconds(call, 3)))) for name, call in calls.items()
        }
        return take_turns(list(calls), self.rounds, lambda name: self.card.seconds(calls[name], count[name]))

    def _rows(
        self, case: Any, seconds: Mapping[str, Sequence[float]], facts: Mapping[str, Mapping[str, Any]], training: bool
    ) -> list[dict[str, Any]]:
        """Ratios are medians over the rounds, above 1 where the contender is faster."""
        from mixsynth_stream.bench.kernels.contenders import CEILING

        per_round = {name: np.array(times) for name, times in seconds.items()}
        # The backward of a product is two products.
        operations = flops(case.config) * case.batch * (3 if training else 1)
        moved = least_bytes(case.config, case.batch, training)
        rows = []
        for name, times in per_round.items():
            p20, p50, p80 = (float(value) for value in np.percentile(1e6 * times, [20, 50, 80]))
            row = {"case": case.name, "batch": case.batch, "what": "training step" if training else "forward",
                   "contender": name, "p20_us": p20, "p50_us": p50, "p80_us": p80}  # fmt: skip
            for ratio, peer in OVER.items():
                row[ratio] = float(np.median(per_round[peer] / times)) if peer in per_round else None
            ceiling = self.ceilings[CEILING[facts[name]["precision"]]]
            row |= {
                "gflops": operations / p50 / 1e3,
                "of_flops": operations / (p50 * 1e-6) / ceiling,
                "gb_s": moved / p50 / 1e3,
                "of_bytes": moved / (p50 * 1e-6) / self.ceilings["bytes"],
            }
            rows.append({**row, **facts[name], "card": self.card.name})
        return rows


def _make_and_call(contender: Any, case: Any, made: list[Any]) -> None:
    made.append(contender.make(case))
    made.append(made[0]())


def least_bytes(config: ModelConfig, batch: int, training: bool = False) -> int:
    """What has to move at least: keyframes in, poses out, parameters once; in training the gradients of both too."""
    poses = batch * (config.num_keyframes + config.seq_len) * config.joint_dim
    parameters = sum(int(np.prod(shape)) for shape in parameter_shapes(config).values())
    return 4 * (poses + parameters) * (2 if training else 1)


def motion_error(found: Any, truth: Any) -> float:  # [B, T, D] each
    """The largest absolute error, at outputs of size 5; larger outputs may be off by as much more."""
    if found.shape != truth.shape:
        return float("inf")
    worst, size = float((found.double() - truth).abs().max()), float(truth.abs().max())
    return worst / max(1.0, size / 5)


def gradient_error(found: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
    """The largest relative error of a parameter's gradient."""
    if found.keys() != truth.keys():
        return float("inf")
    # Where a gradient is all but zero, rounding is all that there is: it is held against the largest of them.
    floor = 1e-3 * max(float(value.norm()) for value in truth.values())
    return max(
        float((found[name].double() - value).norm()) / max(float(value.norm()), floor) for name, value in truth.items()
    )


def gate_failures(facts: Mapping[str, Mapping[str, Any]], *, training: bool = False) -> dict[str, str]:
    """A sentence for every contender whose largest error is too large, by its name."""
    from mixsynth_stream.bench.kernels.contenders import GRADIENT_TOLERANCE, TOLERANCE

    allowed = GRADIENT_TOLERANCE if training else TOLERANCE
    return {
        name: f"{name} is off by {fact['max_error']:.1e} from float64, more than {allowed[fact['precision']]:.0e}"
        for name, fact in facts.items()
        if not fact["max_error"] <= allowed[fact["precision"]]
    }


_HEADS = ["microseconds a call", "p20", "p50", "p80", "over eager", "over compile", "over graph", "TFLOP/s", "GB/s",
          "launches", "MB", "error"]  # fmt: skip


def _cells(row: Mapping[str, Any]) -> list[str]:
    times = [f"{row[f'{p}_us']:.1f}" for p in ("p20", "p50", "p80")]
    ratios = ["-" if row[over] is None else f"{row[over]:.2f}x" for over in OVER]
    reached = [
        f"{row['gflops'] / 1e3:.2f} ({row['of_flops']:.0%})",
        f"{row['gb_s']:.0f} ({row['of_bytes']:.0%})",
        "-" if row["launches"] is None else str(row["launches"]),
        f"{row['memory_mb']:.1f}",
    ]
    return [row["contender"], *times, *ratios, *reached, f"{row['max_error']:.0e}"]


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
            wanted = what, batch, name
            ratios = {r["case"]: r["over_eager"] for r in rows if (r["what"], r["batch"], r["contender"]) == wanted}
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
