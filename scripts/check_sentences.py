"""Sentences with figures in README.md and in docs/: each is looked for with the figures of benchmarks/results.

python scripts/check_sentences.py    names each that is missing (exit code 1); a person writes it
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from write_tables import CLIPS, DOCUMENTS, OVERVIEW, RESULTS_FOLDER, ROOT, Results, gap_errors_px

from mixsynth_stream.spaces import LANDMARK_SPACES


def sentences(results: Results) -> Iterator[tuple[str, str]]:
    """Documents, and words with figures that have to stand in them."""
    yield from _gains_on_clips(results)
    for path in sorted(RESULTS_FOLDER.glob("truth-*.json")):
        errors_px = gap_errors_px(path)
        figures = (errors_px[method] for method in ("network", "PCHIP", "dense estimator"))
        yield "README.md", "{:.1f} px off (PCHIP {:.1f}, MediaPipe on every frame {:.1f})".format(*figures)
    errors = [gap_errors_px(path)["network"] for path in sorted(RESULTS_FOLDER.glob("glance-*.json"))]
    yield "README.md", "with `--glance` {:.1f} px in cam03 and {:.1f} px in cam04".format(*errors)
    shipped = [
        row
        for row in _rows("encoder.json")
        if row["case"].startswith(LANDMARK_SPACES) and (row["contender"], row["batch"]) == ("native", 1)
    ]
    times = _range([row["p50_us"] / 1000 for row in shipped], 2)
    ratios = _range([row["over_eager"] for row in shipped], 1)
    yield "README.md", f"{times} ms on one core, and is {ratios} times as fast as PyTorch"
    compiled = [row for row in _rows("encoder-torch-compile.json") if row["contender"] == "torch.compile"]
    for batch, windows in ((1, "one window"), (64, "64")):
        ratios = _range([row["over_eager"] for row in compiled if row["batch"] == batch], 1)
        yield "docs/speed.md", f"{ratios} times as fast as torch with {windows}"


def _gains_on_clips(results: Results) -> Iterator[tuple[str, str]]:
    """How much better than the best simple method the network is on real clips: in the gaps, and now and ahead."""
    filled, ahead = [], []
    for space in LANDMARK_SPACES:
        first, *others = (results.get(f"{space}-n10", CLIPS, case, "mpjpe_ratio", "dense") for case in OVERVIEW)
        assert first is not None, f"no ratio of {space}-n10 in the gaps of {CLIPS}"
        filled.append(first)
        ahead.append([100 * (1 - row["value"]) for row in others if row is not None])
    percents = (f"{100 * (1 - row['value']):.0f} %" for row in filled)
    yield "README.md", "{} better in the image and {} in the world".format(*percents)
    yield "README.md", "{:.2f}-{:.2f} and {:.2f}-{:.2f}".format(*(edge for row in filled for edge in row["interval"]))
    ranges = (f"{_range(values, 0)} %" for values in ahead)
    yield "README.md", "{} better in the image and {} in the world".format(*ranges)


def missing(
    texts: Mapping[str, str],  # by document
    results: Results,
) -> list[str]:
    """One line for each sentence that its document does not have."""
    plain = {name: " ".join(text.split()) for name, text in texts.items()}
    return [
        f"{name} has no words {words!r}, which is what benchmarks/results says: write them there"
        for name, words in sentences(results)
        if words not in plain[name]
    ]


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((RESULTS_FOLDER / name).read_text())["rows"]
    return rows


def _range(values: list[float], digits: int) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def main() -> int:
    lines = missing({name: (ROOT / name).read_text() for name in DOCUMENTS}, Results(RESULTS_FOLDER))
    for line in lines:
        print(line, file=sys.stderr)
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
