"""Budget: how many estimator calls a stream may make that chooses its keyframes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from mixsynth_stream.pipeline.keyframes import LEAST_STEPS, MOST_STEPS
from mixsynth_stream.spaces import GRID_HZ

# Keyframes are neither closer nor farther apart than the chooser puts them.
LEAST_HZ, MOST_HZ = GRID_HZ / MOST_STEPS, GRID_HZ / LEAST_STEPS
# Of files: that of a keyframe every 10 steps. A live source may look as often as its estimator is free.
_FILE_HZ, _LIVE_HZ = 3.0, MOST_HZ


@dataclass(frozen=True)
class Budget:
    """Estimator calls a second, or a share of one core for the estimator of a live source."""

    calls_hz: float
    core_share: float | None = None  # of wall-clock time; `calls_hz` then holds until a call was timed

    @classmethod
    def of(cls, budget: float | str | None, *, live: bool) -> Budget:
        """`budget`: calls a second, a text such as "25%", or None for the default. `ValueError` says what is possible.

        A share of a core is measured, so files cannot have it: they come out the same each time.
        """
        if budget is None:
            return cls(_LIVE_HZ if live else _FILE_HZ)
        text = str(budget).strip()
        is_share = isinstance(budget, str) and text.endswith("%")
        number = _number(text.removesuffix("%") if is_share else text) if isinstance(budget, (str, Real)) else math.nan
        if is_share:
            if not 0 < number <= 100:
                raise ValueError(f"budget as a share of a core must be above 0% and at most 100%, found {budget!r}")
            if not live:
                raise ValueError(
                    f"budget {text} is a share of a core, which depends on the machine, and a file comes out the same "
                    f"everywhere: give {LEAST_HZ:g} to {MOST_HZ:g} estimator calls a second"
                )
            return cls(_FILE_HZ, number / 100)
        if not LEAST_HZ <= number <= MOST_HZ:
            raise ValueError(
                f"budget must be {LEAST_HZ:g} to {MOST_HZ:g} estimator calls a second, or a share of a core such as "
                f"'25%' for a live source, found {budget!r}"
            )
        return cls(number)

    def __str__(self) -> str:
        return f"{self.calls_hz:g} calls/s" if self.core_share is None else f"{100 * self.core_share:g}% of a core"

    def hz(self, seconds: float, calls: int) -> float:
        """Calls a second, where `calls` of them took `seconds` so far."""
        if self.core_share is None or not calls or seconds <= 0:
            return self.calls_hz
        return min(max(self.core_share * calls / seconds, LEAST_HZ), MOST_HZ)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
