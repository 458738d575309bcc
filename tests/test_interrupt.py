"""Interruption: at once, or at the end of a write."""

from __future__ import annotations

import os
import signal

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
