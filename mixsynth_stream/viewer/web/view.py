"""WebView: a sink that shows a stream in a web page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mixsynth_stream.console import source_names
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
    With `others` the page lets its user choose among several sources, and each of them has a `sink` of its own.
    """

    def __init__(
        self,
        stream: Watched | None,
        address: Address | None = None,
        *,
        horizon_s: float = 0.4,
        source: str = "pushed frames",
        others: Sequence[str] = (),
    ) -> None:
        """Raises `OutputError` where the page cannot be served."""
        super().__init__(None)
        self.closing = threading.Event()
        address = address or Address()
        is_live = stream is None or stream.live
        skeleton = BLAZEPOSE_33.name if stream is None else stream.skeleton
        # Who watches need not know the folder.
        first = source if stream is None or stream.info is None else stream.info.source
        self.sources = source_names([first, *others])
        self._hello = partial(
            messages.hello, self.sources, live=is_live, horizon_s=horizon_s, may_end=address.is_loopback
        )
        self.channel: Channel | None = None
        self.feeds = [Feed(stream), *(Feed(None) for _ in others)]
        try:
            self.server = Server(
                address,
                hellos=[self._hello(number, skeleton=SKELETONS[skeleton]) for number in range(len(self.feeds))],
                answers=[feed.answer for feed in self.feeds],
                end=self.closing.set if address.is_loopback else None,
            )
        except BaseException:
            self._close_feeds()
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

    def watch(self, stream: Watched, number: int = 0) -> None:
        """A source is open: this is its stream."""
        self.feeds[number].watch(stream)
        self.server.greet(self._hello(number, skeleton=SKELETONS[stream.skeleton]), number)

    def add_channel(self, channel: Channel) -> None:
        """Serve programs beside the page."""
        self.channel = channel
        self.server.add_channel(CHANNEL_PATH, channel)

    def sink(self, number: int) -> SourceView:
        """The sink of one of several sources. The page goes on when it ends."""
        return SourceView(self, number)

    def end(self, number: int, reason: str | None) -> None:
        """One of several sources has ended, or could not be opened."""
        self.feeds[number].close(reason)
        if self.channel is not None:
            self.channel.end(number, reason)

    def write(self, motion: Motion) -> None:
        """Show a Motion to who asks for it."""
        self.feeds[0].write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Tell who watches what has happened to the source."""
        self.feeds[0].tell(event)

    def _finish(self) -> None:
        self._close_feeds()
        self.server.close()

    def _close_feeds(self) -> None:
        for feed in self.feeds:
            feed.close()


class SourceView(SinkBase):
    """One of several sources on a page. `closed` is that of the page."""

    def __init__(self, view: WebView, number: int) -> None:
        super().__init__(None)
        self._view, self._feed = view, view.feeds[number]

    @property
    def closed(self) -> bool:
        """Whether a page has ended the program."""
        return self._view.closed

    def write(self, motion: Motion) -> None:
        """Show a Motion to who asks for it."""
        self._feed.write(motion)

    def tell(self, event: SourceEvent) -> None:
        """Tell who watches what has happened to the source."""
        self._feed.tell(event)

    def _finish(self) -> None:
        self._feed.close()
