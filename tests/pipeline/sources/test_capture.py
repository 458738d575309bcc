"""LiveReader: newest frames first, losses counted, a lost sender waited for, nobody blocked for ever."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path

import av
import pytest
from support import clips
from support.file_server import serve
from support.tcp_sender import sender

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.ledger import Latency
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.live.pace import pause_before
from mixsynth_stream.pipeline.sources.live.playlist import seconds_behind
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source


def camera(rate: int = 50, frames: int | None = None) -> Callable[[], av.container.InputContainer]:
    """A paced camera without hardware; with `frames`, one that is lost after so many."""
    end = "" if frames is None else f":duration={frames / rate}"
    return lambda: av.open(f"testsrc2=size=64x48:rate={rate}{end},realtime", "r", format="lavfi")


def soon(happened: Callable[[], bool], limit_s: float = 20.0) -> bool:
    end_s = time.perf_counter() + limit_s
    while not happened() and time.perf_counter() < end_s:
        time.sleep(0.01)
    return happened()


def test_frames_come_at_the_pace_of_the_camera() -> None:
    with LiveReader("camera", opener=camera(rate=50)) as reader:
        assert reader.info.live
        assert (reader.info.width, reader.info.height, reader.info.rate_hz) == (64, 48, 50)
        frames = list(islice(reader, 40))
    assert frames[0].time_s < 1e-3
    assert all(later.time_s > sooner.time_s for sooner, later in pairwise(frames))
    # Indices count what the camera gave, so seconds and indices agree whatever was dropped on a busy machine.
    assert frames[-1].time_s == pytest.approx(frames[-1].index / 50, abs=0.5)
    assert frames[0].rgb.shape == (48, 64, 3)


def test_a_camera_says_its_size_as_its_pictures_are_shown() -> None:
    anamorphic = "testsrc2=size=64x48:rate=50,setsar=2,realtime"
    with LiveReader("camera", opener=lambda: av.open(anamorphic, "r", format="lavfi")) as reader:
        assert (reader.info.width, reader.info.height, reader.info.stored_size) == (128, 48, (64, 48))
        frame = next(reader)
    assert (frame.rgb.shape, frame.stored_size) == ((48, 128, 3), (64, 48))


def test_a_camera_that_is_turned_says_its_size_upright(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "turned.mp4", turn=90)
    with LiveReader("camera", opener=lambda: av.open(str(path))) as reader:
        assert (reader.info.width, reader.info.height) == (48, 64)


def test_a_late_consumer_gets_the_newest_and_a_count() -> None:
    with LiveReader("camera", opener=camera(rate=50)) as reader:
        first = next(reader)
        assert soon(lambda: reader.counters.get("dropped_consumer_behind", 0) >= 10)
        dropped = reader.counters["dropped_consumer_behind"]
        assert next(reader).index >= first.index + dropped


def test_every_frame_is_delivered_or_counted() -> None:
    with LiveReader("camera", opener=camera(rate=50, frames=30), retries=0) as reader:
        indices = [next(reader).index]
        assert soon(lambda: reader.counters.get("dropped_consumer_behind", 0) >= 5)
        with pytest.raises(SourceError, match="was lost after 30 frames"):
            indices.extend(frame.index for frame in reader)
    assert indices[-1] == 29  # the newest is never the one that is dropped
    assert len(indices) + reader.counters["dropped_consumer_behind"] == 30


def test_frames_that_nobody_has_read_before_the_end_are_counted() -> None:
    with LiveReader("camera", opener=camera(rate=50)) as reader:
        next(reader)
        assert soon(lambda: reader.captured >= 4)
    dropped = reader.counters["dropped_at_end"]
    assert dropped > 0
    assert reader.captured == 1 + dropped + reader.counters.get("dropped_consumer_behind", 0)


def test_nothing_that_was_dropped_is_no_counter(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", frames=5)
    with open_source(str(path), request=LiveRequest(is_paced=True)) as reader:
        assert list(reader)
    assert 0 not in reader.counters.values()


def test_a_lost_camera_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    attempts = []
    open_camera = camera(rate=50, frames=20)

    def opener() -> av.container.InputContainer:
        attempts.append(1)
        if len(attempts) in (2, 3):
            return av.open("/dev/video-that-does-not-exist", "r")
        return open_camera()

    pauses = []
    with LiveReader("camera", opener=opener, pause_s=lambda n: pauses.append(n) or 0.0) as reader:
        assert soon(lambda: (reader.read(0.1) or reader.info) and reader.counters.get("reopened", 0) >= 2)
        later = next(reader)
    assert later.index > 20
    assert pauses[:3] == [1, 2, 3]  # it grows while opening fails
    assert pauses[3] == 1  # and starts again once there was a picture
    assert len(attempts) >= reader.counters["reopened"] + 3  # a try that fails opens nothing
    assert "camera was lost" in caplog.text


def test_pauses_grow_as_documented() -> None:
    assert [pause_before(n) for n in (1, 5, 6, 10, 11, 20, 21, 1000)] == [1, 1, 5, 5, 10, 10, 60, 60]


def test_giving_up_reaches_the_consumer() -> None:
    with LiveReader("camera", opener=camera(frames=5), retries=2, pause_s=lambda n: 0.0) as reader:
        reader._open = lambda: av.open("/dev/video-that-does-not-exist", "r")
        with pytest.raises(SourceError, match="was lost after 5 frames"):
            list(reader)
        with pytest.raises(SourceError):  # and again, for whoever asks again
            reader.read(1.0)


def test_what_led_to_the_end_is_told_before_it() -> None:
    with LiveReader("camera", opener=camera(frames=5), retries=1, pause_s=lambda n: 0.0) as reader:
        reader._open = lambda: av.open("/dev/video-that-does-not-exist", "r")
        assert soon(lambda: reader._error is not None)
        while reader.read(1.0) is not None:
            pass
        assert [event.kind for event in reader.events_before(None)] == ["lost"]
        with pytest.raises(SourceError, match="was lost after 5 frames"):
            reader.read(1.0)


def test_an_error_of_the_thread_reaches_the_consumer() -> None:
    def broken(_: int) -> float:
        raise ZeroDivisionError("a bug")

    with (
        LiveReader("camera", opener=camera(frames=5), pause_s=broken) as reader,
        pytest.raises(SourceError, match="ZeroDivisionError"),
    ):
        list(reader)


def test_close_wakes_a_waiting_consumer_and_ends_the_thread() -> None:
    reader = LiveReader("camera", opener=camera(frames=1), pause_s=lambda n: 60.0)
    assert next(reader).index == 0
    seen: list[object] = []
    consumer = threading.Thread(target=lambda: seen.extend(reader))
    consumer.start()
    reader.close()
    consumer.join(5.0)
    assert not consumer.is_alive()
    assert not reader._thread.is_alive()
    reader.close()  # twice is fine
    assert list(reader) == []


def test_a_source_that_hangs_is_not_waited_for_for_ever() -> None:
    hang = threading.Event()
    openers = iter([camera(frames=3), lambda: hang.wait(30) and camera()()])

    def opener() -> av.container.InputContainer:
        return next(openers)()

    with LiveReader("camera", opener=opener, silence_s=0.2, pause_s=lambda n: 0.0) as reader:
        with pytest.raises(SourceError, match="hangs"):
            list(reader)
        hang.set()


def test_a_sender_that_dies_and_comes_back(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "live.ts", frames=60)
    with sender(path) as (process, port):
        reader = LiveReader(f"tcp://127.0.0.1:{port}", pause_s=lambda n: 0.1, silence_s=5)
        before = list(islice(reader, 20))
        process.kill()
        process.wait()
    assert soon(lambda: reader.read(0.1) is None)
    with reader, sender(path, port):
        after = list(islice(reader, 20))
    assert reader.counters["reopened"] == 1
    assert after[0].index > before[-1].index
    assert after[0].time_s > before[-1].time_s
    assert after[-1].rgb.shape == (48, 64, 3)


def test_a_camera_with_few_keyframes_is_shown_from_the_first_one_on(tmp_path: Path) -> None:
    data = clips.make(tmp_path / "live.ts", frames=90, options={"g": "1000", "bf": "0"}).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for k in range(90):
                    connection.sendall(data[k * len(data) // 90 : (k + 1) * len(data) // 90])
                    time.sleep(1 / 90)
                is_over.wait(20)

        is_over = threading.Event()
        threading.Thread(target=send, daemon=True).start()
        with LiveReader(f"tcp://127.0.0.1:{server.getsockname()[1]}", silence_s=5.0) as reader:
            assert reader.read(5.0) is not None
            assert soon(lambda: reader.captured + reader.unread > 80)
        is_over.set()


@pytest.mark.skipif(sys.platform == "win32", reason="cannot pause a process here")
def test_a_silent_sender_is_lost(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "live.ts", frames=60)
    with (
        sender(path) as (process, port),
        LiveReader(f"tcp://127.0.0.1:{port}", silence_s=1.0, retries=0) as reader,
    ):
        next(reader)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(SourceError, match="no answer in time"):
            list(reader)


def test_a_playlist_that_goes_on_is_live_and_played_at_its_own_pace(tmp_path: Path) -> None:
    source = clips.make(tmp_path / "a.mp4", frames=150)
    options = {"hls_time": "1", "hls_list_size": "0", "hls_flags": "omit_endlist"}
    with av.open(str(source)) as original, av.open(str(tmp_path / "live.m3u8"), "w", options=options) as playlist:
        stream = playlist.add_stream_from_template(original.streams.video[0])
        for packet in original.demux(video=0):
            if packet.size:
                packet.stream = stream
                playlist.mux(packet)
    with serve(tmp_path) as address, open_source(f"{address}/live.m3u8") as reader:
        assert reader.info.live
        frames = list(islice(reader, 30))
    assert frames[-1].time_s >= frames[-1].index / 30 - 0.05
    lengths_s = re.findall(r"#EXTINF:([\d.]+)", (tmp_path / "live.m3u8").read_text())
    behind_s = sum(float(length_s) for length_s in lengths_s[-3:])  # FFmpeg begins with the last three segments
    assert len(lengths_s) > 3 and {frame.buffered_s for frame in frames} == {behind_s}
    latency = Latency.of(frames[-1], read_s=frames[-1].received_s, now_s=frames[-1].received_s, look_s=None)
    assert latency is not None and behind_s <= latency.total_s < behind_s + 1


def test_the_list_of_one_quality_tells_how_far_behind_it_is_played(tmp_path: Path) -> None:
    (tmp_path / "low").mkdir()
    segments = "".join(f"#EXTINF:{length_s},\n{length_s}.ts\n" for length_s in (7.0, 2.0, 2.0, 1.5))
    (tmp_path / "low" / "list.m3u8").write_text(f"#EXTM3U\n{segments}")
    (tmp_path / "all.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow/list.m3u8\n")
    (tmp_path / "ended.m3u8").write_text(f"#EXTM3U\n{segments}#EXT-X-ENDLIST\n")
    with serve(tmp_path) as address:
        assert seconds_behind(f"{address}/all.m3u8", 5.0) == 5.5
        assert seconds_behind(f"{address}/ended.m3u8", 5.0) == 0.0
        assert seconds_behind(f"{address}/none.m3u8", 5.0) == 0.0


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("webcam:97", "there is no camera 97 .*: connect one"),
        ("tcp://127.0.0.1:9", "cannot be opened .*: check the address"),
        ("rtsp://127.0.0.1:9/a", "cannot be opened .*: check the address"),
    ],
)
def test_what_cannot_be_opened_says_so_at_once(source: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        open_source(source)


def test_sound_alone_is_refused() -> None:
    with pytest.raises(SourceError, match="sends no video"):
        LiveReader("radio", opener=lambda: av.open("sine", "r", format="lavfi"))
