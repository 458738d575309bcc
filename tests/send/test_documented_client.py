"""The client of docs/outputs.md does what the page says of it."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.moving_stream import MovingStream

from mixsynth_stream.export.header import Header
from mixsynth_stream.send.poses import PoseChannel, PoseServer
from mixsynth_stream.send.targets import Target

PAGE = Path(__file__).parents[2] / "docs" / "outputs.md"


def test_it_reads_the_poses_of_now() -> None:
    pytest.importorskip("websockets")
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    assert len(example.splitlines()) <= 15
    stream = MovingStream()
    with closing(PoseServer(Target.of("ws://127.0.0.1:0"), PoseChannel(["camera"]))) as server:
        sink = server.channel.sink(0, stream, Header())
        code = example.replace("ws://127.0.0.1:8765/poses", server.url)
        assert code != example
        with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as client:
            try:
                assert client.stdout is not None
                while not server.channel._programs:
                    assert client.poll() is None
                sink.write(stream.motion(4, 0.125))
                x, y = stream.at(0.125).poses[0, 15].round(2).tolist()
                assert client.stdout.readline() == f"0.125 s, person 7: [{x}, {y}] +- 6.0 pixels\n"
            finally:
                client.kill()
