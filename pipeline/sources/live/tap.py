"""Tap: who sees the packets of a live source on their way to its decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.sources.pixels.pictures import Shape


class Tap:
    """Sees nothing. All methods are called in the thread that captures."""

    def opened(self, stream: av.VideoStream) -> None:
        """The source is open, for the first time or again; nothing of it is decoded yet."""

    def packet(self, packet: av.Packet | None, received_s: float) -> None:
        """The next packet for the decoder, and when it came on the clock of `time.perf_counter`; None at the end."""

    def picture(self, shape: Shape) -> None:
        """The next picture that can be shown, by its shape. They are counted from 0, over all openings."""
