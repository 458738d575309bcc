"""Steps: what a keyframe leads to, up to the network and from there on, so that several streams share its call."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mixsynth_stream.pipeline.course import Seen
from mixsynth_stream.pipeline.window import MotionWindow, push_each

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class Keyframes(NamedTuple):
    """A keyframe for each of W windows, which is still to be pushed."""

    windows: list[MotionWindow]
    poses: list[np.ndarray | None]  # W of [J, D]
    scores: list[np.ndarray | None]  # W of [J]
    times_s: list[float]
    seen: list[Seen | None]


# What goes on once its keyframes are pushed. It gives them once.
Steps = Generator[Keyframes, None, T]


def push_keyframes(batches: Sequence[Keyframes]) -> list[ValueError | None]:
    """Push the keyframes of several streams in one call of each network. Returns the first refusal in each of them."""
    refusals = push_each(
        [window for batch in batches for window in batch.windows],
        [pose for batch in batches for pose in batch.poses],
        [scores for batch in batches for scores in batch.scores],
        [time_s for batch in batches for time_s in batch.times_s],
        [seen for batch in batches for seen in batch.seen],
    )
    owners = [number for number, batch in enumerate(batches) for _ in batch.windows]
    first = {owners[w]: refusals[w] for w in sorted(refusals, reverse=True)}
    return [first.get(number) for number in range(len(batches))]


def completed(steps: Steps[T]) -> T:
    """What steps lead to, with their keyframes pushed."""
    batch = next(steps)
    refusal = push_keyframes([batch])[0]
    if refusal is not None:
        raise refusal
    return result_of(steps)


def result_of(steps: Steps[T]) -> T:
    """What steps lead to whose keyframes are pushed."""
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("steps gave keyframes twice")
