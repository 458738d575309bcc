"""Interruption: at once, or at the end of a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mixsynth_stream.interrupt import Interrupt


def test_an_interrupt_waits_for_the_end_of_a_write():
    steps = []
    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt):
        with interrupt.held():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("the write")
        steps.append("the next step")
    assert steps == ["the write"]


def test_an_interrupt_outside_a_write_is_at_once_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_in_the_middle_of_an_import_has_the_same_exit_code(tmp_path):
    """An import runs texts with `exec`, and Python remembers an interrupt that comes out of one."""
    (tmp_path / "interrupted.py").write_text(
        "import sys; from mixsynth_stream import cli; from mixsynth_stream.commands import info; "
        "info.main = lambda args: exec('raise KeyboardInterrupt'); sys.exit(cli.main(['info']))"
    )
    command = [sys.executable, "-m", "interrupted"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 130, process.stderr
