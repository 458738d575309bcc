"""Tables of speed, cost and endurance, put together from benchmarks/results. `write_tables.py` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def encoder(folder: Path) -> Iterator[list[str]]:
    """The native encoder against others, one row a network, for docs/speed.md and for `info`."""
    document = json.loads((folder / "encoder.json").read_text())
    rows = {(row["case"], row["batch"], row["contender"]): row for row in document["rows"]}
    yield [
        document["machine"].rpartition(", ")[2],
        "one window",
        "over torch",
        "over the best other",
        "of peak",
        "64 at once, each",
        "over torch",
        "over the best other",
        "AVX2 over torch, 1 and 64",
        "error (torch's)",
    ]
    for case in dict.fromkeys(row["case"] for row in document["rows"]):
        cells = [case]
        for batch in (1, 64):
            row = rows[case, batch, "native"]
            cells += [
                f"{row['p50_us']:.0f} µs",
                f"{row['over_eager']:.1f}x",
                f"{row['over_best_peer']:.1f}x ({row['best_peer']})",
            ]
            cells += [f"{row['of_peak']:.0%}"] if batch == 1 else []
        narrow = [rows.get((case, batch, "native AVX2")) for batch in (1, 64)]
        cells.append(", ".join("-" if row is None else f"{row['over_eager']:.1f}x" for row in narrow))
        cells.append("{:.1e} ({:.1e})".format(*(rows[case, 1, who]["max_error"] for who in ("native", "eager"))))
        yield cells


def push(folder: Path) -> Iterator[list[str]]:
    """What a keyframe of one person costs beside the two bare calls, image and world, for docs/speed.md."""
    yield ["", "two pushes", "two bare calls", "pushes over calls", "first pose read"]
    for row in json.loads((folder / "push.json").read_text())["rows"]:
        if row["case"].startswith("a person"):
            times = [f"{row[f'{what}_us']:.0f} µs" for what in ("push", "call")]
            yield [row["case"], *times, f"{row['push_over_call']:.2f}x", f"{row['read_us']:.0f} µs"]


def pipeline(folder: Path) -> Iterator[list[str]]:
    """A whole stream beside the estimator on every frame, for the README."""
    heads = ("MediaPipe on every frame", "this stream", "times as fast", "estimator calls", "decoding alone")
    yield ["", *heads, "share of decoding / estimator / all else"]
    for path in sorted(folder.glob("pipeline-*.json")):
        rows = {row["contender"]: row for row in json.loads(path.read_text())["rows"]}
        dense, stream, decode = (rows[name] for name in ("dense", "stream", "decode only"))
        shares = " / ".join(f"{stream[f'share_{stage}'] * 100:.0f} %" for stage in ("decode", "estimator", "rest"))
        yield [
            f"{stream['rate_hz']:.0f} Hz, {stream['frames']} frames",
            *(f"{_three_digits(row['p50_fps'])} frames/s" for row in (dense, stream)),
            f"{stream['over_dense']:.1f}x",
            f"{stream['estimator_calls']} instead of {dense['estimator_calls']}",
            f"{_three_digits(decode['p50_fps'])} frames/s",
            shares,
        ]


def frontier(folder: Path) -> Iterator[list[str]]:
    """Error and cost of every setting, the mean of the clips of each result file, for docs/speed.md."""
    cases: dict[str, dict[str, dict[str, Any]]] = {}
    for name, label in (("30hz", "30 Hz"), ("60hz", "60 Hz"), ("videos", "videos")):
        rows = json.loads((folder / f"frontier-{name}.json").read_text())["rows"]
        # The mean of the clips comes last.
        cases[label] = {row["contender"]: row for row in rows if row["case"] == rows[-1]["case"]}
    yield ["", *(f"{label}: {what}" for label in cases for what in ("ms a frame", "now", "filled"))]
    for contender in cases["30 Hz"]:
        cells = [contender]
        for rows_of_case in cases.values():
            row = rows_of_case.get(contender)
            if row is None:
                cells += ["-"] * 3
            else:
                errors = (row["now_torso"], row["filled_torso"])
                cells += [f"{row['cpu_ms']:.1f}", *("-" if error is None else f"{error:.3f}" for error in errors)]
        yield cells


# What a row of `bench live` has, as the table of docs/speed.md names it.
_LIVE = {
    "over hold": "over_hold",
    "over the best simple": "over_best_simple",
    "over MediaPipe held": "over_held_mediapipe",
    "step": "step_over_true",
    "correction": "correction_over_true",
    "step, not blended": "abrupt_step_over_true",
    "correction, not blended": "abrupt_correction_over_true",
}


# The answers of the simulated estimator with which the table shows every setting.
_USUAL_ANSWER_MS = 100


def live(folder: Path) -> Iterator[list[str]]:
    """The pose shown now with a simulated estimator: the mean of the clips and the worst one, for docs/speed.md."""
    rows = [row for row in json.loads((folder / "live.json").read_text())["rows"] if row["answer_ms"] is not None]
    yield ["answers after", "keyframes", "calls/s", *_LIVE, "error that blending costs"]
    for contender, answer_ms in dict.fromkeys((row["contender"], row["answer_ms"]) for row in rows):
        if contender == "auto" or answer_ms == _USUAL_ANSWER_MS:
            same = [row for row in rows if (row["contender"], row["answer_ms"]) == (contender, answer_ms)]
            cells = [_mean_and_worst([row[key] for row in same], "{:.2f}") for key in _LIVE.values()]
            cost = _mean_and_worst([row["blending_cost"] for row in same], "{:.1%}")
            yield [f"{answer_ms:.0f} ms", contender, _mean([row["calls_hz"] for row in same]), *cells, cost]


# Of rows with MediaPipe itself, at the clip's own speed: what tables have, and how it is written.
_FILMED = {
    "over hold": ("over_hold", "{:.2f}"),
    "over the best simple": ("over_best_simple", "{:.2f}"),
    "over MediaPipe held": ("over_held_mediapipe", "{:.2f}"),
    "step": ("step_over_true", "{:.2f}"),
}
_LATENCY = {
    "ms to the pose, half of the frames": ("latency_p50_ms", "{:.1f}"),
    "99 %": ("latency_p99_ms", "{:.1f}"),
    "ms of the loop, 99 %": ("between_p99_ms", "{:.1f}"),
    "with an answer, 99 %": ("arrival_p99_ms", "{:.1f}"),
    "processor time over MediaPipe held": ("cores_over_held_mediapipe", "{:.2f}"),
}


def filmed(folder: Path) -> Iterator[list[str]]:
    """The pose shown now with MediaPipe itself, as `live`."""
    yield from _filmed(folder, _FILMED)


def latency(folder: Path) -> Iterator[list[str]]:
    """How long live frames wait for their pose, and what that takes, for the README."""
    yield from _filmed(folder, _LATENCY)


def _filmed(folder: Path, columns: dict[str, tuple[str, str]]) -> Iterator[list[str]]:
    rows = [row for row in json.loads((folder / "live.json").read_text())["rows"] if row["answer_ms"] is None]
    yield ["keyframes", "calls/s", *columns]
    for contender in dict.fromkeys(row["contender"] for row in rows):
        same = [row for row in rows if row["contender"] == contender]
        cells = [_mean_and_worst([row[key] for row in same], form) for key, form in columns.values()]
        yield [contender, _mean([row["calls_hz"] for row in same]), *cells]


_SOURCES = {
    "frames/s, least": ("fps_least", "{:.1f}"),
    "looks/s each, least": ("looks_hz_least", "{:.1f}"),
    "keyframes a network call": ("keyframes_a_call", "{:.1f}"),
    "ms to the pose, half of the frames": ("latency_p50_ms", "{:.0f}"),
    "99 %, worst source": ("latency_p99_ms", "{:.0f}"),
    "cores": ("cores", "{:.2f}"),
    "of the loop": ("loop_cores", "{:.2f}"),
}


def several(folder: Path) -> Iterator[list[str]]:
    """Several live sources in one process, for docs/speed.md."""
    yield ["sources", *_SOURCES]
    for row in json.loads((folder / "live-sources.json").read_text())["rows"]:
        yield [str(row["sources"]), *(form.format(row[key]) for key, form in _SOURCES.values())]


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}"


def _mean_and_worst(values: list[float], form: str) -> str:
    return f"{form.format(sum(values) / len(values))} ({form.format(max(values))})"


def _three_digits(number: float) -> str:
    return f"{number:.1f}" if number < 100 else f"{number:.0f}"


def soak(folder: Path) -> Iterator[list[str]]:
    """What the soak runs have counted and checked, for docs/soak.md."""
    documents = [json.loads((folder / name).read_text()) for name in ("soak-hour.json", "soak.json", "soak-10x.json")]
    runs = [document["run"] for document in documents]
    yield ["", *(f"{run['seconds'] / 60:.0f} min, {run['estimator']}" for run in runs)]
    yield ["seconds between faults", *(f"{run['fault_every_s']:g}" for run in runs)]
    yield ["faults", *(f"{sum(run['faults'].values())}" for run in runs)]
    yield ["frames captured", *(f"{run['captured']}" for run in runs)]
    yield ["shown, each final once", *(f"{run['shown']}" for run in runs)]
    yield ["dropped, and counted", *(f"{run['captured'] - run['shown']}" for run in runs)]
    yield ["keyframes", *(f"{run['keyframes']}" for run in runs)]
    yield ["camera lost and back", *(f"{run['counters'].get('reopened', 0)} times" for run in runs)]
    passed = {True: "", False: " (fails)"}
    for row, *others in zip(*(document["rows"] for document in documents), strict=True):
        name = re.sub(r" \(\d+( MB)?\)", "", row["check"])
        cells = [f"{one['value']:g}{passed[one['passed']]}" for one in (row, *others)]
        yield [f"{name} (at most {row['limit']:g})", *cells]
