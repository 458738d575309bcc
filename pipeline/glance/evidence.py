"""Glimpses: what glances know of one person, fused with the window's curves by precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mixsynth_stream.pipeline.course import Shifts
from mixsynth_stream.pipeline.curve import SAME_TIME_S, Curve, WindowPoses, native
from mixsynth_stream.pipeline.glance.weigh import jitter_px
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.skeleton import CORE_17
from mixsynth_stream.spaces import Space

# The share of a pose followed where the weights carry no table that the window's sigma could come from.
_TRUST_WITHOUT_SIGMA = 0.7
# The correction lasts, and its velocity, taken over so long, counts for as long again (docs/experiments-window.md).
VELOCITY_S = 0.1
# The picture says nothing of depth, and its scale is an estimate: this share of a correction goes to the world pose.
_WORLD_SHARE = 0.75
# Plain numbers, because numpy takes long to look at members of an enumeration. Origins up to MEASURED are no guesses.
_MEASURED, _TRACKED = np.uint8(Origin.MEASURED), np.uint8(Origin.TRACKED)
_HIPS = [CORE_17.index("left_hip"), CORE_17.index("right_hip")]


@dataclass(frozen=True)
class Glimpses:
    """Poses of one person that were followed in the picture, at G times that increase."""

    time_s: np.ndarray  # [G]
    poses: np.ndarray  # [G, 17, 2] pixels
    sigma: np.ndarray  # [G, 17] pixels
    trust: float  # the share of `sigma` that counts where it is weighed against the window's
    worth: float  # what they count for by the gaps before, 0 to 1
    scale: float  # the body scale, in pixels
    followed: np.ndarray  # [G, 17] bool: whether the picture showed the joint at all
    since_s: float  # the newest keyframe: glimpses before it lie in gaps
    pixels_per_m: float  # of the person's middle

    def at(self, curves: Sequence[Curve], times: np.ndarray) -> list[WindowPoses]:  # [M] seconds
        """The poses of a person's curves, one of each space, corrected by what was seen in the picture."""
        # The last glimpse and one shortly before it say how the correction goes on.
        all_times = np.concatenate([times, self._newest_s])
        by_space = [curve.at(all_times) for curve in curves]
        image = next(i for i, curve in enumerate(curves) if curve.space.name == "image")
        core, sigma = curves[image].space.core, by_space[image].sigma
        corrections, fused, followed = self._native.at(
            all_times, by_space[image].poses.take(core, axis=1), None if sigma is None else sigma.take(core, axis=1)
        )
        count = len(times)
        results = []
        for i, (curve, window) in enumerate(zip(curves, by_space, strict=True)):
            origin, own = window.origin[:count], None if window.sigma is None else window.sigma[:count]
            shift = corrections if i == image else self._in_world(corrections)
            if i == image:
                origin = _seen_origin(origin, followed.take(curve.space.carrier, axis=1))
                if fused is not None and own is not None:
                    own = np.where(np.isnan(own), np.nan, fused.take(curve.space.carrier, axis=1))
            poses = window.poses[:count] + curve.space.carried(shift)
            results.append(WindowPoses(poses, window.scores[:count], origin, own))
        return results

    def shifts(
        self,
        spaces: Sequence[Space],
        way: np.ndarray,  # [G, J, 2] pixels, of the window through this gap
        end_s: float,
    ) -> list[Shifts | None]:
        """For each space, what is to be added to the window's way through a gap that ends with a keyframe."""
        image = next(space for space in spaces if space.name == "image")
        offsets = self.worth * (self.poses - way[:, image.core])
        times = np.concatenate([[self.since_s], self.time_s, [end_s]])
        by_space: list[Shifts | None] = []
        for space in spaces:
            own = offsets if space.name == "image" else self._in_world(offsets)
            own = space.carried(own)
            edge = np.zeros_like(own[:1])
            by_space.append(Shifts(times, np.concatenate([edge, own, edge])))
        return by_space

    @cached_property
    def _native(self) -> Any:  # _C.Glimpses
        """What is to be added to the window's poses, sigma afterwards, and which joints were seen at that time.

        Past the last glimpse the correction goes on, with its velocity for a while.
        """
        # Right after a keyframe nothing is corrected yet; a correction then grows from there.
        has_begun = self.time_s[-1] > self.since_s
        return native.Glimpses(
            time_s=self.time_s,
            poses=self.poses,
            sigma=self.sigma,
            followed=self.followed,
            trust=self.trust,
            worth=self.worth,
            no_sigma_share=_TRUST_WITHOUT_SIGMA,
            jitter=jitter_px(self.scale),
            newest_s=tuple(self._newest_s.tolist()),
            velocity_s=VELOCITY_S if has_begun else 0.0,
            same_time_s=SAME_TIME_S,
        )

    @cached_property
    def _newest_s(self) -> np.ndarray:  # [2]
        """The times of the last glimpse, and of one that is `VELOCITY_S` older or the keyframe."""
        last = self.time_s[-1]
        if last - self.since_s <= VELOCITY_S:
            return np.array([last, self.since_s])
        return np.array([last, self.time_s[np.searchsorted(self.time_s, last - VELOCITY_S - SAME_TIME_S)]])

    def _in_world(self, corrections: np.ndarray) -> np.ndarray:  # [M, 17, 2] pixels -> [M, 17, 3] metres
        """The same for the world pose, whose origin is the middle of the hips."""
        left, right = _HIPS
        relative = corrections - ((corrections[:, left] + corrections[:, right]) / 2)[:, None]
        world = np.zeros((*relative.shape[:2], 3))
        world[..., :2] = relative * (_WORLD_SHARE / self.pixels_per_m)
        return world


def _seen_origin(origin: np.ndarray, followed: np.ndarray) -> np.ndarray:  # [M, J] each
    """Origins where a glance followed the joint: TRACKED instead of any guess."""
    return np.where((origin > _MEASURED) & followed, _TRACKED, origin)
