"""Plot: errors of `evaluate` against the horizon; for videos also against lag and against compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.evaluate.baselines import FORECASTERS
from mixsynth_stream.evaluate.questions import MAIN
from mixsynth_stream.evaluate.scores import NETWORK, RIDGE, Evaluation, Row, simple_methods
from mixsynth_stream.reports import save_plot

_PANEL_INCHES = (4.2, 3.2)


def save_error_plot(path: Path, results: Sequence[Evaluation], by_clip: Sequence[Evaluation] = ()) -> None:
    """Error against horizon for every file, model and target; two panels more for each unit of errors on videos.

    Those two need each video by itself (`by_clip`), and show the videos that all models were judged on.
    Raises `OutputError`, and `ModelError` without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError("--plot needs matplotlib: pip install matplotlib") from error
    ahead = [row for result in results for row in result.rows if row.question == "ahead" and row.metric == "mpjpe"]
    horizons = list(dict.fromkeys((row.model, row.data, row.target) for row in ahead))
    videos = on_shared_videos(results, by_clip)
    units = list(dict.fromkeys(result.rows[0].unit for result in videos))
    count = max(1, len(horizons) + 2 * len(units))
    columns = min(4, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = iter(figure.add_subplot(lines, columns, number + 1) for number in range(count))
    for number, key in enumerate(horizons):
        rows = [row for row in ahead if (row.model, row.data, row.target) == key]
        _against_horizon(next(panels), rows, legend=number == 0)
    for unit in units:
        of_unit = [result for result in videos if result.rows[0].unit == unit]
        _against_lag(next(panels), of_unit, unit)
        _against_compute(next(panels), of_unit, unit)
    save_plot(path, figure)


def _against_horizon(axes: Any, rows: Sequence[Row], legend: bool) -> None:
    for method in (*FORECASTERS, RIDGE, NETWORK):
        style: dict[str, Any] = {"linewidth": 2.5, "color": "black"} if method == NETWORK else {"linewidth": 1}
        for number, stretch in enumerate(clip_stretches([row for row in rows if row.method == method])):
            curve = [(row.horizon_ms, row.value) for row in stretch]
            (line,) = axes.plot(*zip(*curve, strict=True), marker=".", label="" if number else method, **style)
            style["color"] = line.get_color()
            if number and method == NETWORK:
                axes.annotate(f"{stretch[0].clips} clips", curve[0], (0, 12), textcoords="offset points", fontsize=7)
    axes.set_title(f"{rows[0].data}, {rows[0].model}, {rows[0].target}", fontsize=8)
    axes.set_xlabel("ms past the newest keyframe")
    _label_errors(axes, rows[0].unit)
    if legend:
        axes.legend(fontsize=7)


def clip_stretches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows by horizon, in stretches of nearly the same clips: a stretch ends where at most half of its clips go on."""
    stretch: list[Row] = []
    for row in sorted(rows, key=lambda row: row.horizon_ms or 0):
        if stretch and 2 * row.clips <= stretch[-1].clips:
            yield stretch
            stretch = []
        stretch.append(row)
    if stretch:
        yield stretch


def _against_lag(axes: Any, results: Sequence[Evaluation], unit: str) -> None:
    """Filled poses come one interval late, and `now` has no lag. Horizons have no place on this axis."""
    for number, result in enumerate(results):
        if result.cost is None:
            continue
        name, colour = f"{result.rows[0].model}, {result.cost.calls_hz:g}/s", f"C{number}"
        for best, style in ((False, {"marker": "o"}), (True, {"marker": ".", "linestyle": "--", "alpha": 0.6})):
            errors = {1000 * result.cost.filled_lag_s: _least_error(result, "filled", None, best)}
            errors[0.0] = _least_error(result, "now", None, best)
            points = [(lag_ms, error) for lag_ms, error in errors.items() if error is not None]
            label = f"best simple, {name}" if best else name
            axes.plot(*zip(*points, strict=True), color=colour, label=label, **style)
    dense = max(result.cost.dense_calls_hz for result in results if result.cost)
    axes.plot([0], [0], "k*", markersize=10, label=f"every frame, {dense:.3g}/s: the reference")
    axes.set_xlabel("lag in ms")
    axes.set_title(f"accuracy against lag (estimator calls a second), {results[0].rows[0].clips} videos", fontsize=8)
    _label_errors(axes, unit, room=1.6)
    axes.legend(fontsize=6, loc="upper right", ncols=2)


def _against_compute(axes: Any, results: Sequence[Evaluation], unit: str) -> None:
    for number, (question, horizon_ms) in enumerate(MAIN):
        for best, style in ((False, {"marker": "o"}), (True, {"marker": ".", "linestyle": "--", "alpha": 0.6})):
            points = sorted(
                (result.cost.calls_hz, value)
                for result in results
                if result.cost is not None and (value := _least_error(result, question, horizon_ms, best)) is not None
            )
            if points:
                name = question if horizon_ms is None else f"{question} {horizon_ms} ms"
                label = f"{name}{', best simple' if best else ''}"
                axes.plot(*zip(*points, strict=True), color=f"C{number}", label=label, **style)
    dense = max(result.cost.dense_calls_hz for result in results if result.cost)
    axes.plot([dense], [0], "k*", markersize=10, label="every frame: the reference")
    axes.set_xscale("log")
    calls = sorted({dense, *(result.cost.calls_hz for result in results if result.cost)})
    axes.set_xticks(calls, [f"{hz:.3g}" for hz in calls])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("estimator calls a second")
    axes.set_title(f"accuracy against compute, {results[0].rows[0].clips} videos", fontsize=8)
    _label_errors(axes, unit, room=1.6)
    axes.legend(fontsize=6, loc="upper right", ncols=2)


def on_shared_videos(results: Sequence[Evaluation], by_clip: Sequence[Evaluation]) -> list[Evaluation]:
    """The results with a cost, on the videos on which all models of their unit were judged. Each video counts the same.

    The rate of calls on every frame is of these videos, too.
    """
    with_cost = [result for result in results if result.cost is not None and result.rows]
    rows = [row for clip in by_clip for row in clip.rows if row.metric == "mpjpe"]
    shared = []
    for result in with_cost:
        required = {other.rows[0].model for other in with_cost if other.rows[0].unit == result.rows[0].unit}
        values: dict[tuple[str, int | None, str], list[float]] = {}
        names = set()
        for row in rows:
            key = (row.data, row.question, row.horizon_ms)
            models = {other.model for other in rows if (other.data, other.question, other.horizon_ms) == key}
            if row.model == result.rows[0].model and required <= models:
                values.setdefault((row.question, row.horizon_ms, row.method), []).append(row.value)
                names.add(row.data)
        shared_rows = [
            replace(row, value=float(np.mean(errors)), clips=len(errors))
            for row in result.rows
            if row.metric == "mpjpe" and (errors := values.get((row.question, row.horizon_ms, row.method)))
        ]
        if shared_rows and result.cost is not None:
            rates_hz = [clip.cost.dense_calls_hz for clip in by_clip if clip.cost and clip.rows[0].data in names]
            cost = replace(result.cost, dense_calls_hz=float(np.mean(rates_hz)))
            shared.append(replace(result, rows=shared_rows, cost=cost))
    return shared


def _label_errors(axes: Any, unit: str, room: float = 1.0) -> None:
    """Label the axis of errors, and raise its top by the factor `room`, which leaves space for a legend."""
    axes.set_ylabel(f"mean error, {'torso lengths' if unit == 'torso' else unit}")
    axes.set_ylim(0, room * axes.get_ylim()[1])
    axes.grid(alpha=0.3)


def _least_error(result: Evaluation, question: str, horizon_ms: int | None, best_simple: bool) -> float | None:
    """Mean error of the network, or of the best simple method."""
    methods = simple_methods(question) if best_simple else (NETWORK,)
    rows = [row for row in result.rows if (row.metric, row.question, row.horizon_ms) == ("mpjpe", question, horizon_ms)]
    return min((row.value for row in rows if row.method in methods), default=None)
