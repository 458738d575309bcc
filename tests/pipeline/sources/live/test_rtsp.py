"""RTSP cameras: pictures come as soon as they are whole, and are whole."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest
from support.network import network_to
from support.rtsp_server import age_s, needs_rtsp_server, rtsp_server
from support.stamped_camera import RATE_HZ

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.live.pieces import Pieces

pytestmark = needs_rtsp_server
# FFmpeg's parser holds each picture back until the next one begins.
_PICTURE_S = 1 / RATE_HZ


def ages_s(reader: LiveReader, count: int) -> list[float]:
    """The ages of so many pictures, the youngest first: on a busy machine many come late."""
    lumas = [(frame.luma(), time.monotonic()) for frame in islice(reader, count)]
    return sorted(age_s(luma.plane, now_s) for luma, now_s in lumas if luma is not None)


@pytest.mark.parametrize("encoder", ["h264", "h264 in slices", "hevc", "mjpeg"])
def test_a_picture_does_not_wait_for_the_next_one(encoder: str) -> None:
    with rtsp_server(encoder) as (_, address), LiveReader(address) as reader:
        ages_s(reader, 60)  # the server fills its queues, and what is usual is learnt
        ages = ages_s(reader, 90)
        # With the parser none is younger than 50 ms. Ten are the server's own.
        assert ages[3] < 0.030 + 0.010
        assert not {"corrupt_packets", "corrupt_pictures"} & set(reader.counters)


def test_where_the_end_cannot_be_foretold_pictures_are_whole_all_the_same() -> None:
    with rtsp_server("h264 in many slices") as (_, address), LiveReader(address) as reader:
        ages = ages_s(reader, 90)
        assert ages[3] < 0.040 + _PICTURE_S
        assert not {"corrupt_packets", "corrupt_pictures"} & set(reader.counters)


def test_the_first_picture_comes_at_once() -> None:
    with rtsp_server("h264") as (_, address):
        start_s = time.perf_counter()
        with LiveReader(address) as reader:
            next(reader)
        assert time.perf_counter() - start_s < 1.0


def test_a_server_that_dies_and_comes_back_is_told() -> None:
    with rtsp_server("h264") as (process, address):
        # A server that has just begun may take a connection and never answer on it.
        reader = LiveReader(address, silence_s=2.0, pause_s=lambda n: 0.1)
        next(reader)
        process.kill()
        process.wait()
        events = []
        end_s = time.perf_counter() + 10
        while not events and time.perf_counter() < end_s:
            frame = reader.read(0.1)
            events += reader.events_before(frame)
    port = int(address.rpartition(":")[2].partition("/")[0])
    with reader, rtsp_server("h264", port=port):
        while (len(events) < 2 or frame is None) and time.perf_counter() < end_s + 10:
            frame = reader.read(0.1)
            events += reader.events_before(frame)
        assert frame is not None
        assert [event.kind for event in events] == ["lost", "back"]
        assert events[0].time_s < events[1].time_s <= (reader.now_s() or 0)
        assert events[1].index == frame.index


def test_pictures_that_the_network_held_back_keep_the_time_at_which_they_were_taken() -> None:
    with rtsp_server("h264") as (_, address):
        port = int(address.rpartition(":")[2].partition("/")[0])
        with network_to(port) as network, LiveReader(address.replace(str(port), str(network.port))) as reader:
            ages_s(reader, 90)
            network.flows.clear()
            threading.Timer(0.8, network.flows.set).start()
            frames = [(frame, time.monotonic(), reader.now_s() or 0.0) for frame in islice(reader, 60)]
        delays = []  # of the time in the picture after the time that the reader gives it
        for frame, at_s, now_s in frames:
            luma = frame.luma()
            assert luma is not None
            delays.append(age_s(luma.plane, at_s) - (now_s - frame.time_s))
        assert max(now_s - frame.time_s for frame, _, now_s in frames) > 0.5
        assert max(delays) - min(delays) < 0.040


def test_a_wrong_password_is_told() -> None:
    with rtsp_server("h264", user="me:secret") as (_, address):
        with LiveReader(address.replace("//", "//me:secret@")) as reader:
            next(reader)
        with pytest.raises(SourceError, match="without the right user and password"):
            LiveReader(address.replace("//", "//me:wrong@"))


def test_codecs_that_come_whole_are_left_alone() -> None:
    packets = [object(), object()]
    assert list(Pieces("mjpeg").join(packets)) == packets  # type: ignore[comparison-overlap, arg-type]
