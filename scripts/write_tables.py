"""Tables of figures in README.md and in docs/, put together from what lies in benchmarks/results.

The weights that ship are read for one of them. `info` shows the speed of the encoder, from a copy in the package.

python scripts/write_tables.py            rewrites the tables in place
python scripts/write_tables.py --check    names each document whose tables are not what the results give (exit code 1)

A table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from speed_tables import encoder, filmed, frontier, latency, live, pipeline, push, several, soak

from mixsynth_stream.evaluate.scores import simple_methods
from mixsynth_stream.files import ASSETS
from mixsynth_stream.presets import SHIPPED_INTERVALS
from mixsynth_stream.spaces import LANDMARK_SPACES
from mixsynth_stream.weights import load_weights

ROOT = Path(__file__).resolve().parents[1]
RESULTS_FOLDER = ROOT / "benchmarks" / "results"
DOCUMENTS = ("README.md", "docs/speed.md", "docs/model-card.md", "docs/results.md", "docs/soak.md")
ENCODER_SPEED = "mixsynth_stream/assets/encoder_speed.tsv"
RESULTS = ("evaluate-mocap.json.gz", "evaluate-more.json.gz", "evaluate-videos.json.gz")
# Motion capture, by what moves there; the widest tables have the first two only.
MOCAP = {
    "cmu_val.npz": "dance and sport (cmu_val)",
    "extra_val.npz": "exercises and styles (extra_val)",
    "basket_val.npz": "basketball (basket_val)",
    "play_val.npz": "play of two, martial arts (play_val)",
    "jump_val.npz": "jumps, boxing, charleston (jump_val)",
}
FILES = tuple(MOCAP)[:2]
CLIPS = "videos"
TARGETS = ("carried", "clean")
HORIZONS_MS = (100, 200, 300, 400, 500, 600)
ALL_HORIZONS_MS = (80, 100, 160, 200, 300, 320, 400, 500, 600)
_TABLE = re.compile(r"(<!-- table (?P<name>[\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Case = tuple[str, int | None]  # question and horizon
_WHOLE: tuple[tuple[str, Case], ...] = (
    ("gap: between the two newest keyframes", ("filled", None)),
    ("the gap before", ("filled_later", None)),
    ("gap, with two to four keyframes known", ("filled_cold", None)),
    ("now: up to the next keyframe", ("now", None)),
    *((f"{ms} ms ahead", ("ahead", ms)) for ms in HORIZONS_MS),
)
OVERVIEW: tuple[Case, ...] = (("filled", None), ("now", None), *(("ahead", ms) for ms in HORIZONS_MS))
_FULL: tuple[tuple[str, Case, str], ...] = (
    *((what, case, "mpjpe") for what, case in _WHOLE[:4]),
    ("now, with two to four keyframes known", ("now_cold", None), "mpjpe"),
    *((f"{ms} ms ahead", ("ahead", ms), "mpjpe") for ms in ALL_HORIZONS_MS),
    *((f"up to {ms} ms ahead", ("ahead_mean", ms), "mpjpe") for ms in ALL_HORIZONS_MS),
    *(
        (f"{what}: {label}", case, metric)
        for what, case in (("gap", ("filled", None)), ("now", ("now", None)), ("400 ms ahead", ("ahead", 400)))
        for label, metric in (
            ("P-MPJPE", "p_mpjpe"),
            ("Accel", "accel_error"),
            ("PCK@0.2", "pck@0.2"),
            ("PCK@0.1", "pck@0.1"),
            ("PCK@0.05", "pck@0.05"),
        )
        if (what, metric) != ("400 ms ahead", "accel_error")
    ),
)
_PARTS = ("head", "shoulders", "elbows", "wrists", "hips", "knees", "ankles")
_BANDS = ("<0.5", "0.5-1", "1-2", "2-4", ">4")
# Name, case, metric, target.
_RATIOS: tuple[tuple[str, Case, str, str], ...] = (
    ("filled against carried truth", ("filled", None), "mpjpe_ratio", "carried"),
    ("filled against clean truth", ("filled", None), "mpjpe_ratio", "clean"),
    ("now", ("now", None), "mpjpe_ratio", "carried"),
    ("400 ms ahead", ("ahead", 400), "mpjpe_ratio", "carried"),
    ("filled, over ridge", ("filled", None), "mpjpe_ratio_ridge", "carried"),
    ("now, over ridge", ("now", None), "mpjpe_ratio_ridge", "carried"),
    ("400 ms ahead, over ridge", ("ahead", 400), "mpjpe_ratio_ridge", "carried"),
    ("Accel against clean truth, over linear", ("filled", None), "accel_error_ratio_linear", "clean"),
)


class Results:
    """Rows of `evaluate --json` by what they say."""

    def __init__(self, folder: Path) -> None:
        self._rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.clips: list[str] = []
        for name in RESULTS:
            for row in json.loads(gzip.decompress((folder / name).read_bytes()))["rows"]:
                key = (row["model"], row["data"], (row["question"], row.get("horizon_ms")), row["metric"])
                # Of all joints and speeds, of a group of joints, or of a band of speeds.
                part = row.get("group") or row.get("band")
                self._rows[(*key, row["target"], row["method"], part)] = row
                if row["target"] == "dense" and row["data"] not in (CLIPS, *self.clips):
                    self.clips.append(row["data"])

    def get(
        self,
        model: str,
        data: str,
        case: Case,
        metric: str,
        target: str,
        method: str = "network",
        part: str | None = None,
    ) -> dict[str, Any] | None:
        """The row, or None where nobody measured that: clips too short for a full window, for one."""
        target = target if data in MOCAP else "dense"
        return self._rows.get((model, data, case, metric, target, method, part))


def overview(results: Results, every: int) -> Iterator[list[str]]:
    """Ratios to the best simple method on real clips and file by file, for the README."""
    yield ["", "filled", "now", "100 ms ahead", *map(str, HORIZONS_MS[1:])]
    for data, label in {CLIPS: "real videos", **MOCAP}.items():
        for space in LANDMARK_SPACES:
            rows = (results.get(f"{space}-n{every}", data, case, "mpjpe_ratio", "carried") for case in OVERVIEW)
            yield [f"{label}, {space}", *map(_ratio, rows)]


def spacings(results: Results) -> Iterator[list[str]]:
    """The three keyframe spacings side by side, for the model card."""
    cases: list[Case] = [("filled", None), ("now", None), ("ahead", 400)]
    yield ["", *(f"{what}, N = {n}" for what in ("filled", "now", "400 ms ahead") for n in SHIPPED_INTERVALS)]
    for space in LANDMARK_SPACES:
        for file in MOCAP:
            rows = (
                results.get(f"{space}-n{n}", file, c, "mpjpe_ratio", "carried")
                for c in cases
                for n in SHIPPED_INTERVALS
            )
            yield [f"{space}, {file.removesuffix('.npz')}", *map(_ratio, rows)]


def weights(_: Results) -> Iterator[list[str]]:
    """What ships, for the model card."""
    yield ["", "keyframes apart", "window", "ahead", "T", "parameters", "file", "best after, of the last stage"]
    for name in (f"{space}-n{every}" for space in LANDMARK_SPACES for every in SHIPPED_INTERVALS):
        path = ASSETS / f"{name}.safetensors"
        state, config, info = load_weights(path)
        yield [
            f"`{name}`",
            f"{config.sample_interval / info.rate_hz * 1000:.0f} ms",
            f"{config.newest / info.rate_hz:.2f} s",
            f"{config.horizon / info.rate_hz:.2f} s",
            str(config.seq_len),
            f"{sum(array.size for array in state.values()):,}".replace(",", " "),
            f"{path.stat().st_size / 1000:.0f} kB",
            f"{info.metrics['step']:g} steps",
        ]


def whole(results: Results, every: int) -> Iterator[list[str]]:
    """Errors beside the best simple method's, for the model card."""
    yield ["", *(f"{space}, {file.removesuffix('.npz')}" for space in LANDMARK_SPACES for file in FILES)]
    for label, case in _WHOLE:
        yield [
            label,
            *(_error(results, f"{space}-n{every}", file, case) for space in LANDMARK_SPACES for file in FILES),
        ]


