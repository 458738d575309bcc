"""Gaps: what glances know of the time before a keyframe, once somebody reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mixsynth_stream.pipeline.glance.back import Back
from mixsynth_stream.pipeline.people import Scene, TrackCurves

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.glance.evidence import Glimpses

# So many pictures of each way back are walked at once, beside a frame of now.
_PICTURES_A_PIECE = 2


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
                if pictures % (_PICTURES_A_PIECE * len(self.by_track)) == 0:
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
    # Without `dataclasses.replace`, which takes a while, and each frame comes by.
    tracks = tuple(TrackCurves(one.id, one.curves, one.until_s, glimpses.get(one.id)) for one in scene.tracks)
    return Scene(tracks, scene.spaces, scene.has_sigma, scene.correction, scene.skeleton)
