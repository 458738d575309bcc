"""WebView: a sink that shows a stream in a web page."""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mixsynth_stream.console import shown
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


class MotionChannel(Channel, Protocol):
    """What programs read beside the page."""

    def write(self, motion: Motion) -> None: ...

    def tell(self, event: SourceEvent) -> None: ...


class WebView(SinkBase):
    """Serves the page while it is open, at `url`, and the `channel` for programs beside it.

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
        channel: MotionChannel | None = None,
    ) -> None:
        """Raises `OutputError` where the page cannot be served."""
        super().__init__(None)
        self.closing = threading.Event()
        address = address or Address()
        is_live = stream is None or stream.live
        skeleton = BLAZEPOSE_33.name if stream is None else stream.skeleton
        source = shown(source if stream is None or stream.info is None else stream.info.source)
        if "://" not in source:
            source = Path(source).name or source  # who watches need not know the folder
        self._hello = partial(messages.hello, source, live=is_live, horizon_s=horizon_s, may_end=address.is_loopback)
        self.feed = Feed(stream)
        self._channel = channel
        try:
            self.server = Server(
                address,
                hello=self._hello(skeleton=SKELETONS[skeleton]),
                answer=self.feed.answer,
                channels={} if channel is None else {CHANNEL_PATH: channel},
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

    def watch(self, stream: Watched, channel: MotionChannel | None = None) -> None:
        """The source is open: this is its stream, and its channel for programs."""
        self.feed.watch(stream)
        self.server.greet(self._hello(skeleton=SKELETONS[stream.skeleton]))
        if channel is not None:
            self._channel = channel
            self.server.add_channel(CHANNEL_PATH, channel)

    def write(self, motion: Motion) -> None:
        """Show a Motion to who asks for it."""
        self.feed.write(motion)
        if self._channel is not None:
            self._channel.write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Tell who watches, and programs, what has happened to the source."""
        self.feed.tell(event)
        if self._channel is not None:
            self._channel.tell(event)

    def _finish(self) -> None:
        self.feed.close()
        self.server.close()