def ratios(results: Results, every: int) -> Iterator[list[str]]:
    """All ratios of one keyframe spacing, real clips included, for the model card."""
    columns = [
        *((space, file) for space in LANDMARK_SPACES for file in FILES),
        *((space, CLIPS) for space in LANDMARK_SPACES),
    ]
    yield ["", *(f"{space}, {'clips' if data == CLIPS else data.removesuffix('.npz')}" for space, data in columns)]
    for label, case, metric, target in _RATIOS:
        # What the estimator says on every frame of a clip is no clean truth.
        known = (
            None
            if data == CLIPS and target == "clean"
            else results.get(f"{space}-n{every}", data, case, metric, target)
            for space, data in columns
        )
        yield [label, *map(_ratio, known)]


def clip_by_clip(results: Results, every: int) -> Iterator[list[str]]:
    """Ratios on each real clip, for the model card."""
    cases = (*_WHOLE[:2], ("now", ("now", None)), *((f"{ms} ms ahead", ("ahead", ms)) for ms in (300, 400)))
    yield ["", *(f"{space}, {what.partition(':')[0]}" for space in LANDMARK_SPACES for what, _ in cases)]
    for clip in sorted(results.clips):
        rows = [
            results.get(f"{s}-n{every}", clip, case, "mpjpe_ratio", "dense")
            for s in LANDMARK_SPACES
            for _, case in cases
        ]
        if any(rows):
            yield [clip.removeprefix("video/"), *map(_ratio, rows)]


