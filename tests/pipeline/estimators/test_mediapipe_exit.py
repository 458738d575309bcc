"""A program that never closes its Stream: Python ends without a word from MediaPipe, with the right exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import clips

ENDS = {
    "it simply ends": "",
    "somebody else holds it": "import builtins; builtins.kept = (stream, motions)",
    "it leaves by sys.exit": "import sys; sys.exit(7)",
    "it is collected first": "del motions, stream",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("lag", [0, 1])
def test_a_stream_that_is_never_closed_ends_quietly(end, lag):
    code = (
        f"from mixsynth_stream import Stream\nstream = Stream({str(clips.PERSON)!r}, lag={lag})\n"
        f"motions = iter(stream)\nfor _ in range(12): next(motions)\n{end}"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7 if "exit" in end else 0, "", "")


def test_a_stream_of_movenet_ends_as_quietly():
    stream = f"Stream({str(clips.PERSON)!r}, estimator='movenet-lightning')"
    code = f"from mixsynth_stream import Stream\nnext(iter({stream}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
