"""AverageRate: frames a second by their time stamps, for the headers of result files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion


class AverageRate:
    """(n - 1) / (last - first) of the final Motions. Until there are two: `opening_hz`, what the source said itself."""

    def __init__(self, opening_hz: float | None = None) -> None:
        self._opening_hz = opening_hz
        self._frames = 0
        self._first_s = self._last_s = 0.0

    def add(self, motion: Motion) -> None:
        """Count a Motion, if it is final."""
        if motion.final:
            self._first_s = self._first_s if self._frames else motion.time_s
            self._last_s = motion.time_s
            self._frames += 1

    @property
    def hz(self) -> float | None:
        """Frames a second; None where nothing is known."""
        seconds = self._last_s - self._first_s
        return (self._frames - 1) / seconds if seconds > 0 else self._opening_hz