def full(results: Results, every: int, target: str) -> Iterator[list[str]]:
    """Every metric of the network with its ratio to the best simple method and the ratio's interval."""
    columns = [(f"{space}-n{every}", file) for space in LANDMARK_SPACES for file in FILES]
    yield ["", *(f"{model.partition('-')[0]}, {file.removesuffix('.npz')}" for model, file in columns)]
    for label, case, metric in _FULL:
        yield [label, *(_full_cell(results, model, file, case, metric, target) for model, file in columns)]


def parts(results: Results, every: int) -> Iterator[list[str]]:
    """Ratios by group of joints and by band of speeds."""
    cases: dict[str, Case] = {"gap": ("filled", None), "now": ("now", None), "400 ms ahead": ("ahead", 400)}
    columns = [(space, file, what) for space in LANDMARK_SPACES for file in FILES for what in cases]
    yield ["", *(f"{space}, {file.removesuffix('.npz')}, {what}" for space, file, what in columns)]
    for part in (*_PARTS, *_BANDS):
        rows = (
            results.get(f"{space}-n{every}", file, cases[what], "mpjpe_ratio", "carried", part=part)
            for space, file, what in columns
        )
        yield [part, *map(_ratio, rows)]


def truth(_: Results) -> Iterator[list[str]]:
    """Errors in the gaps against motion that four cameras measured, for the model card."""
    methods = {
        "network": "network",
        "PCHIP": "PCHIP through the same keyframes",
        "dense estimator": "MediaPipe on every frame",
    }
    yield ["", *methods.values(), "network, with glances"]
    for path in sorted(RESULTS_FOLDER.glob("truth-*.json")):
        camera = path.stem.removeprefix("truth-")
        plain, glance = (gap_errors_px(RESULTS_FOLDER / f"{kind}-{camera}.json") for kind in ("truth", "glance"))
        yield [camera, *(f"{error:.1f} px" for error in (*(plain[method] for method in methods), glance["network"]))]


def tracked(_: Results) -> Iterator[list[str]]:
    """How often sigma of tracked poses holds, for the model card."""
    questions = {"now": "now", "gaps": "filled", "warm-up": "filled, with two to four keyframes known"}
    yield ["", *(f"{question}: within {bound}" for question in questions.values() for bound in ("sigma", "2 sigma"))]
    for path in sorted(RESULTS_FOLDER.glob("glance-*.json")):
        rows = {r["question"]: r for r in json.loads(path.read_text())["rows"] if r["method"] == "network"}
        shares = (rows[question][key] for question in questions for key in ("within_sigma", "within_2_sigma"))
        yield [path.stem.removeprefix("glance-"), *(f"{share:.0%}" for share in shares)]


def gap_errors_px(path: Path) -> dict[str, float]:
    """Errors by method that `bench truth` wrote."""
    rows = json.loads(path.read_text())["rows"]
    return {row["method"]: row["error_px"] for row in rows if row["question"] == "gaps"}


