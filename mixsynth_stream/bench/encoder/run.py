"""`bench encoder`: the native encoder against torch, its compilers, ONNX Runtime and OpenVINO on one core.

Correctness against the network in float64 comes first. Then all contenders take turns, round by round, in one process
pinned to one core. The median of the rounds' ratios compares them, because other work on the machine slows all alike.
Times are the processor time of the process: it is the time that passes on an idle core, and it leaves out other work.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.backend import Forward, choose_backend
from mixsynth_stream.bench.encoder.contenders import (
    CONTENDERS,
    EAGER,
    NATIVE,
    NATIVE_AVX2,
    OURS,
    Case,
    make,
    missing_packages,
    peaks_of,
)
from mixsynth_stream.bench.encoder.threads import measure_threads
from mixsynth_stream.bench.measure import flops, median_seconds, one_core, percentiles_us, take_turns
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError, ModelError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.parameters import random_state
from mixsynth_stream.presets import published_shapes
from mixsynth_stream.reports import processor, save_plot, table, write_json
from mixsynth_stream.weights import load_weights

# The published shapes that the speed of MixSynthFormer is reported for.
PUBLISHED = ("jhmdb", "h36m", "3dpw", "aist-smpl")
# Largest absolute error against float64, and how many times eager's own.
MOST_ERROR, MOST_TIMES_EAGER = 2e-5, 4.0
# A round's time is the median of this many seconds of calls, at least three.
_ROUND_S = 0.02


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where a contender's numbers are wrong."""
    if min(args.rounds, *(args.batch or [1])) < 1:
        raise ValueError("--rounds and --batch must be at least 1")
    if args.device == "cuda":
        return _on_card(args)
    networks = all_networks()
    batches = args.batch or [1, 64]
    names = args.case or list(networks)
    requests = (("--case", names, networks), ("--contender", args.contender or (), CONTENDERS))
    for option, request, choices in requests:
        if unknown := [name for name in request if name not in choices]:
            raise ValueError(f"{option} must be of {', '.join(choices)}, found {', '.join(unknown)}")
    choose_backend(NATIVE)
    if args.threads is not None:
        measure_threads({name: networks[name] for name in names}, args.threads, batches, args.rounds, args.json)
        return 0
    contenders = _installed(args.contender or list(CONTENDERS))
    rows: list[dict[str, Any]] = []
    with one_core(args.core) as core:
        peaks = peaks_of(contenders)
        print(f"{processor()}, core {core}: {peaks[NATIVE] / 1e9:.0f} GFLOP/s in multiply-adds")
        for case in (Case(name, *networks[name], batch) for name in names for batch in batches):
            forwards = {contender: make(contender, case) for contender in contenders}
            errors = {contender: _largest_error(case, forward) for contender, forward in forwards.items()}
            if failures := gate_failures(errors):
                print(f"{case.name}, batch {case.batch}: gate RED, so no speed is measured", *failures, sep="\n  ")
                return 1
            case_rows = contender_rows(case, window_seconds(case, forwards, args.rounds), errors, peaks)
            print(f"\n{case.name}, batch {case.batch}: largest error {errors[NATIVE]:.1e} (eager {errors[EAGER]:.1e})")
            print(table([_HEADS, *(_cells(row) for row in case_rows)]), flush=True)
            rows += case_rows
    if args.json is not None:
        write_json(args.json, rows, packages=("torch", "onnxruntime", "openvino"))
    if args.plot is not None:
        plot_speedups(args.plot, rows)
    return 0


def _on_card(args: argparse.Namespace) -> int:
    try:
        from mixsynth_stream.bench.encoder.card import measure
    except ImportError as error:
        raise BackendUnavailableError(
            f"bench encoder --device cuda compares with torch and triton: {error}; pip install 'mixsynth-stream[gpu]'"
        ) from error
    return measure(args)


def all_networks() -> dict[str, tuple[ModelConfig, Mapping[str, np.ndarray]]]:
    """The published shapes with random weights, and the weight files that ship."""
    shapes = published_shapes()
    networks: dict[str, tuple[ModelConfig, Mapping[str, np.ndarray]]] = {
        name: (shapes[name], random_state(shapes[name])) for name in PUBLISHED
    }
    for path in sorted(ASSETS.glob("*.safetensors")):
        state, config, _ = load_weights(path)
        networks[path.stem] = config, state
    return networks


