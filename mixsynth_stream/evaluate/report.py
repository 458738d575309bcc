"""What `evaluate` writes: tables for people, JSON rows for programs. The plots: evaluate_plot.py."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mixsynth_stream.evaluate.breakdown import JOINT_GROUPS, SPEED_BANDS
from mixsynth_stream.evaluate.questions import MAIN
from mixsynth_stream.evaluate.scores import NETWORK, QUESTIONS, Evaluation, Row, methods_of
from mixsynth_stream.reports import table, write_json

_HEADS = {"constant_velocity": "const_vel", "damped_velocity": "damped", "dense_one_euro": "one_euro"}
_RATIO, _OVER_RIDGE = "mpjpe_ratio", "mpjpe_ratio_ridge"
# Questions that the same methods answer stand in one block.
_BLOCKS = (("filled", "filled_later", "filled_cold"), ("now", "now_cold", "ahead", "ahead_mean"))
_METRIC_WORDS = {"mpjpe": "MPJPE", "p_mpjpe": "P-MPJPE", "accel_error": "Accel error"}
# Lines of a block of the detail table: ending of the metric, word.
_KINDS = {
    "error": (("", "error"), ("_ratio", "ratio")),
    "mpjpe": (("_ratio_ridge", "over ridge"),),
    "p_mpjpe": (("_ratio_ridge", "over ridge"),),
    "accel_error": (("_ratio_linear", "over linear"),),
    "pck": (("", "network"), (" simple", "best simple")),
}
# A ratio table has no room for every horizon.
_RATIO_HORIZONS_MS = (200, 400, 600)


def write_text(text: str) -> None:
    """Print a table as soon as it is there."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def methods_table(result: Evaluation, metrics: Sequence[str] = ("mpjpe",)) -> str:
    """One line a question and target: every method's mean error, and the network's ratios to the best simple method
    and to ridge regression. Gaps first, then what nobody has seen yet. MPJPE always, and then the other `metrics`.
    """
    wanted = dict.fromkeys(("mpjpe", *metrics))
    blocks = [block for metric in wanted for asked in _BLOCKS if (block := _block(result, asked, metric))]
    return "\n".join([result.title, *blocks])


def _block(result: Evaluation, asked: Sequence[str], metric: str) -> str:
    ratio_name, over_ridge = f"{metric}_ratio", f"{metric}_ratio_ridge"
    here = [row for row in result.rows if row.question in asked and row.metric in (metric, ratio_name, over_ridge)]
    found = {row.method for row in here}
    columns = [method for method in methods_of(asked[0]) if method in found]
    heads = [_HEADS.get(name, name) for name in columns]
    title = "question" if metric == "mpjpe" else _word(metric)
    lines = [[title, "target", *heads, "ratio", "95 %", "over", "over ridge"]]
    for key, rows in _by_line(here).items():
        values = {row.method: row.value for row in rows if row.metric == metric}
        cells = [_number(values[m]) if m in values else "-" for m in columns]
        ratio = next((row for row in rows if row.metric == ratio_name), None)
        ridge = next((f"{row.value:.3f}" for row in rows if row.metric == over_ridge), "-")
        ends = ["-"] * 3 if ratio is None else [f"{ratio.value:.3f}", _interval(ratio), ratio.over or ""]
        lines.append([_question(*key[:2]), key[2], *cells, *ends, ridge])
    return table(lines) + "\n" if len(lines) > 1 else ""


def detail_table(result: Evaluation, metrics: Sequence[str] = ("mpjpe",)) -> str:
    """By joint group and by true speed: the network's mean error, and its ratio to others'; a block a metric."""
    blocks = [block for metric in metrics if (block := _detail_block(result, metric))]
    return "\n".join(["speed in torso lengths a second", *blocks]) if blocks else ""