TABLES: dict[str, Callable[[Results], Iterator[list[str]]]] = {
    "overview": partial(overview, every=10),
    "pipeline": lambda _: pipeline(RESULTS_FOLDER),
    "frontier": lambda _: frontier(RESULTS_FOLDER),
    "live": lambda _: live(RESULTS_FOLDER),
    "filmed": lambda _: filmed(RESULTS_FOLDER),
    "latency": lambda _: latency(RESULTS_FOLDER),
    "several": lambda _: several(RESULTS_FOLDER),
    "spacings": spacings,
    "weights": weights,
    "encoder": lambda _: encoder(RESULTS_FOLDER),
    "push": lambda _: push(RESULTS_FOLDER),
    "soak": lambda _: soak(RESULTS_FOLDER),
    "truth": truth,
    "tracked": tracked,
    **{f"whole n{n}": partial(whole, every=n) for n in SHIPPED_INTERVALS},
    **{f"ratios n{n}": partial(ratios, every=n) for n in SHIPPED_INTERVALS},
    **{f"clip by clip n{n}": partial(clip_by_clip, every=n) for n in SHIPPED_INTERVALS},
    **{f"full n{n} {target}": partial(full, every=n, target=target) for n in SHIPPED_INTERVALS for target in TARGETS},
    **{f"parts n{n}": partial(parts, every=n) for n in SHIPPED_INTERVALS},
}


def _ratio(row: dict[str, Any] | None) -> str:
    return "-" if row is None else f"{row['value']:.3f}"


def _full_cell(results: Results, model: str, file: str, case: Case, metric: str, target: str) -> str:
    row = results.get(model, file, case, metric, target)
    if row is None:
        return "-"
    if metric.startswith("pck"):
        simple = (results.get(model, file, case, metric, target, method) for method in simple_methods(case[0]))
        best = max(other["value"] for other in simple if other is not None)
        return f"{row['value']:.1%} (best simple {best:.1%})"
    ratio = results.get(model, file, case, f"{metric}_ratio", target)
    assert ratio is not None, f"no ratio of {metric} of {model} on {file}"
    shown = f"{row['value']:.3g} mm" if "mm" in row["unit"] else f"{row['value']:.3f}"
    return "{} ({:.3f}: {:.3f}-{:.3f})".format(shown, ratio["value"], *ratio["interval"])


def _error(results: Results, model: str, file: str, case: Case) -> str:
    error = results.get(model, file, case, "mpjpe", "carried")
    ratio = results.get(model, file, case, "mpjpe_ratio", "carried")
    if error is None or ratio is None:
        return "-"
    best = results.get(model, file, case, "mpjpe", "carried", ratio["over"])
    assert best is not None, f"no error of {ratio['over']} beside {model} on {file}"
    shown = (f"{x['value']:.3f}" if x["unit"] == "torso" else f"{x['value']:.3g} mm" for x in (error, best))
    return "{} (best simple {}, {:.3f})".format(*shown, ratio["value"])


def markdown(rows: Iterator[list[str]]) -> str:
    head, *body = ("| " + " | ".join(cells) + " |" for cells in rows)
    return "\n".join([head.replace("|  |", "| |"), "|" + " --- |" * (head.count("|") - 1), *body]) + "\n"


def rewritten(text: str, results: Results) -> str:
    """The document with its tables as the results give them."""

    def table(match: re.Match[str]) -> str:
        make = TABLES.get(match["name"])
        return match[0] if make is None else match[1] + markdown(make(results)) + match[3]

    return _TABLE.sub(table, text)


def misplaced(texts: Iterable[str]) -> list[str]:
    """A sentence for each table that no document has, and for each that a document has and nobody can write."""
    places = [match["name"] for text in texts for match in _TABLE.finditer(text)]
    missing = [f"the table {name} is in no document" for name in TABLES if name not in places]
    return missing + [f"there is no table {name} to write" for name in places if name not in TABLES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a table is out of date")
    args = parser.parse_args()
    results = Results(RESULTS_FOLDER)
    written = {name: rewritten((ROOT / name).read_text(), results) for name in DOCUMENTS}
    written[ENCODER_SPEED] = "".join("\t".join(cells[:6]) + "\n" for cells in encoder(RESULTS_FOLDER))
    wrong = []
    for name, new in written.items():
        path = ROOT / name
        if path.exists() and path.read_text() == new:
            continue
        if args.check:
            wrong.append(f"{name} does not say what benchmarks/results says: run python {sys.argv[0]}")
        else:
            path.write_text(new)
    wrong += misplaced(written.values())
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
