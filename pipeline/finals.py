"""Finals: what becomes final after a keyframe, made piece by piece, so that no frame of now waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion


class Finals:
    """Final Motions that are still to be made, in order. What a keyframe leads to is an iterator of its pieces."""

    def __init__(self) -> None:
        self._gaps: deque[Iterator[list[Motion]]] = deque()

    def add(self, gap: Iterator[list[Motion]]) -> None:
        """Take what is to be made after all that waits."""
        self._gaps.append(gap)

    def piece(self) -> list[Motion]:
        """The next piece of the newest gap, after all of those before it, so that nothing piles up."""
        motions = self._oldest(len(self._gaps) - 1)
        if self._gaps:
            piece = next(self._gaps[0], None)
            if piece is None:
                self._gaps.popleft()
            else:
                motions += piece
        return motions

    def all(self) -> list[Motion]:
        """All that waits."""
        return self._oldest(len(self._gaps))

    def _oldest(self, gaps: int) -> list[Motion]:
        return [motion for _ in range(gaps) for piece in self._gaps.popleft() for motion in piece]
