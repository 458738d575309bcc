"""`summary_line`: what came of a source, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixsynth_stream.job.process import JobResult


def summary_line(result: JobResult, formats: Sequence[str]) -> str:
    """One line about a source that is complete."""
    stats = result.stats
    rate = stats.frames / max(result.seconds, 1e-9)
    people = result.people_text
    if "trc" in formats and not result.has_world:
        people += ", so there is no TRC file" if not result.people else ", not in metres, so there is no TRC file"
    text = (
        f"{result.source}: {stats.frames} frames in {result.seconds:.1f} s ({rate:.0f} frames/s), "
        f"{stats.estimator_calls} estimator calls, {people}"
    )
    live = [words for words in (str(stats.ledger), str(result.score or "")) if words]
    counts = [f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(stats.counters.items()) if count]
    has_results = result.folder is not None and stats.frames > 0
    return ", ".join([text, *live, *counts]) + (f"; results in {result.folder}" if has_results else "")
