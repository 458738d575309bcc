"""Journal: what a live stream learns from clocks, threads and its estimator. Others keep it, or give it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion


class Journal:
    """The journal of a stream that nobody records: each question is answered by what happens now.

    All that a live stream does follows from its frames and from these answers, in their order.
    """

    is_replay = False
    is_led = False  # whether the stream is one of several, which are led in turn

    def begin(self, settings: Mapping[str, Any]) -> None:
        """The stream starts, with these arguments and facts, which JSON can hold."""

    def ask(self, kind: str, answer: Callable[[], Any]) -> Any:
        """The answer to a question of this kind, which JSON can hold."""
        return answer()

    def has_come(self, kind: str, count: int, is_now: bool) -> bool:
        """Whether something that happens at most once has happened, asked for the time number `count`."""
        return is_now

    def step(self, kind: str) -> None:
        """A stream that is led goes on, without a frame: `kind` is one of those of `Engine.repeat`."""

    def check(self, motions: Sequence[Motion]) -> None:
        """These Motions have come of the newest frame and answers."""

    def check_later(self, finals: Sequence[Motion]) -> None:
        """These have come when the newest frame was out. They are checked with the next turn that is no step."""
