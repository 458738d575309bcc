"""Clocks in the loop of a stream: each measured time either decides nothing, or is an answer that a journal keeps."""

from __future__ import annotations

import re
from pathlib import Path

PIPELINE = Path(__file__).parents[2] / "pipeline"
CLOCK = re.compile(r"\btime\.(perf_counter|monotonic|time|thread_time|process_time)(_ns)?\b|\bdatetime\b|\brandom\b")
# Where the loop of a stream may ask for the time, and why a replay does the same all the same.
KNOWN = {
    "answers.py": "when a recorded look began and ended",
    "looks.py": "when looks end and are given up, which `RecordedLooks` keeps",
    "stats.py": "what stages cost; the estimator's cost decides in `JournalBudget` only",
    "estimators/supervised.py": "when freed memory goes back to the system",
    "several/streams.py": "whose look begins first among several sources, which are not recorded",
    "glance/glance.py": "what glances cost, after which `has_come` is asked",
}


def test_every_clock_in_the_loop_is_known_to_the_journal():
    """Sources are not of the loop: what they gave is kept as it came."""
    modules = [path for path in PIPELINE.rglob("*.py") if path.relative_to(PIPELINE).parts[0] != "sources"]
    clocks = {str(path.relative_to(PIPELINE)) for path in modules if CLOCK.search(path.read_text())}
    assert clocks == set(KNOWN), "a recording would not be replayed bit for bit"
    assert "journal.has_come" in (PIPELINE / "glance/glance.py").read_text()
