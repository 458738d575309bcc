"""Media: pipes and servers are read once, copied where the user says so, and their sentences say what is true."""

from __future__ import annotations

import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from support import clips
from support.file_server import serve

from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.sources.video import VideoReader

BEHIND = "index comes after its pictures"
CUT = "MP4 without its index, so it was cut off"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes with names are Unix's")


@contextmanager
def fifo(path: Path, data: bytes) -> Iterator[str]:
    """A FIFO into which a thread writes `data` once."""
    name = path.with_suffix(".fifo")
    os.mkfifo(name)

    def write() -> None:
        with open(name, "wb", buffering=0) as file:
            try:
                file.write(data)
            except BrokenPipeError:
                return  # the reader has seen enough

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield str(name)
    finally:
        writer.join(5)
        name.unlink()


@contextmanager
def descriptor(data: bytes) -> Iterator[str]:
    """What `<(...)` of a shell is: the path of an open end of a pipe."""
    with tempfile.TemporaryDirectory() as folder, fifo(Path(folder) / "a", data) as name:
        number = os.open(name, os.O_RDONLY)
        try:
            yield f"/dev/fd/{number}"
        finally:
            os.close(number)


@contextmanager
def unix_socket(data: bytes) -> Iterator[str]:
    """The path of one end of a connection, which cannot be opened as a file."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=lambda: (theirs.sendall(data), theirs.close()), daemon=True)
    sender.start()
    with ours:
        yield f"/dev/fd/{ours.fileno()}"
        sender.join(5)


def mid_group(path: Path) -> Path:
    """A transport stream whose first pictures lack the keyframe before them: 44 of its 55 can be decoded."""
    whole = clips.make(path.with_suffix(".mkv"), frames=60, options={"bf": "0", "sc_threshold": "0"})
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number >= 5:
                packet.stream = stream
                target.mux(packet)
    return path


def frames_of(source: str, **options: bool) -> list[int]:
    with open_source(source, **options) as reader:
        return [frame.index for frame in reader]


@pytest.mark.parametrize("pipe", [fifo, descriptor, unix_socket])
def test_what_can_be_read_once_is_opened_once(tmp_path: Path, pipe: object) -> None:
    """A decoder holds pictures back where the first ones lack their keyframe: nobody may open the source for them."""
    path = mid_group(tmp_path / "a.ts")
    expected = frames_of(str(path))
    assert len(expected) >= 48
    with pipe(path.read_bytes()) if pipe is not fifo else fifo(path, path.read_bytes()) as name:  # type: ignore[operator]
        assert frames_of(name) == expected


def test_a_descriptor_of_a_process_with_many_files(tmp_path: Path) -> None:
    """`select` takes none above 1023."""
    path = clips.make(tmp_path / "a.ts", frames=10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("this system allows no such number")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        with fifo(path, path.read_bytes()) as name:
            assert len(frames_of(name)) == 10
    finally:
        for other in others:
            os.close(other)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def broken_connection(data: bytes) -> Iterator[str]:
    """The path of a connection that is reset behind `data`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    with receiver:
        sender.sendall(data)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sender.close()
        yield f"/dev/fd/{receiver.fileno()}"


