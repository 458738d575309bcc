"""The line of progress of several live sources."""

from __future__ import annotations

import io
from types import SimpleNamespace

from mixsynth_stream.job.board import Board
from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.pipeline.ledger import Latency
from mixsynth_stream.pipeline.stats import StreamStats


def board_of(streams, clock):
    text = io.StringIO()
    return Board([f"cam{n}" for n in range(len(streams))], streams, to=text, clock=lambda: clock[0]), text


def test_the_line_has_rates_people_drops_and_who_is_lost():
    clock = [100.0]
    streams = [SimpleNamespace(stats=StreamStats()), SimpleNamespace(stats=StreamStats()), None]
    board, text = board_of(streams, clock)
    for stream, frames in zip(streams[:2], (150, 75), strict=True):
        stream.stats.frames, stream.stats.keyframes = frames, 9
        stream.stats.count("dropped_consumer_behind", 3)
        stream.stats.ledger.add(Latency(0.01, 0.01, 0.02, None))
    board.tell_of(1, SourceEvent("lost", 1.0, 75))
    board.see(0, SimpleNamespace(ids=[1, 2]))
    assert text.getvalue() == ""  # a line every five seconds, where there is no terminal
    clock[0] += 5.0
    board.see(0, SimpleNamespace(ids=[1, 2]))
    assert text.getvalue() == (
        "2 of 3 sources  30.0 15.0 fps  latency p99 40 ms  18 keyframes  2 people  dropped consumer behind 6  "
        "lost: cam1\n"
    )
    board.tell_of(1, SourceEvent("back", 2.0, 75))
    board.end(0)
    clock[0] += 5.0
    board.draw_if_due()
    assert "1 of 3 sources  0.0 fps" in text.getvalue() and text.getvalue().count("lost") == 1


def test_of_many_sources_the_least_and_the_greatest_rate():
    clock = [0.0]
    streams = [SimpleNamespace(stats=StreamStats(frames=50 + 10 * number)) for number in range(8)]
    board, text = board_of(streams, clock)
    clock[0] += 5.0
    board.draw_if_due()
    assert "8 of 8 sources  10.0-24.0 fps" in text.getvalue()