def _installed(request: Sequence[str]) -> list[str]:
    """The contenders of `request` that are installed. Native and eager always take part: all are compared with them."""
    contenders = []
    for name in CONTENDERS:
        if name not in (*request, NATIVE, EAGER) or (name == NATIVE_AVX2 and _simd_bits() < 512):
            continue
        if not (missing := missing_packages(name)):
            contenders.append(name)
        elif name == EAGER:
            raise ModelError("bench encoder compares with torch: pip install 'mixsynth-stream[bench]'")
        else:
            print(f"without {name}: {', '.join(missing)} not installed (pip install 'mixsynth-stream[bench]')")
    return contenders


def _simd_bits() -> int:
    native: Any = importlib.import_module("mixsynth_stream._C")
    bits: int = native.simd_bits()
    return bits


def _largest_error(case: Case, forward: Forward) -> float:
    motion = forward(case.keyframes)
    if motion.shape != case.truth.shape:
        return float("inf")
    return float(np.abs(motion - case.truth).max())


def gate_failures(errors: Mapping[str, float]) -> list[str]:
    """A sentence for every contender whose largest error is too large."""
    bound = min(MOST_ERROR, MOST_TIMES_EAGER * errors[EAGER])
    return [
        f"{name} is off by {error:.1e} from float64, more than {bound:.1e} (eager: {errors[EAGER]:.1e})"
        for name, error in errors.items()
        if not error <= bound
    ]


def window_seconds(case: Case, forwards: Mapping[str, Forward], rounds: int) -> dict[str, list[float]]:
    """Seconds a window, one number a round; every round starts with another contender."""
    calls = {}
    for name, forward in forwards.items():
        for _ in range(3):  # compilers and allocators settle
            forward(case.keyframes)
        calls[name] = max(3, int(_ROUND_S / median_seconds(forward, case.keyframes, 3)))

    def round_seconds(name: str) -> float:
        return median_seconds(forwards[name], case.keyframes, calls[name]) / case.batch

    return take_turns(list(forwards), rounds, round_seconds)


def contender_rows(
    case: Case, seconds: Mapping[str, Sequence[float]], errors: Mapping[str, float], peaks: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One row a contender; ratios are medians over the rounds, above 1 where the contender is faster."""
    per_round = {name: np.array(times) for name, times in seconds.items()}
    peers = [name for name in per_round if name not in OURS]
    best = min(peers, key=lambda name: float(np.median(per_round[name])))
    rows = []
    for name, times in per_round.items():
        percentiles = percentiles_us(times)
        rows.append(
            {
                "case": case.name,
                "batch": case.batch,
                "contender": name,
                **percentiles,
                "over_eager": float(np.median(per_round[EAGER] / times)),
                "over_best_peer": float(np.median(per_round[best] / times)),
                "best_peer": best,
                "of_peak": flops(case.config) / (percentiles["p50_us"] * 1e-6) / peaks[name],
                "peak_gflops": peaks[name] / 1e9,
                "max_error": errors[name],
            }
        )
    return rows


_HEADS = ["microseconds a window", "p20", "p50", "p80", "over eager", "over best peer", "of peak", "error"]


def _cells(row: Mapping[str, Any]) -> list[str]:
    times = [f"{row[f'{p}_us']:.1f}" for p in ("p20", "p50", "p80")]
    ratios = [f"{row[f'over_{peer}']:.2f}x" for peer in ("eager", "best_peer")]
    return [row["contender"], *times, *ratios, f"{row['of_peak']:.0%}", f"{row['max_error']:.0e}"]


def plot_speedups(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """How many times faster than eager, one group of bars a network. Raises `OutputError`; needs matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError("--plot needs matplotlib: pip install matplotlib") from error
    batches = sorted({row["batch"] for row in rows})
    cases = list(dict.fromkeys(row["case"] for row in rows))
    contenders = [name for name in dict.fromkeys(row["contender"] for row in rows) if name != EAGER]
    figure = Figure(figsize=(9, 3.2 * len(batches)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, batch in enumerate(batches):
        axes = figure.add_subplot(len(batches), 1, number + 1)
        for i, name in enumerate(contenders):
            ratios = {r["case"]: r["over_eager"] for r in rows if (r["batch"], r["contender"]) == (batch, name)}
            places = np.arange(len(cases)) + (i - (len(contenders) - 1) / 2) * 0.8 / len(contenders)
            bars = axes.bar(places, [ratios[case] for case in cases], 0.8 / len(contenders), label=name)
            axes.bar_label(bars, fmt="%.1f", fontsize=7)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(cases)), cases)
        axes.set_ylabel("times as fast as torch eager")
        axes.set_title(f"one core, batch {batch}", fontsize=9)
        axes.legend(fontsize=7)
    save_plot(path, figure)
