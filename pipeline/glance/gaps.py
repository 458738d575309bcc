"""Gaps: what glances know of the time before a keyframe, once somebody reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mixsynth_stream.pipeline.glance.back import Back

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.glance.evidence import Glimpses
    from mixsynth_stream.pipeline.people import Scene

# So many pictures of the way back are walked at once, beside a frame of now.
_PICTURES_A_PIECE = 3


@dataclass(frozen=True)
class Gaps:
    """The scene after a keyframe, and for each track what is known of the gap before it, or the way back through it."""

    known: Scene
    by_track: Mapping[int, Glimpses | Back | None] = field(default_factory=dict)

    def walk(self) -> Iterator[None]:
        """Walk all ways back, in pieces."""
        pictures = 0
        for gap in self.by_track.values():
            while isinstance(gap, Back) and gap.walk():
                pictures += 1
                if pictures % _PICTURES_A_PIECE == 0:
                    yield

    @property
    def scene(self) -> Scene:
        """The scene with what is known of the gaps. What was not walked yet is walked."""
        if not self.by_track:
            return self.known
        glimpses = {track: gap.glimpses if isinstance(gap, Back) else gap for track, gap in self.by_track.items()}
        return with_glimpses(self.known, glimpses)


def with_glimpses(scene: Scene, glimpses: Mapping[int, Glimpses | None]) -> Scene:
    """The scene whose tracks know what glances saw of them."""
    tracks = (replace(track, glimpses=glimpses.get(track.id)) for track in scene.tracks)
    return replace(scene, tracks=tuple(tracks))
