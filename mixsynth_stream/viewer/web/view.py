"""WebView: a sink that shows a stream in a web page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mixsynth_stream.console import shown
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.viewer.web import messages
from mixsynth_stream.viewer.web.access import Address
from mixsynth_stream.viewer.web.feed import Feed, Watched
from mixsynth_stream.viewer.web.server import Channel, Server

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion

log = logging.getLogger(__name__)


CHANNEL_PATH = "/poses"


class MotionChannel(Channel, Protocol):
    """What programs read beside the page."""

    def write(self, motion: Motion) -> None: ...

    def tell(self, event: SourceEvent) -> None: ...


class WebView(SinkBase):
    """Serves the page while it is open, at `url`, and the `channel` for programs beside it.

    No viewer that comes, goes or lags holds up the stream.
    """

    def __init__(
        self,
        stream: Watched,
        address: Address | None = None,
        *,
        horizon_s: float = 0.4,
        channel: MotionChannel | None = None,
    ) -> None:
        """Raises `OutputError` where the page cannot be served."""
        super().__init__(None)
        source = "pushed frames" if stream.info is None else shown(stream.info.source)
        if "://" not in source:
            source = Path(source).name or source  # who watches need not know the folder
        self.feed = Feed(stream)
        self._channel = channel
        try:
            self.server = Server(
                address or Address(),
                hello=messages.hello(source, live=stream.live, horizon_s=horizon_s),
                answer=self.feed.answer,
                channels={} if channel is None else {CHANNEL_PATH: channel},
            )
        except BaseException:
            self.feed.close()
            raise
        if self.server.access.token is not None:
            log.warning("the view goes over the network as it is, without encryption: use it where you trust everybody")

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self.server.url

    def write(self, motion: Motion) -> None:
        """Show a Motion to who asks for it."""
        self.feed.write(motion)
        if self._channel is not None:
            self._channel.write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Tell programs what has happened to a live source."""
        if self._channel is not None:
            self._channel.tell(event)

    def _finish(self) -> None:
        self.feed.close()
        self.server.close()