def _detail_block(result: Evaluation, metric: str) -> str:
    parts = [*JOINT_GROUPS, *SPEED_BANDS]
    values: dict[tuple[object, ...], float] = {}
    for row in result.detail:
        # PCK stands beside that of the best simple method, all else is a ratio to one.
        said = row.metric if row.method == NETWORK else f"{row.metric} simple"
        values[row.question, row.target, said, row.group or row.band] = row.value
    kinds = _KINDS["pck"] if metric.startswith("pck") else (*_KINDS["error"], *_KINDS.get(metric, ()))
    lines = [[f"{_word(metric)} by joints and speed", "target", "", *JOINT_GROUPS,
              *(f"{band}/s" for band in SPEED_BANDS)]]  # fmt: skip
    for question, horizon_ms in MAIN:
        for target in dict.fromkeys(row.target for row in result.detail):
            for ending, word in kinds:
                found = [values.get((question, target, metric + ending, part)) for part in parts]
                if any(v is not None for v in found):
                    show = _number if not ending else "{:.3f}".format
                    cells = ["-" if v is None else show(v) for v in found]
                    lines.append([_question(question, horizon_ms), target, word, *cells])
    return table(lines) + "\n" if len(lines) > 1 else ""


def summary(results: Sequence[Evaluation]) -> str:
    """The network's ratios, a line each; a column for every file and model."""
    cases = [(row.data, row.model) for result in results for row in result.rows[:1]]
    found = {
        (row.data, row.model, row.question, row.horizon_ms, row.target, row.metric): row
        for result in results
        for row in result.rows
    }
    targets = list(dict.fromkeys(row.target for result in results for row in result.rows))
    lines = [["network's error, divided by", *(f"{model}, {data}" for data, model in cases)]]
    for metric, over in ((_RATIO, "best simple"), (_OVER_RIDGE, "ridge"), ("accel_error_ratio_linear", "linear")):
        for question, horizon_ms in MAIN:
            for target in targets:
                rows = [found.get((*case, question, horizon_ms, target, metric)) for case in cases]
                if any(rows):
                    what = f"{_question(question, horizon_ms)}, {target}" + (", accel" if "accel" in metric else "")
                    lines.append([f"{what}: {over}", *("-" if r is None else _with_interval(r) for r in rows)])
    return table(lines) + "\n"


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
    return "\n" + table(lines) + "\n"


def _word(metric: str) -> str:
    return _METRIC_WORDS.get(metric, metric.upper())


def write_rows(path: Path, rows: Sequence[Row], questions: Mapping[str, str] = QUESTIONS) -> None:
    """Rows with what made them, to six digits, `over`, `group` and `band` where there are any; packed as FILE.gz.

    Raises `OutputError`.
    """
    write_json(path, [_short(asdict(row)) for row in rows], questions=questions)


def _short(row: dict[str, object]) -> dict[str, object]:
    value, interval = row["value"], row["interval"]
    ends = [float(f"{end:.6g}") for end in interval] if isinstance(interval, tuple) else None
    said = {key: found for key, found in row.items() if found is not None or key in ("horizon_ms", "interval")}
    return said | {"value": float(f"{value:.6g}"), "interval": ends}


def _by_line(rows: Sequence[Row]) -> dict[tuple[str, int | None, str], list[Row]]:
    order = list(QUESTIONS)
    lines: dict[tuple[str, int | None, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (order.index(row.question), row.horizon_ms or 0)):
        lines.setdefault((row.question, row.horizon_ms, row.target), []).append(row)
    return lines


def _question(question: str, horizon_ms: int | None) -> str:
    return question if horizon_ms is None else f"{question} {horizon_ms} ms"


def _number(value: float) -> str:
    return f"{value:.{3 if value < 10 else 1}f}"


def _interval(row: Row) -> str:
    return "-" if row.interval is None else f"{row.interval[0]:.3f}-{row.interval[1]:.3f}"


def _with_interval(row: Row) -> str:
    return f"{row.value:.3f}" + ("" if row.interval is None else f" ({_interval(row)})")
