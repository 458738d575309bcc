"""PictureFilter: a chain of FFmpeg's filters, for single pictures."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import av

# The name of a filter, and its options by name.
Step = tuple[str, dict[str, str]]


class PictureFilter:
    """Runs pictures through filters, one in and one out. The chain is built anew where their size or format changes."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = tuple(steps)
        self._kind: tuple[int, int, str] | None = None
        self._graph: av.filter.Graph

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        kind = picture.width, picture.height, picture.format.name
        if kind != self._kind:
            self._graph = self._build(picture)
            self._kind = kind
        self._graph.vpush(picture)
        return self._graph.vpull()

    def _build(self, picture: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        last = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 90_000)
        )
        for name, options in (*self._steps, ("buffersink", {})):
            following = graph.add(name, **options)
            last.link_to(following)
            last = following
        graph.configure()
        return graph
