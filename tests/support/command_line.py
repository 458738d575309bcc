"""The command line, run in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run_apart(*arguments: str, stdout: object = subprocess.PIPE) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "mixsynth_stream", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