@pytest.mark.skipif(sys.platform != "linux", reason="others drop what was sent before a reset")
def test_a_connection_that_breaks_is_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A transport stream says nowhere how long it is, so that only the system knows."""
    data = clips.make(tmp_path / "a.ts", frames=60).read_bytes()
    indices: list[int] = []
    with broken_connection(data) as name, pytest.raises(SourceError, match="any further .Connection reset"):
        indices.extend(frame.index for frame in open_source(name))
    assert indices == list(range(60))
    with broken_connection(data) as name:
        assert frames_of(name, spool=True) == indices
    assert "broke off: Connection reset" in caplog.text


def test_standard_input_by_its_path(tmp_path: Path) -> None:
    path = mid_group(tmp_path / "a.ts")
    code = "from mixsynth_stream.pipeline.sources.open import open_source; print(len([*open_source('/dev/stdin')]))"
    piped = subprocess.run([sys.executable, "-c", code], input=path.read_bytes(), capture_output=True, check=True)
    assert int(piped.stdout) == len(frames_of(str(path)))


def test_an_index_at_the_end_of_a_pipe(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mov", frames=300, size=(320, 240))
    with fifo(path, path.read_bytes()) as name, pytest.raises(SourceError, match=BEHIND) as caught:
        open_source(name)
    for part in (name, "--spool", "faststart"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "cut off" not in str(caught.value)
    with fifo(path, path.read_bytes()) as name:
        assert len(frames_of(name, spool=True)) == 300


def test_an_index_that_comes_soon_is_no_trouble(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mov", frames=10)
    assert path.stat().st_size < 1 << 14
    with fifo(path, path.read_bytes()) as name:
        assert len(frames_of(name)) == 10


def test_a_file_that_is_really_cut_off_says_so_through_a_pipe(tmp_path: Path) -> None:
    data = clips.make(tmp_path / "a.mov", frames=60, size=(320, 240)).read_bytes()
    for spool in (False, True):
        with fifo(tmp_path / "cut", data[: len(data) // 2]) as name, pytest.raises(SourceError, match=CUT):
            open_source(name, spool=spool)
    front = clips.truncated(tmp_path / "front.mp4", size=(320, 240))
    whole: list[int] = []
    with fifo(front, front.read_bytes()) as name, pytest.raises(SourceError, match=r"is cut off after \d\d frames"):
        whole.extend(frame.index for frame in open_source(name))
    assert len(whole) > 20


def test_a_pipe_of_nothing_and_a_pipe_of_text(tmp_path: Path) -> None:
    with fifo(tmp_path / "a", b"") as name, pytest.raises(SourceError, match="is empty"):
        open_source(name)
    with fifo(tmp_path / "a", b"no video\n" * 100) as name, pytest.raises(SourceError, match="is not a video"):
        open_source(name)


def test_an_index_at_the_end_over_http(tmp_path: Path) -> None:
    large = {"size": (320, 240), "codec": "mjpeg", "pix_fmt": "yuvj420p"}  # larger than FFmpeg's buffer
    data = clips.make(tmp_path / "behind.mov", frames=90, **large).read_bytes()
    (tmp_path / "cut.mov").write_bytes(data[: len(data) // 2])
    (tmp_path / "page").mkdir()
    with serve(tmp_path) as address:
        with pytest.raises(SourceError, match=BEHIND) as caught:
            open_source(f"{address}/behind.mov")
        assert "--spool" in str(caught.value)
        assert "faststart" in str(caught.value)
        with open_source(f"{address}/behind.mov", spool=True) as reader:
            assert not reader.info.live
            assert len(list(reader)) == 90
        for spool in (False, True):
            with pytest.raises(SourceError, match=CUT):
                open_source(f"{address}/cut.mov", spool=spool)
        with pytest.raises(SourceError, match="404"):
            open_source(f"{address}/none.mov", spool=True)
        with pytest.raises(SourceError, match="is a web page"):
            open_source(f"{address}/page/")


def test_spool_refuses_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.ts\n")
    with serve(tmp_path) as address, pytest.raises(SourceError, match="list of pieces"):
        open_source(f"{address}/a.m3u8", spool=True)
    with pytest.raises(SourceError, match="neither"):
        open_source("ftp://127.0.0.1:9/a.mp4", spool=True)


def test_a_copy_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    path = clips.make(tmp_path / "a.mov", frames=20)
    with fifo(path, path.read_bytes()) as name, open_source(name, spool=True) as reader:
        next(iter(reader))
        assert not list((tmp_path / "copies").iterdir())


def test_no_room_for_a_copy(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mov", frames=60, size=(320, 240))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with fifo(path, path.read_bytes()) as name:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            with pytest.raises(OutputError, match="TMPDIR") as caught:
                open_source(name, spool=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert name in str(caught.value)


def test_spool_leaves_files_as_they_are(tmp_path: Path) -> None:
    with VideoReader(clips.make(tmp_path / "a.mp4", frames=5), spool=True) as reader:
        assert len(list(reader)) == 5
