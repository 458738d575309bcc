"""Report: the results of `evaluate` as tables for people and as JSON rows for programs. The plots: plot.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mixsynth_stream.evaluate.breakdown import JOINT_GROUPS, SPEED_BANDS
from mixsynth_stream.evaluate.questions import MAIN
from mixsynth_stream.evaluate.scores import NETWORK, QUESTIONS, Evaluation, Row, methods_of
from mixsynth_stream.reports import table, write_json

# Short names of methods for heads of columns.
_HEADS = {"constant_velocity": "const_vel", "damped_velocity": "damped", "dense_one_euro": "one_euro"}
_RATIO, _OVER_RIDGE = "mpjpe_ratio", "mpjpe_ratio_ridge"
# The questions of a block have the same methods.
_BLOCKS = (("filled", "filled_later", "filled_cold"), ("now", "now_cold", "ahead", "ahead_mean"))
_METRIC_WORDS = {"mpjpe": "MPJPE", "p_mpjpe": "P-MPJPE", "accel_error": "Accel error"}
# The lines of a block of the detail table: the ending of a metric, and its word.
_DETAIL_LINES = {
    "error": (("", "error"), ("_ratio", "ratio")),
    "mpjpe": (("_ratio_ridge", "over ridge"),),
    "p_mpjpe": (("_ratio_ridge", "over ridge"),),
    "accel_error": (("_ratio_linear", "over linear"),),
    "pck": (("", "network"), (" simple", "best simple")),
}
# A table of ratios by clip has no room for more horizons.
_RATIO_HORIZONS_MS = (200, 400, 600)


def methods_table(result: Evaluation, metrics: Sequence[str] = ("mpjpe",)) -> str:
    """Every method's mean error, and the network's ratios to the best simple method and to ridge regression.

    A line for each question and target: gaps first, then now and ahead. MPJPE comes always, and then other `metrics`.
    """
    all_metrics = dict.fromkeys(("mpjpe", *metrics))
    blocks = [_methods_block(result, questions, metric) for metric in all_metrics for questions in _BLOCKS]
    return "\n".join([result.title, *filter(None, blocks)])


def _methods_block(result: Evaluation, questions: Sequence[str], metric: str) -> str:
    ratio_name, over_ridge = f"{metric}_ratio", f"{metric}_ratio_ridge"
    metrics = (metric, ratio_name, over_ridge)
    block_rows = [row for row in result.rows if row.question in questions and row.metric in metrics]
    known = {row.method for row in block_rows}
    columns = [method for method in methods_of(questions[0]) if method in known]
    heads = [_HEADS.get(name, name) for name in columns]
    title = "question" if metric == "mpjpe" else _metric_text(metric)
    lines = [[title, "target", *heads, "ratio", "95 %", "over", "over ridge"]]
    for (question, horizon_ms, target), rows in _rows_by_line(block_rows).items():
        values = {row.method: row.value for row in rows if row.metric == metric}
        cells = [error_text(values[m]) if m in values else "-" for m in columns]
        ratio = next((row for row in rows if row.metric == ratio_name), None)
        ridge = next((f"{row.value:.3f}" for row in rows if row.metric == over_ridge), "-")
        ends = ["-"] * 3 if ratio is None else [f"{ratio.value:.3f}", _interval_text(ratio), ratio.over or ""]
        lines.append([_question_text(question, horizon_ms), target, *cells, *ends, ridge])
    return table(lines) + "\n" if len(lines) > 1 else ""


def detail_table(result: Evaluation, metrics: Sequence[str] = ("mpjpe",)) -> str:
    """The network's mean error and its ratios, by joint group and by true speed: a block for each metric."""
    blocks = [block for metric in metrics if (block := _detail_block(result, metric))]
    return "\n".join(["speed in torso lengths a second", *blocks]) if blocks else ""


