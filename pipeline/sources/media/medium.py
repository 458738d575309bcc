"""Medium: what lies behind a source's name (a file, a pipe, a server, a temporary copy), and how FFmpeg reads it.

`medium_of` finds it out, and `copy_of` copies what can be read only once.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import output_errors
from mixsynth_stream.pipeline.sources.media import download
from mixsynth_stream.pipeline.sources.media.boxes import BoxOrder
from mixsynth_stream.pipeline.sources.media.names import folder_failure
from mixsynth_stream.pipeline.sources.media.pipe import STDIN, Pipe, is_pipe
from mixsynth_stream.pipeline.sources.media.stores import Reader, is_stored, open_stored

logger = logging.getLogger(__name__)

_HEAD = 1 << 12  # so many bytes say what kind of file it is
# The first words of lists of pieces: HLS and DASH.
_PLAYLISTS = (b"#EXTM3U", b"<?xml", b"<MPD")
_NO_INDEX = "is an MP4 without its index, so it was cut off while recorded or copied: copy it again"
_INDEX_BEHIND = (
    "is an MP4 whose index comes after its pictures, as phones write it, and {why}: give --spool (spool=True), "
    "which copies it into a temporary file first, or put the index in front with "
    "'ffmpeg -i IN.mp4 -c copy -movflags faststart OUT.mp4'"
)


class Medium:
    """A file on a disk, which can be opened again and again. The other media are the classes below."""

    is_local = True  # a file on a disk
    can_reopen = True  # opened a second time, it begins again
    can_share = True  # opened twice at once, each reads for itself
    timeout: tuple[float, float] | None = None  # seconds to open it, and to wait for a packet

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def shown(self) -> str:
        """The name as messages show it."""
        return "- (standard input)" if self.name == STDIN else shown(self.name)

    def target(self) -> Any:
        """What `av.open` takes. Raises OSError and SourceError."""
        if os.path.isdir(self.name):
            raise SourceError(folder_failure(self.name))
        return "file:" + self.name  # without it FFmpeg takes what stands before a colon for a protocol

    def diagnosis(self) -> str:
        """After FFmpeg has failed: why, as the rest of a sentence; "" where that is not known."""
        try:
            with open(self.name, "rb") as file:
                return _diagnosis_of(file.read(_HEAD))
        except OSError:
            return ""

    @property
    def size(self) -> int:
        """How many bytes have come out of it, once it has ended; 0 before that, and where FFmpeg knows it."""
        return 0

    @property
    def failure(self) -> str:
        """Why its bytes have ended before their end, in the system's words; "" where they have not."""
        return ""

    def beginning(self) -> IO[bytes] | None:
        """All of its bytes once more, or the first of them; None where they are gone."""
        try:
            return open(self.name, "rb")
        except OSError:
            return None

    def raise_interruption(self) -> None:
        """Raise what a signal raised while FFmpeg was reading and could not let through."""

    def stop(self) -> None:
        """End a read that waits, in whatever thread it is, and all later ones."""

    def close(self) -> None:
        """Free what is held."""


class OneWayMedium(Medium, ABC):
    """What sends its bytes once, from the first to the last."""

    is_local = can_reopen = can_share = False

    @abstractmethod
    def copy_into(self, file: IO[bytes]) -> None:
        """Copy all of it. Raises SourceError, and OSError where `file` cannot be written."""


