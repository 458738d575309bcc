"""Figures in the documents are those of the results that lie in the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_tables_are_what_the_results_give():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/write_tables.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