def _detail_block(result: Evaluation, metric: str) -> str:
    parts = [*JOINT_GROUPS, *SPEED_BANDS]
    values: dict[tuple[object, ...], float] = {}
    for row in result.detail:
        # The best simple method stands beside the network for PCK only, because all else has a ratio to it.
        name = row.metric if row.method == NETWORK else f"{row.metric} simple"
        values[row.question, row.target, name, row.group or row.band] = row.value
    if metric.startswith("pck"):
        words = _DETAIL_LINES["pck"]
    else:
        words = (*_DETAIL_LINES["error"], *_DETAIL_LINES.get(metric, ()))
    heads = [*JOINT_GROUPS, *(f"{band}/s" for band in SPEED_BANDS)]
    lines = [[f"{_metric_text(metric)} by joints and speed", "target", "", *heads]]
    for question, horizon_ms in MAIN:
        for target in dict.fromkeys(row.target for row in result.detail):
            for ending, word in words:
                numbers = [values.get((question, target, metric + ending, part)) for part in parts]
                if any(number is not None for number in numbers):
                    text = error_text if not ending else "{:.3f}".format
                    cells = ["-" if number is None else text(number) for number in numbers]
                    lines.append([_question_text(question, horizon_ms), target, word, *cells])
    return table(lines) + "\n" if len(lines) > 1 else ""


def ratio_summary(results: Sequence[Evaluation]) -> str:
    """The network's ratios: a line for each question, a column for each file and model."""
    cases = [(row.data, row.model) for result in results for row in result.rows[:1]]
    by_case = {
        (row.data, row.model, row.question, row.horizon_ms, row.target, row.metric): row
        for result in results
        for row in result.rows
    }
    targets = list(dict.fromkeys(row.target for result in results for row in result.rows))
    lines = [["network's error, divided by", *(f"{model}, {data}" for data, model in cases)]]
    for metric, over in ((_RATIO, "best simple"), (_OVER_RIDGE, "ridge"), ("accel_error_ratio_linear", "linear")):
        for question, horizon_ms in MAIN:
            for target in targets:
                rows = [by_case.get((*case, question, horizon_ms, target, metric)) for case in cases]
                if any(rows):
                    accel = ", accel" if "accel" in metric else ""
                    head = f"{_question_text(question, horizon_ms)}, {target}{accel}: {over}"
                    lines.append([head, *("-" if row is None else _ratio_text(row) for row in rows)])
    return table(lines) + "\n"


def ratio_table(results: Sequence[Evaluation]) -> str:
    """The network's ratios to the best simple method, a line for each clip."""
    if not results:
        return ""
    gaps, cold = ("filled", "filled_later", "now"), ("filled_cold", "now_cold")
    ahead = (("ahead", ms) for ms in _RATIO_HORIZONS_MS)
    columns = [*((question, None) for question in gaps), *ahead, *((question, None) for question in cold)]
    lines = [["ratios by clip", *(_question_text(*column) for column in columns)]]
    for result in results:
        ratios = {(row.question, row.horizon_ms): f"{row.value:.3f}" for row in result.rows if row.metric == _RATIO}
        lines.append([result.title, *(ratios.get(column, "-") for column in columns)])
    return "\n" + table(lines) + "\n"


def _metric_text(metric: str) -> str:
    return _METRIC_WORDS.get(metric, metric.upper())


def write_rows(path: Path, rows: Sequence[Row], questions: Mapping[str, str] = QUESTIONS) -> None:
    """Rows as JSON, with machine, versions and commit; a name that ends in .gz is packed. Raises `OutputError`.

    Numbers have six digits. A row has `over`, `group` and `band` only where they are set.
    """
    write_json(path, [_json_row(asdict(row)) for row in rows], questions=questions)


def _json_row(row: dict[str, object]) -> dict[str, object]:
    interval = row["interval"]
    ends = [float(f"{end:.6g}") for end in interval] if isinstance(interval, tuple) else None
    fields = {name: field for name, field in row.items() if field is not None or name in ("horizon_ms", "interval")}
    return fields | {"value": float(f"{row['value']:.6g}"), "interval": ends}


def _rows_by_line(rows: Sequence[Row]) -> dict[tuple[str, int | None, str], list[Row]]:
    order = list(QUESTIONS)
    lines: dict[tuple[str, int | None, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (order.index(row.question), row.horizon_ms or 0)):
        lines.setdefault((row.question, row.horizon_ms, row.target), []).append(row)
    return lines


def _question_text(question: str, horizon_ms: int | None) -> str:
    return question if horizon_ms is None else f"{question} {horizon_ms} ms"


def error_text(value: float) -> str:
    """An error for a table: three decimals below 10, else one."""
    return f"{value:.{3 if value < 10 else 1}f}"


def _interval_text(row: Row) -> str:
    return "-" if row.interval is None else f"{row.interval[0]:.3f}-{row.interval[1]:.3f}"


def _ratio_text(row: Row) -> str:
    return f"{row.value:.3f}" + ("" if row.interval is None else f" ({_interval_text(row)})")
