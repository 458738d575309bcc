"""Interruption: at once, or at the end of a write."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixsynth_stream.interrupt import Interrupt


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether the job has begun")
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_a_signal_while_libraries_are_imported_ends_in_a_sentence(tmp_path, delay_s):
    command = [sys.executable, "-m", "mixsynth_stream", "run", "synthetic:seconds=0", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not _handles_signals(process.pid):
            time.sleep(0.005)
        time.sleep(delay_s)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "mixsynth-stream: interrupted; what was written so far is complete"
    assert "Traceback" not in errors


def _handles_signals(pid: int) -> bool:
    mask = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


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


def test_a_signal_waits_for_the_outermost_of_several_writes():
    steps = []
    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt), interrupt.held():
        with interrupt.held():
            os.kill(os.getpid(), signal.SIGINT)
        steps.append("the rest of the outer one")
    assert steps == ["the rest of the outer one"]


needs_hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")


@needs_hangup
def test_a_closed_terminal_interrupts_however_often_it_says_so():
    """Kernel and shell both send the signal; the second one must not quit at once, nor a shutdown that follows."""
    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt), interrupt.held():
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)


@needs_hangup
def test_under_nohup_a_closed_terminal_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_request_quits_at_once(number):
    code = (
        f"import os, signal; from mixsynth_stream.interrupt import Interrupt; number = {int(number)}\n"
        "with Interrupt() as interrupt, interrupt.held():\n"
        "    os.kill(os.getpid(), number); print('first', flush=True); os.kill(os.getpid(), number); print('second')"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (130, "first\n")
    assert "interrupted again, files are left unfinished" in process.stderr


def test_an_interrupt_in_the_middle_of_an_import_has_the_same_exit_code(tmp_path):
    """An import runs texts with `exec`, and Python remembers an interrupt that comes out of one."""
    (tmp_path / "interrupted.py").write_text(
        "import sys; from mixsynth_stream import cli; from mixsynth_stream.commands import info; "
        "info.main = lambda args: exec('raise KeyboardInterrupt'); sys.exit(cli.main(['info']))"
    )
    command = [sys.executable, "-m", "interrupted"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 130, process.stderr


def test_an_interrupt_before_the_command_line_is_read_is_one_sentence(tmp_path):
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt\n")
    process = subprocess.run(
        [sys.executable, "-m", "mixsynth_stream", "info"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (130, "")
    assert process.stderr == "mixsynth-stream: interrupted before it began\n"
