"""Estimator: what finds people in a picture. CallableEstimator: a function of the user's as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.checks import (
    check_body,
    check_ids,
    check_person,
    check_skeleton,
    warn_of_odd_poses,
)
from mixsynth_stream.pipeline.estimators.later import awaited, patience_of
from mixsynth_stream.pipeline.motion import Expected, Person
from mixsynth_stream.skeleton import SMPL_24

# So many people at least are looked at before it is told that poses look odd.
_EARLY_PEOPLE = 20


@runtime_checkable
class Estimator(Protocol):
    """Anything that finds people in a picture."""

    skeleton: str  # one of `LANDMARKS`, such as "BlazePose-33" and "COCO-17", or "SMPL-24" for rotations

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8
        """The people in one frame: poses in pixels of this frame, worlds in metres about the hips, scores 0..1.

        Of SMPL: rotations, scores, and an id that says who it is from frame to frame. Where a user's own estimator
        returns a `concurrent.futures.Future` of them, `CallableEstimator` waits for it.
        """

    def forget(self) -> None:
        """Forget the people of earlier frames: the next frame shows another scene."""

    def close(self) -> None:
        """Free what the estimator holds."""


class CallableEstimator:
    """A user's callable `(rgb, time_s) -> people`, each a `Person` or a tuple, checked.

    The tuple is (pose, world, scores), with None for a world that is not known, or (rotations, scores, id) where the
    skeleton is SMPL-24. The callable may return a `concurrent.futures.Future` of its people instead, a new one for each
    frame: they count for the time of that frame, whenever they come. An answer that does not come within its attribute
    `patience_s` is given up.
    """

    def __init__(self, function: Callable[..., Sequence[Any] | Future[Sequence[Any]]], skeleton: str) -> None:
        kind = check_skeleton(skeleton)
        self.skeleton = kind.name
        self._check = check_body if kind is SMPL_24 else partial(check_person, skeleton=kind)
        self._function = function
        self.follows = follows(function)
        self._patience_s = patience_of(function)
        self._last: Any = None  # the answer before, where it was a future
        self._early: list[Person] | None = None if kind is SMPL_24 else []  # until they have been looked at

    def __call__(
        self,
        rgb: np.ndarray,  # [H, W, 3] uint8
        time_s: float,
        **expectation: Expected,  # `expected`, where the callable follows
    ) -> list[Person]:
        """The callable's people, which are waited for; `ModelError` says which value is wrong."""
        answer = self._function(rgb, time_s, **expectation)
        if isinstance(answer, Future):
            if answer is self._last:
                raise ModelError(
                    f"the estimator returned the same future for another frame, at {time_s:.3f} s: give each frame a "
                    "future of its own"
                )
            self._last = answer
        people = awaited(answer, self._patience_s)
        if isinstance(people, Person) or not isinstance(people, Sequence):
            raise ModelError(
                f"an estimator must return a list of people (empty: nobody), found {type(people).__name__}"
            )
        checked = [self._check(person, f"person {p} at {time_s:.3f} s") for p, person in enumerate(people)]
        check_ids(checked, f"the people at {time_s:.3f} s")
        self._look_at(checked)
        return checked

    def _look_at(self, people: list[Person]) -> None:
        """Tell once where the first people look odd."""
        if self._early is None:
            return
        self._early += people
        if len(self._early) >= _EARLY_PEOPLE:
            warn_of_odd_poses(self._early, check_skeleton(self.skeleton), "the estimator")
            self._early = None

    def forget(self) -> None:
        """Tell the callable to forget the people of earlier frames, where it can be told."""
        forget = getattr(self._function, "forget", None)
        if callable(forget):
            forget()

    def close(self) -> None:
        """Close the callable, where it can be closed."""
        close = getattr(self._function, "close", None)
        if callable(close):
            close()


def follows(estimator: Any) -> bool:
    """Whether an estimator wants to know whom a stream expects where: the keyword `expected` of its call."""
    return bool(getattr(estimator, "follows", False))
