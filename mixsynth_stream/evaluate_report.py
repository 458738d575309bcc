"""What `evaluate` writes: tables for people, JSON rows for programs, a plot of error against horizon."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mixsynth_stream.baselines import FILLERS, FORECASTERS
from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.evaluate_score import NETWORK, QUESTIONS, Evaluation, Row

_COLUMNS = (*FILLERS, *FORECASTERS, NETWORK)
_HEADS = {"constant_velocity": "const_vel", "damped_velocity": "damped", "damped_tuned": "damped_tuned"}
_RATIO = "mpjpe_ratio"
# A ratio table has no room for every horizon.
_RATIO_HORIZONS_MS = (200, 400, 600)


def write_text(text: str) -> None:
    """Print a table as soon as it is there."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(result: Evaluation) -> str:
    """One line a question and target: every method's mean error, and the network's ratio to the best of the others."""
    lines = [["question", "target", *(_HEADS.get(name, name) for name in _COLUMNS), "ratio", "95 %", "best other"]]
    for key, rows in _by_line(result.rows).items():
        values = {row.method: row.value for row in rows if row.metric == "mpjpe"}
        ratio = next((row for row in rows if row.metric == _RATIO), None)
        cells = [f"{values[m]:.{3 if values[m] < 10 else 1}f}" if m in values else "-" for m in _COLUMNS]
        ends = ["-"] * 3
        if ratio is not None:
            interval = "-" if ratio.interval is None else f"{ratio.interval[0]:.3f}-{ratio.interval[1]:.3f}"
            ends = [f"{ratio.value:.3f}", interval, ratio.over or ""]
        lines.append([_question(*key[:2]), key[2], *cells, *ends])
    return f"{result.title}\n{_aligned(lines)}"


def ratio_table(results: Sequence[Evaluation]) -> str:
    """One line a clip: the network's ratios to the best other method."""
    if not results:
        return ""
    asked = [("filled", None), ("filled_later", None), ("now", None), *(("ahead", ms) for ms in _RATIO_HORIZONS_MS),
             ("filled_cold", None), ("now_cold", None)]  # fmt: skip
    lines = [["ratios by clip", *(_question(*key) for key in asked)]]
    for result in results:
        found = {(row.question, row.horizon_ms): f"{row.value:.3f}" for row in result.rows if row.metric == _RATIO}
        lines.append([result.title, *(found.get(key, "-") for key in asked)])
    return "\n" + _aligned(lines)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Rows with what made them. Raises `OutputError`."""
    document = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("mixsynth-stream", "numpy")}},
        "commit": _commit(),
        "questions": QUESTIONS,
    }
    # A row a line: hundreds of them, to be searched and compared by line.
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    text = json.dumps(document, indent=1)[:-2] + f',\n "rows": [\n{lines}\n]\n}}\n'
    try:
        part = path.with_name(path.name + ".part")
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """Error against horizon for every file, model and target. Raises `OutputError`; needs matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError("--plot needs matplotlib: pip install matplotlib") from error
    ahead = [row for row in rows if row.question == "ahead" and row.metric == "mpjpe"]
    panels = list(dict.fromkeys((row.model, row.data, row.target) for row in ahead))
    columns = min(4, max(1, len(panels)))
    lines = -(-max(1, len(panels)) // columns)
    figure = Figure(figsize=(4 * columns, 3 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(lines, columns, number + 1)
        for method in (*FORECASTERS, NETWORK):
            curve = [row for row in ahead if (row.model, row.data, row.target) == panel and row.method == method]
            style: dict[str, Any] = {"linewidth": 2.5, "color": "black"} if method == NETWORK else {"linewidth": 1}
            axes.plot([r.horizon_ms or 0 for r in curve], [r.value for r in curve], marker=".", label=method, **style)
        axes.set_title(f"{panel[1]}, {panel[0]}, {panel[2]}", fontsize=8)
        axes.set_xlabel("ms past the newest keyframe")
        unit = next(row.unit for row in ahead if (row.model, row.data, row.target) == panel)
        axes.set_ylabel(f"mean error, {'torso lengths' if unit == 'torso' else unit}")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if number == 0:
            axes.legend(fontsize=7)
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _by_line(rows: Sequence[Row]) -> dict[tuple[str, int | None, str], list[Row]]:
    order = list(QUESTIONS)
    lines: dict[tuple[str, int | None, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (order.index(row.question), row.horizon_ms or 0)):
        if row.metric in ("mpjpe", _RATIO):
            lines.setdefault((row.question, row.horizon_ms, row.target), []).append(row)
    return lines


def _question(question: str, horizon_ms: int | None) -> str:
    return question if horizon_ms is None else f"{question} {horizon_ms} ms"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        text.append("  ".join(cells).rstrip())
    return "\n".join(text) + "\n"


def _commit() -> str | None:
    """The checkout's commit; None outside one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
