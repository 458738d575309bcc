"""The plot of `evaluate`: error against horizon; of videos also accuracy against lag and against compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixsynth_stream.baselines import FORECASTERS
from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.evaluate_question import MAIN
from mixsynth_stream.evaluate_score import NETWORK, RIDGE, Evaluation, Row, simple_methods

_PANEL_INCHES = (4.2, 3.2)


def write_plot(path: Path, results: Sequence[Evaluation]) -> None:
    """Error against horizon for every file, model and target; two panels more for each unit that videos are judged in.

    Raises `OutputError`; needs matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError("--plot needs matplotlib: pip install matplotlib") from error
    ahead = [row for result in results for row in result.rows if row.question == "ahead" and row.metric == "mpjpe"]
    horizons = list(dict.fromkeys((row.model, row.data, row.target) for row in ahead))
    videos = [result for result in results if result.cost is not None and result.rows]
    units = list(dict.fromkeys(result.rows[0].unit for result in videos))
    count = max(1, len(horizons) + 2 * len(units))
    columns = min(4, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = iter(figure.add_subplot(lines, columns, number + 1) for number in range(count))
    for number, panel in enumerate(horizons):
        _against_horizon(
            next(panels), [row for row in ahead if (row.model, row.data, row.target) == panel], number == 0
        )
    for unit in units:
        judged = [result for result in videos if result.rows[0].unit == unit]
        _against_lag(next(panels), judged, unit)
        _against_compute(next(panels), judged, unit)
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _against_horizon(axes: Any, rows: Sequence[Row], legend: bool) -> None:
    for method in (*FORECASTERS, RIDGE, NETWORK):
        curve = sorted((row.horizon_ms or 0, row.value) for row in rows if row.method == method)
        style: dict[str, Any] = {"linewidth": 2.5, "color": "black"} if method == NETWORK else {"linewidth": 1}
        if curve:
            axes.plot(*zip(*curve, strict=True), marker=".", label=method, **style)
    axes.set_title(f"{rows[0].data}, {rows[0].model}, {rows[0].target}", fontsize=8)
    axes.set_xlabel("ms past the newest keyframe")
    _finish(axes, rows[0].unit)
    if legend:
        axes.legend(fontsize=7)


def _against_lag(axes: Any, results: Sequence[Evaluation], unit: str) -> None:
    """Gaps are filled one interval late, `now` has no lag; horizons count from the newest keyframe: not here."""
    for number, result in enumerate(results):
        if result.cost is None:
            continue
        name, colour = f"{result.rows[0].model}, {result.cost.calls_hz:g} calls/s", f"C{number}"
        for best, style in ((False, {"marker": "o"}), (True, {"marker": ".", "linestyle": "--", "alpha": 0.6})):
            points = [(1000 * result.cost.filled_lag_s, _error(result, "filled", None, best)),
                      (0.0, _error(result, "now", None, best))]  # fmt: skip
            drawn = [(x, y) for x, y in points if y is not None]
            label = f"best simple, {name}" if best else name
            axes.plot(*zip(*drawn, strict=True), color=colour, label=label, **style)
    dense = max(result.cost.dense_calls_hz for result in results if result.cost)
    axes.plot([0], [0], "k*", markersize=10, label=f"estimator on every frame, {dense:g} calls/s: the reference")
    axes.set_xlabel("lag in ms")
    axes.set_title("accuracy against lag, videos", fontsize=8)
    _finish(axes, unit)
    axes.legend(fontsize=6)


def _against_compute(axes: Any, results: Sequence[Evaluation], unit: str) -> None:
    for number, (question, horizon_ms) in enumerate(MAIN):
        for best, style in ((False, {"marker": "o"}), (True, {"marker": ".", "linestyle": "--", "alpha": 0.6})):
            points = sorted(
                (result.cost.calls_hz, value)
                for result in results
                if result.cost is not None and (value := _error(result, question, horizon_ms, best)) is not None
            )
            if points:
                asked = question if horizon_ms is None else f"{question} {horizon_ms} ms"
                label = f"{asked}{', best simple' if best else ''}"
                axes.plot(*zip(*points, strict=True), color=f"C{number}", label=label, **style)
    dense = max(result.cost.dense_calls_hz for result in results if result.cost)
    axes.plot([dense], [0], "k*", markersize=10, label="estimator on every frame: the reference")
    axes.set_xscale("log")
    calls = sorted({dense, *(result.cost.calls_hz for result in results if result.cost)})
    axes.set_xticks(calls, [f"{hz:g}" for hz in calls])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("estimator calls a second")
    axes.set_title("accuracy against compute, videos", fontsize=8)
    _finish(axes, unit)
    axes.legend(fontsize=6)


def _finish(axes: Any, unit: str) -> None:
    axes.set_ylabel(f"mean error, {'torso lengths' if unit == 'torso' else unit}")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _error(result: Evaluation, question: str, horizon_ms: int | None, best_simple: bool) -> float | None:
    """Mean error of the network, or of the best simple method."""
    methods = simple_methods(question) if best_simple else (NETWORK,)
    found = [row.value for row in result.rows if row.metric == "mpjpe" and row.method in methods
             and (row.question, row.horizon_ms) == (question, horizon_ms)]  # fmt: skip
    return min(found, default=None)
