"""`info`: the tables of what this machine has."""

from __future__ import annotations

import re

import pytest

from mixsynth_stream.cli import main


def test_info_shows_the_table_and_the_speed_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"jhmdb +\d+ µs +\d+\.\dx +\d+\.\dx \(.+\) +\d+%", output)
    assert re.search(r"here: image-n\d+ takes \d+ µs a window in registers of (128|256|512) bits", output)