class PipeMedium(OneWayMedium):
    """Standard input, a FIFO, a socket, a device."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._pipe: Pipe | None = None
        self._is_stopped = False

    def target(self) -> Pipe:
        pipe = self._pipe
        if pipe is None:
            try:
                pipe = self._pipe = Pipe(self.name)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                raise SourceError(f"{self.shown} is closed: open it, or give a file") from error
            if self._is_stopped:
                pipe.stop()
        if pipe.is_terminal:
            raise SourceError(f"{self.shown} is a terminal, which has no video: pipe a video into it")
        return pipe

    def copy_into(self, file: IO[bytes]) -> None:
        pipe = self.target()
        while data := pipe.read(download.PIECE, to_the_end=True):
            file.write(data)
        self.raise_interruption()
        if self.failure:
            logger.warning("%s broke off: %s", self.shown, self.failure)

    def diagnosis(self) -> str:
        pipe = self._pipe
        if pipe is None:
            return ""
        if self.failure:
            return f"cannot be read any further ({self.failure}): check the program that writes into it"
        if pipe.has_ended and not pipe.boxes.size:
            return "is empty (0 bytes): check the program that writes into it"
        return _index_diagnosis(pipe.boxes, pipe.has_ended, "what comes through a pipe cannot be read twice")

    @property
    def size(self) -> int:
        return self._pipe.boxes.size if self._pipe is not None and self._pipe.has_ended else 0

    @property
    def failure(self) -> str:
        error = self._pipe.error if self._pipe is not None else None
        return (getattr(error, "strerror", None) or str(error)) if isinstance(error, Exception) else ""

    def beginning(self) -> IO[bytes] | None:
        return io.BytesIO(self._pipe.head) if self._pipe is not None else None

    def raise_interruption(self) -> None:
        error = self._pipe.error if self._pipe is not None else None
        if error is not None and not isinstance(error, Exception):
            raise error

    def stop(self) -> None:
        self._is_stopped = True
        if self._pipe is not None:
            self._pipe.stop()

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()


class ServerMedium(OneWayMedium):
    """An address that FFmpeg opens itself."""

    timeout: tuple[float, float] = (download.OPEN_S, download.OPEN_S * download.READ_SHARE)

    def limit(self, open_s: float) -> None:
        """Wait no longer than this for the server to begin, and twice as long for it to go on."""
        self.timeout = (open_s, open_s * download.READ_SHARE)

    def target(self) -> str:
        return self.name

    @property
    def is_web(self) -> bool:
        """Whether a web server is there."""
        return self.name.partition("://")[0].lower() in download.SCHEMES

    def copy_into(self, file: IO[bytes]) -> None:
        if not self.is_web:
            raise SourceError(
                f"{self.shown} is neither a pipe nor on a web server, and --spool copies nothing else: leave it out"
            )
        try:
            answer = download.request(self.name, self.timeout[1])
        except download.FAILURES as error:
            raise SourceError(f"{self.shown} cannot be copied ({error}): check the address") from error
        with answer:
            reason = download.copy(answer, file)
        if reason:
            logger.warning("%s: %s", self.shown, reason)
        file.seek(0)
        if file.read(_HEAD).lstrip().startswith(_PLAYLISTS):
            raise SourceError(f"{self.shown} is a list of pieces, which --spool does not copy: leave --spool out")

    def diagnosis(self) -> str:
        if not self.is_web:
            return ""
        try:
            sight = download.look(self.name, self.timeout[0])
        except download.FAILURES:
            return ""
        if sight.boxes.is_mp4 is False:
            return _diagnosis_of(sight.head)
        if sight.has_ranges and not sight.is_whole:
            return ""  # FFmpeg can go to the index, wherever it is
        return _index_diagnosis(sight.boxes, sight.is_whole, "its server sends files from front to back only")

    def beginning(self) -> IO[bytes] | None:
        if not self.is_web:
            return None
        try:
            return io.BytesIO(download.look(self.name, self.timeout[0]).head)
        except download.FAILURES:
            return None


class StoredMedium(Medium):
    """A file in a bucket, or in another store that fsspec reads. FFmpeg goes back and forth in it."""

    is_local = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._readers: list[Reader] = []

    def target(self) -> Reader:
        try:
            self._readers.append(Reader(open_stored(self.name)))
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            raise SourceError(f"{self.shown} cannot be opened: {error}") from error
        return self._readers[-1]

    def diagnosis(self) -> str:
        if self.failure:
            return f"cannot be read ({self.failure}): check the connection"
        try:
            with open_stored(self.name) as file:
                return _diagnosis_of(file.read(_HEAD))
        except OSError:
            return ""

    @property
    def failure(self) -> str:
        error = next((reader.error for reader in self._readers if reader.error is not None), None)
        return "" if error is None else str(error) or type(error).__name__

    def beginning(self) -> IO[bytes] | None:
        try:
            return open_stored(self.name)
        except OSError:
            return None

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


class HandleMedium(Medium):
    """An open file: a temporary copy of what can be read only once, or a file that stands as standard input."""

    can_share = False

    def __init__(self, name: str, file: IO[bytes]) -> None:
        super().__init__(name)
        self._file = file

    def target(self) -> IO[bytes]:
        self._file.seek(0)
        return self._file

    def diagnosis(self) -> str:
        self._file.seek(0)
        return _diagnosis_of(self._file.read(_HEAD))

    def beginning(self) -> IO[bytes] | None:
        file = os.fdopen(os.dup(self._file.fileno()), "rb")
        file.seek(0)
        return file

    def close(self) -> None:
        self._file.close()


def medium_of(name: str) -> Medium:
    """What lies behind a name. Nothing is opened yet."""
    if is_stored(name):
        return StoredMedium(name)
    if "://" in name:
        return ServerMedium(name)
    if is_pipe(name):
        return PipeMedium(name)
    if name == STDIN:
        return HandleMedium(name, os.fdopen(os.dup(0), "rb"))
    return Medium(name)


def copy_of(medium: Medium) -> Medium:
    """A medium that cannot be opened twice, as a temporary copy; all others as they are.

    The copy has no name on the disk, so that nothing is left of it, however this program ends. Raises SourceError, and
    OutputError where the disk is full.
    """
    if not isinstance(medium, OneWayMedium):
        return medium
    try:
        folder = Path(tempfile.gettempdir())
        with output_errors(folder, f"for the copy of {medium.shown}; TMPDIR chooses another folder"):
            file = tempfile.TemporaryFile()  # noqa: SIM115  it stays open as long as the source
            try:
                medium.copy_into(file)
                file.flush()
            except BaseException:
                with suppress(OSError):
                    file.close()
                raise
    finally:
        medium.close()
    return HandleMedium(medium.name, file)


def _index_diagnosis(boxes: BoxOrder, is_whole: bool, why: str) -> str:
    """What is wrong with an MP4 of which the boxes so far are known; `why` FFmpeg could not go back in it."""
    if not boxes.is_mp4:
        return ""
    if is_whole and not boxes.has_index:
        return _NO_INDEX
    return _INDEX_BEHIND.format(why=why) if boxes.index_is_behind else ""


def _diagnosis_of(head: bytes) -> str:
    """What a file is that FFmpeg takes for no video, by its first bytes."""
    if not head:
        return "is empty (0 bytes): copy or record it again"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page, not a video: give the video itself or its address"
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 2:
        return "is an animated WebP, which FFmpeg does not read: make a video of it, as 'magick IN.webp OUT.mp4' does"
    boxes = BoxOrder()
    boxes.feed(head)
    return _NO_INDEX if boxes.is_mp4 else ""
