"""Store: the files of a recording, written in a thread. A full disk ends the recording, never the stream."""

from __future__ import annotations

import base64
import logging
import os
import threading
import zlib
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from mixsynth_stream.console import shown
from mixsynth_stream.errors import OutputError
from mixsynth_stream.files import PartFile, part_path
from mixsynth_stream.pipeline.sources.recording.header import JOURNAL, refuse_used
from mixsynth_stream.pipeline.sources.recording.lines import line_of
from mixsynth_stream.pipeline.sources.recording.raw import RAW, RawCoder, coder_for
from mixsynth_stream.pipeline.sources.recording.start_codes import parameter_sets, with_start_codes

logger = logging.getLogger(__name__)

# A disk that is slower than the source gets so far behind, and no further.
_MOST_WAITING_BYTES = 64_000_000
# Closing waits no longer for a slow disk; what is there then can be replayed.
_CLOSE_S = 1.5


class Store:
    """Lines for the journal, and packets for the video files beside it, in the order in which they come.

    With its first packet each opening of the source begins a video file, in which its packets stand one after the
    other: what FFmpeg calls an elementary stream. Files are named `.part` until they are complete. All methods are for
    any thread.
    """

    def __init__(self, folder: Path) -> None:
        """`OutputError` where the folder cannot be written, or holds anything yet."""
        refuse_used(folder)
        self.folder = folder
        self._journal = PartFile(folder / JOURNAL)
        self._video: PartFile | None = None
        self._videos = 0
        self._items: deque[tuple[dict[str, Any], bytes]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._has_failed = False
        self._opened: dict[str, Any] | None = None  # the record of an opening that no packet has come of yet
        self._raw: dict[str, Any] | None = None  # parameters of raw pictures, until the first of them has come
        self._coder: RawCoder | None = None
        self._codec = ""
        self._sets: bytes | None = None  # parameter sets of packets with lengths, and those not written yet
        self._head: bytes | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, record: dict[str, Any], data: bytes = b"") -> None:
        """Take the next line, and the packet that it describes."""
        with self._changed:
            if self._has_failed or self._is_closed:
                return
            self._waiting_bytes += len(data)
            self._items.append((record, data))
            self._changed.notify()
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            self.stop("the disk is slower than the source; choose another folder")

    def stop(self, reason: str) -> None:
        """End the recording, and say so once."""
        with self._changed:
            has_failed, self._has_failed = self._has_failed, True
            self._items.clear()
        if not has_failed:
            logger.warning("the recording in %s ends here, and the stream goes on: %s", shown(self.folder), reason)

    def close(self, *, is_complete: bool = True) -> None:
        """Write what waits. A complete recording gets the names of its files; of one that never began nothing stays."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            return
        for file in (self._video, self._journal):
            self._finish(file)
        if not is_complete:
            with suppress(OSError):
                for path in (*self.folder.glob("video-*"), self._journal.path, part_path(self._journal.path)):
                    path.unlink(missing_ok=True)
                self.folder.rmdir()

    def _finish(self, file: PartFile | None) -> None:
        """Close a file, and give it its name where it is whole."""
        with suppress(OutputError, OSError):
            if file is not None:
                file.finish()
                if not self._has_failed:
                    os.replace(part_path(file.path), file.path)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._is_closed)
                if not self._items:
                    return
                record, data = self._items.popleft()
                self._waiting_bytes -= len(data)
            try:
                self._write(record, data)
            except OutputError as error:
                self.stop(str(error))
            except Exception as error:  # whatever it is, the stream goes on
                self.stop(repr(error))

    def _write(self, record: dict[str, Any], data: bytes) -> None:
        if "opened" in record:
            self._opened = record
            return
        if "flush" in record and self._opened is not None:
            return  # nothing lies in the decoder
        if data:
            self._begin_video()
        if data and self._video is not None:
            if self._raw is not None:
                self._coder, self._raw = coder_for(self._raw, data), None
                if self._coder is not None:
                    self._journal.append(line_of({"coded": self._coder.parameters}))
            if self._coder is not None:
                data = self._coder.coded(data)
            else:
                record, data = self._playable(record, data)
            self._video.append(data)
            record = record | {"size": len(data), "crc32": zlib.crc32(data)}
        self._journal.append(line_of(record))

    def _playable(self, record: dict[str, Any], packet: bytes) -> tuple[dict[str, Any], bytes]:
        """A packet as players take it, after parameter sets where these are new, and its record."""
        if "extradata" in record:
            self._sets = self._head = parameter_sets(self._codec, base64.b64decode(record["extradata"]))
        coded = None if self._sets is None else with_start_codes(packet)
        if coded is None:
            return record, packet
        head, self._head = self._head or b"", None
        return record | {"start_codes_after": len(head)}, head + coded

    def _begin_video(self) -> None:
        """Begin the file of an opening, with its first packet."""
        if self._opened is None:
            return
        opened, self._opened = self._opened, None
        self._finish(self._video)
        self._videos += 1
        self._codec = codec = opened["opened"]["codec"]
        self._video = PartFile(self.folder / f"video-{self._videos}.{codec}")
        self._raw, self._coder = opened["opened"] if codec == RAW else None, None
        extradata = opened["opened"].get("extradata")
        self._sets = self._head = parameter_sets(codec, None if extradata is None else base64.b64decode(extradata))
        self._journal.append(line_of(opened | {"file": self._video.path.name}))
