"""ReadAhead: a source read in a thread of its own.

A second core decodes while the estimator works, and a signal ends the wait for a silent pipe or server.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from mixsynth_stream.pipeline.frame import Frame
from mixsynth_stream.pipeline.sources.source import FrameSource

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.sources.sparse.plan import Needs

# A call of the estimator lasts as long as decoding about ten frames; a decoded 1080p frame holds 3 MB.
_FRAMES = 12
_POLL_S = 0.1
_CLOSE_S = 0.5  # so long a thread that still reads is waited for


class ReadAhead(FrameSource):
    """All frames of another source, in order, read up to twelve ahead. Its errors come after the frames before them."""

    def __init__(self, source: FrameSource) -> None:
        super().__init__()
        self._source = source
        self.info = source.info
        self.counters = source.counters
        self._queue: queue.Queue[Frame | BaseException] = queue.Queue(_FRAMES)
        self._closing = threading.Event()
        self._end: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def read_sparsely(self, needs: Needs) -> None:
        self._source.read_sparsely(needs)

    def restart_needs(self, time_s: float) -> None:
        self._source.restart_needs(time_s)

    def __next__(self) -> Frame:
        if self._end is None:
            item = self._next_item()
            if isinstance(item, Frame):
                return item
            self._end = item
        raise self._end

    def _next_item(self) -> Frame | BaseException:
        while True:
            with suppress(queue.Empty):  # on Windows Ctrl-C ends no wait without a time limit
                return self._queue.get(timeout=_POLL_S)

    def close(self) -> None:
        """End the thread, then close the source: a container must not be closed while it is read.

        A thread that waits for a silent server is left behind, and closes the source when its time is over.
        """
        if not self._closing.is_set():
            self._closing.set()
            self._source.stop()
            self._thread.join(_CLOSE_S)
        self._end = self._end or StopIteration()
        if not self._thread.is_alive():
            self._source.close()

    def _run(self) -> None:
        self._read()
        if self._closing.is_set():
            self._source.close()

    def _read(self) -> None:
        item: Frame | BaseException
        while not self._closing.is_set():
            try:
                item = next(self._source)
            except BaseException as error:  # whatever it is, the consumer raises it
                item = error
            while not self._closing.is_set():
                try:
                    self._queue.put(item, timeout=_POLL_S)
                    break
                except queue.Full:
                    continue
            if not isinstance(item, Frame):
                return
