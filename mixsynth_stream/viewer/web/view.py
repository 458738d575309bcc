"""WebView: a sink that shows a stream in a web page."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from mixsynth_stream.console import source_name
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.skeleton import BLAZEPOSE_33, SKELETONS
from mixsynth_stream.viewer.web import messages
from mixsynth_stream.viewer.web.access import Address
from mixsynth_stream.viewer.web.feed import Feed, Watched
from mixsynth_stream.viewer.web.server import Channel, Server

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion

log = logging.getLogger(__name__)


CHANNEL_PATH = "/poses"


class WebView(SinkBase):
    """Serves the page while it is open, at `url`, and a channel for programs beside it.

    No viewer that comes, goes or lags holds up the stream. `closed` is True, and `closing` set, once a page of this
    machine has ended the stream. Without a stream the page says that its `source` is opened, until `watch` brings it.
    """

    def __init__(
        self,
        stream: Watched | None,
        address: Address | None = None,
        *,
        horizon_s: float = 0.4,
        source: str = "pushed frames",
    ) -> None:
        """Raises `OutputError` where the page cannot be served."""
        super().__init__(None)
        self.closing = threading.Event()
        address = address or Address()
        is_live = stream is None or stream.live
        skeleton = BLAZEPOSE_33.name if stream is None else stream.skeleton
        # Who watches need not know the folder.
        self.source = source_name(source if stream is None or stream.info is None else stream.info.source)
        self._hello = partial(
            messages.hello, self.source, live=is_live, horizon_s=horizon_s, may_end=address.is_loopback
        )
        self.feed = Feed(stream)
        try:
            self.server = Server(
                address,
                hello=self._hello(skeleton=SKELETONS[skeleton]),
                answer=self.feed.answer,
                end=self.closing.set if address.is_loopback else None,
            )
        except BaseException:
            self.feed.close()
            raise
        if self.server.access.token is not None:
            log.warning("the view goes over the network as it is, without encryption: use it where you trust everybody")

    @property
    def closed(self) -> bool:
        """Whether a page has ended the stream."""
        return self.closing.is_set()

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self.server.url

    def __enter__(self) -> WebView:
        return self

    def watch(self, stream: Watched) -> None:
        """The source is open: this is its stream."""
        self.feed.watch(stream)
        self.server.greet(self._hello(skeleton=SKELETONS[stream.skeleton]))

    def add_channel(self, channel: Channel) -> None:
        """Serve programs beside the page."""
        self.server.add_channel(CHANNEL_PATH, channel)

    def write(self, motion: Motion) -> None:
        """Show a Motion to who asks for it."""
        self.feed.write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Tell who watches what has happened to the source."""
        self.feed.tell(event)

    def _finish(self) -> None:
        self.feed.close()
        self.server.close()
