"""The plot of `evaluate`: error against horizon; of videos also accuracy against lag and against compute."""

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


def write_plot(path: Path, results: Sequence[Evaluation], by_clip: Sequence[Evaluation] = ()) -> None:
    """Error against horizon for every file, model and target; two panels more for each unit that videos are judged in.

    Those two need each video by itself (`by_clip`), and show the videos that all models were judged on.
    Raises `OutputError`; needs matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError("--plot needs matplotlib: pip install matplotlib") from error
    ahead = [row for result in results for row in result.rows if row.question == "ahead" and row.metric == "mpjpe"]
    horizons = list(dict.fromkeys((row.model, row.data, row.target) for row in ahead))
    videos = of_the_same_videos(results, by_clip)
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
    save_plot(path, figure)


def _against_horizon(axes: Any, rows: Sequence[Row], legend: bool) -> None:
    for method in (*FORECASTERS, RIDGE, NETWORK):
        style: dict[str, Any] = {"linewidth": 2.5, "color": "black"} if method == NETWORK else {"linewidth": 1}
        for number, stretch in enumerate(of_the_same_clips([row for row in rows if row.method == method])):
            curve = [(row.horizon_ms, row.value) for row in stretch]
            (line,) = axes.plot(*zip(*curve, strict=True), marker=".", label="" if number else method, **style)
            style["color"] = line.get_color()
            if number and method == NETWORK:
                axes.annotate(f"{stretch[0].clips} clips", curve[0], (0, 12), textcoords="offset points", fontsize=7)
    axes.set_title(f"{rows[0].data}, {rows[0].model}, {rows[0].target}", fontsize=8)
    axes.set_xlabel("ms past the newest keyframe")
    _finish(axes, rows[0].unit)
    if legend:
        axes.legend(fontsize=7)


def of_the_same_clips(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows by horizon, a list for each stretch that the same clips last for, or nearly: half of them gone end it."""
    stretch: list[Row] = []
    for row in sorted(rows, key=lambda row: row.horizon_ms or 0):
        if stretch and 2 * row.clips <= stretch[-1].clips:
            yield stretch
            stretch = []
        stretch.append(row)
    if stretch:
        yield stretch


def _against_lag(axes: Any, results: Sequence[Evaluation], unit: str) -> None:
    """Gaps are filled one interval late, `now` has no lag; horizons count from the newest keyframe: not here."""
    for number, result in enumerate(results):
        if result.cost is None:
            continue
        name, colour = f"{result.rows[0].model}, {result.cost.calls_hz:g}/s", f"C{number}"
        for best, style in ((False, {"marker": "o"}), (True, {"marker": ".", "linestyle": "--", "alpha": 0.6})):
            points = [(1000 * result.cost.filled_lag_s, _error(result, "filled", None, best)),
                      (0.0, _error(result, "now", None, best))]  # fmt: skip
            drawn = [(x, y) for x, y in points if y is not None]
            label = f"best simple, {name}" if best else name
            axes.plot(*zip(*drawn, strict=True), color=colour, label=label, **style)
    dense = max(result.cost.dense_calls_hz for result in results if result.cost)
    axes.plot([0], [0], "k*", markersize=10, label=f"every frame, {dense:.3g}/s: the reference")
    axes.set_xlabel("lag in ms")
    axes.set_title(f"accuracy against lag (estimator calls a second), {results[0].rows[0].clips} videos", fontsize=8)
    _finish(axes, unit, room=1.6)
    axes.legend(fontsize=6, loc="upper right", ncols=2)


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
    axes.plot([dense], [0], "k*", markersize=10, label="every frame: the reference")
    axes.set_xscale("log")
    calls = sorted({dense, *(result.cost.calls_hz for result in results if result.cost)})
    axes.set_xticks(calls, [f"{hz:.3g}" for hz in calls])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("estimator calls a second")
    axes.set_title(f"accuracy against compute, {results[0].rows[0].clips} videos", fontsize=8)
    _finish(axes, unit, room=1.6)
    axes.legend(fontsize=6, loc="upper right", ncols=2)


def of_the_same_videos(results: Sequence[Evaluation], by_clip: Sequence[Evaluation]) -> list[Evaluation]:
    """The results that have a cost, of the videos that all models of their unit were judged on, counting the same.

    The estimator's calls on every frame are those of these videos, too.
    """
    judged = [result for result in results if result.cost is not None and result.rows]
    rows = [row for clip in by_clip for row in clip.rows if row.metric == "mpjpe"]
    narrowed = []
    for result in judged:
        models = {other.rows[0].model for other in judged if other.rows[0].unit == result.rows[0].unit}
        values: dict[tuple[str, int | None, str], list[float]] = {}
        names = set()
        for row in rows:
            asked = (row.data, row.question, row.horizon_ms)
            known = {other.model for other in rows if (other.data, other.question, other.horizon_ms) == asked}
            if row.model == result.rows[0].model and models <= known:
                values.setdefault((row.question, row.horizon_ms, row.method), []).append(row.value)
                names.add(row.data)
        shared = [
            replace(row, value=float(np.mean(found)), clips=len(found))
            for row in result.rows
            if row.metric == "mpjpe" and (found := values.get((row.question, row.horizon_ms, row.method)))
        ]
        if shared and result.cost is not None:
            rates_hz = [clip.cost.dense_calls_hz for clip in by_clip if clip.cost and clip.rows[0].data in names]
            cost = replace(result.cost, dense_calls_hz=float(np.mean(rates_hz)))
            narrowed.append(replace(result, rows=shared, cost=cost))
    return narrowed


def _finish(axes: Any, unit: str, room: float = 1.0) -> None:
    """`room` for a legend: the top of the axis, in what the highest point takes."""
    axes.set_ylabel(f"mean error, {'torso lengths' if unit == 'torso' else unit}")
    axes.set_ylim(0, room * axes.get_ylim()[1])
    axes.grid(alpha=0.3)


def _error(result: Evaluation, question: str, horizon_ms: int | None, best_simple: bool) -> float | None:
    """Mean error of the network, or of the best simple method."""
    methods = simple_methods(question) if best_simple else (NETWORK,)
    found = [row.value for row in result.rows if row.metric == "mpjpe" and row.method in methods
             and (row.question, row.horizon_ms) == (question, horizon_ms)]  # fmt: skip
    return min(found, default=None)
