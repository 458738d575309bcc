"""CutDetector: where a video goes on with another scene, told from thumbnails of its frames."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.frame import THUMBNAIL_SIZE
from mixsynth_stream.skeleton import BLAZEPOSE_33, LANDMARKS, Skeleton
from mixsynth_stream.spaces import space_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.motion import Person

# Thumbnails that correlate this much are of one scene. The first needs no further look.
_ALIKE = 0.9
_RELATED = 0.65
# Less correlated ones are of one scene where blocks of the one, moved, explain this share of the other's structure.
_EXPLAINED = 0.55
_BLOCK = 8  # of the 32 pixels of a side
_REACH = 4  # how far a block may have moved, an eighth of the picture
# In a picture with less structure (the variance within blocks) there is nothing to compare: black, white, a hand.
_LEAST_STRUCTURE = 25.0
_LEAST_SHARE = 0.1  # of the structure before: a lens that is covered shows less
_CLEAR = 4 * _LEAST_STRUCTURE  # a variance of the whole that comes with enough structure
_NOISE = 4.0  # the variance in a block of nothing
# Frames further apart are not compared: cameras move, and so slow a source is nearly all keyframes.
_LONGEST_STEP_S = 0.25
# The new scene must stay for so long, which flashes, damaged pictures and pans do not. So none hides in less.
STAY_S = 0.09
# A cut is abrupt: the correlation falls this much below that of the steps before and after it.
_ABRUPT = 0.25
_CALM_VIEWS = 6
# A picture that mixes two scenes has at least this share of each, and little else.
_LEAST_OF_MIX = 0.15
_REST_OF_MIX = 0.2
# How long a scene is remembered while there is nothing to see. People are forgotten as fast.
_MEMORY_S = 1.0
_SAME_ASPECT = 0.02

# From one frame to the next, joints are this near on average, in body scales, even where a new light blurs them.
_SAME_PLACE = 0.2
# `array.mean()` runs numpy's Python code, which costs more than all the rest where it is cold.
_MEAN = np.full((THUMBNAIL_SIZE, THUMBNAIL_SIZE), 1 / THUMBNAIL_SIZE**2, np.float32)
_BLOCK_SUMS = np.kron(np.eye(THUMBNAIL_SIZE // _BLOCK), np.ones((1, _BLOCK))).astype(np.float32)  # [4, 32]


@dataclass(frozen=True, eq=False)
class _View:
    """One frame as the detector sees it."""

    frame: Frame
    luma: np.ndarray  # [32, 32], mean 0
    square: float  # the sum of its squares

    @classmethod
    def of(cls, frame: Frame) -> _View | None:
        """The view of a frame; None where its source has no quick one."""
        thumbnail = frame.thumbnail()
        if thumbnail is None:
            return None
        luma = thumbnail - np.vdot(thumbnail, _MEAN)
        return cls(frame, luma, float(np.vdot(luma, luma)))

    @classmethod
    def at(cls, entry: _View | Frame) -> _View | None:
        """The view itself, or that of a frame."""
        return entry if isinstance(entry, _View) else cls.of(entry)

    @property
    def variance(self) -> float:
        """Of the brightness: an upper bound of `structure`."""
        return self.square / self.luma.size

    @property
    def structure(self) -> float:
        """The variance within blocks: how much there is to compare."""
        sums = _BLOCK_SUMS @ self.luma @ _BLOCK_SUMS.T
        return self.variance - float(np.vdot(sums, sums)) / _BLOCK**2 / self.luma.size

    @property
    def aspect(self) -> float:
        return self.frame.width / max(self.frame.height, 1)

    def correlation(self, other: _View) -> float:
        """1 for the same picture in any exposure, about 0 for another scene."""
        return float(np.vdot(self.luma, other.luma)) / max(self.square * other.square, 1e-6) ** 0.5

    def is_mix(self, a: _View, b: _View) -> bool:
        """Whether this picture is a share of each of two others, laid over one another or in turn, line by line."""
        others = np.array([a.luma.ravel(), b.luma.ravel()])
        shares = np.linalg.lstsq(others.T, self.luma.ravel(), rcond=None)[0]
        rest = self.luma.ravel() - shares @ others
        whole = bool((shares > _LEAST_OF_MIX).all()) and abs(shares.sum() - 1) < _LEAST_OF_MIX
        return whole and float(np.vdot(rest, rest)) < _REST_OF_MIX * self.square

    def is_other_scene(self, other: _View) -> bool:
        """Whether the two are of different scenes, as far as can be seen."""
        return (
            self.correlation(other) < _RELATED
            and _explained(self.luma, other.luma) < _EXPLAINED
            and _explained(other.luma, self.luma) < _EXPLAINED
        )


@dataclass(frozen=True)
class Cut:
    """A change of scene. Pictures between the two frames, if any, mix both scenes or show nothing."""

    before: Frame  # the last one of the scene before
    first: Frame  # of the new scene
    is_return: bool  # whether the scene is the one before the last cut, back within a second


class CutDetector:
    """Takes every frame in order, and tells the first frame of a new scene a few frames later.

    It is made to be right where it says that there is a cut, because a false one costs everybody's id. Motion, pans,
    shakes, noise, flashes, damaged pictures and dissolves are none. A cut that leaves most of the view, such as a jump
    in one camera's recording or a slight zoom, is missed.
    """

    def __init__(self) -> None:
        self._last_s = -np.inf
        # The newest of the scene, those with structure. Pictures left out in a calm stretch stand as frames.
        self._recent: deque[_View | Frame] = deque(maxlen=_CALM_VIEWS)
        self._left_out: list[Frame] = []  # those since the last picture that was decoded
        self._change: tuple[_View, _View] | None = None  # the views before and after what may be a cut
        self._left: _View | None = None  # the last view before the last cut

    @property
    def judging(self) -> bool:
        """Whether one of the newest frames may be the first of a new scene, which later ones will tell."""
        return self._change is not None

    def push(self, frame: Frame, *, is_read: bool = False) -> Cut | None:
        """Take the next frame. Returns a cut a few frames after it, once it is sure.

        A picture that was not decoded is looked at only where those around it differ, or `is_read`: by others, too.
        """
        gap_s, self._last_s = frame.time_s - self._last_s, frame.time_s
        if gap_s > _LONGEST_STEP_S:
            self._forget()
        if not (frame.is_decoded or is_read or self.judging):
            self._left_out.append(frame)
            return None
        view = _View.of(frame)
        if view is None:
            self._forget()
            return None
        left_out, self._left_out = self._left_out, []
        if self._is_calm(view) and (not left_out or left_out[-1].time_s - left_out[0].time_s < STAY_S):
            self._recent.extend([*left_out, view])
            return None
        cuts = [self._look(other) for other in (*map(_View.of, left_out), view) if other is not None]
        return next((cut for cut in cuts if cut is not None), None)

    def close(self) -> Cut | None:
        """A cut so near the end of a video that the new scene has not stayed yet."""
        left_out, self._left_out = self._left_out, []
        for view in map(_View.of, left_out):
            if view is not None:
                self._look(view)
        change, self._change = self._change, None
        if change is None or self._last_s - change[1].frame.time_s > STAY_S:
            return None
        return self._cut(*change)

    @property
    def _last(self) -> _View | None:
        entry = self._recent[-1] if self._recent else None
        return entry if isinstance(entry, _View) else None

    def _is_calm(self, view: _View) -> bool:
        """Whether this picture is so like the last one that a few left out between them hide no scene."""
        last = self._last
        return (
            last is not None
            and self._change is None
            and abs(view.aspect / last.aspect - 1) <= _SAME_ASPECT
            and view.variance > _CLEAR
            and view.correlation(last) > _ALIKE
        )

    def _look(self, view: _View) -> Cut | None:
        """Take the next picture of those that may hold a cut."""
        last = self._last or view
        if view.frame.time_s - last.frame.time_s > _MEMORY_S or abs(view.aspect / last.aspect - 1) > _SAME_ASPECT:
            self._forget()
            last = view
        is_clear = view.variance > _CLEAR and view.correlation(last) > _ALIKE
        if not is_clear and view.structure < max(_LEAST_STRUCTURE, _LEAST_SHARE * last.structure):
            return None
        if self._change is not None:
            return self._judge(view, *self._change)
        self._change = self._change_at(view)
        self._recent.append(view)
        return None

    def _forget(self) -> None:
        self._recent.clear()
        self._left_out.clear()
        self._change = None

    def _change_at(self, view: _View) -> tuple[_View, _View] | None:
        """The views before and after an abrupt change of scene, if there is one here.

        Between the two may be a picture that mixes both, as interlaced video and converted frame rates have it.
        """
        last = self._last
        if last is None or len(self._recent) < 3 or last.correlation(view) > _ALIKE:
            return None
        before, span, views = last, 1, list(self._recent)
        last_but_one = _View.at(views[-2])
        if last_but_one is not None and last.is_mix(last_but_one, view):
            views = [_View.at(entry) or entry for entry in views[:-2]] + [last_but_one]
            before, span = last_but_one, 2
        seen = [entry for entry in views if isinstance(entry, _View)]
        steps = [a.correlation(b) for a, b in zip(seen, seen[span:], strict=False)]
        if len(seen) < len(views):
            steps.append(_ALIKE)  # from one to the next of those left out
        if before.correlation(view) > min(steps, default=0.0) - _ABRUPT or not before.is_other_scene(view):
            return None
        return before, view

    def _judge(self, view: _View, before: _View, first: _View) -> Cut | None:
        """The cut, if the new scene has stayed long enough. It may go: back to what was before, or on with a pan."""
        last = self._last or first
        step = last.correlation(view)
        self._recent.append(view)
        if last is first and step < _ALIKE and first.is_mix(before, view):
            self._change = before, view
            return None
        is_calm = step > _ALIKE or step > before.correlation(first) + _ABRUPT
        if not is_calm or not before.is_other_scene(view) or first.is_other_scene(view):
            self._change = None
            return None
        if view.frame.time_s < first.frame.time_s + STAY_S:
            return None
        return self._cut(before, first)

    def _cut(self, before: _View, first: _View) -> Cut:
        left, self._left, self._change = self._left, before, None
        recent = left if left is not None and first.frame.time_s - left.frame.time_s < _MEMORY_S else None
        return Cut(before.frame, first.frame, recent is not None and not recent.is_other_scene(first))


def go_on(before: Sequence[Person], after: Sequence[Person], skeleton: Skeleton = BLAZEPOSE_33) -> bool:
    """Whether everybody after what may be a cut stands as somebody did a moment before."""
    if skeleton not in LANDMARKS:
        return False  # rotations do not say where somebody stands
    space = space_of("image", skeleton)
    places = [space.core_of(other.pose) for other in before]
    return bool(after) and all(
        any(distance_in_scales(space.core_of(person.pose), place, min_scale=1.0) < _SAME_PLACE for place in places)
        for person in after
    )


def _explained(luma: np.ndarray, other: np.ndarray) -> float:  # [32, 32] each
    """The share of the first one's structure that blocks of the other explain, each moved to where it fits best."""
    windows = sliding_window_view(other, (_BLOCK, _BLOCK))  # [25, 25, 8, 8]
    pixels, places = _BLOCK * _BLOCK, len(windows)
    windows = windows - windows.mean(axis=(2, 3), keepdims=True)
    norms = np.sqrt((windows * windows).sum(axis=(2, 3)) + _NOISE * pixels)  # [25, 25]
    explained, total = 0.0, 1e-6
    for y in range(0, places, _BLOCK):
        for x in range(0, places, _BLOCK):
            block = luma[y : y + _BLOCK, x : x + _BLOCK]
            block = block - block.mean()
            energy = float(np.vdot(block, block))
            near = np.s_[max(0, y - _REACH) : y + _REACH + 1, max(0, x - _REACH) : x + _REACH + 1]
            fit = float((np.tensordot(windows[near], block) / norms[near]).max())
            explained += max(fit, 0.0) ** 2 * energy / (energy + _NOISE * pixels)
            total += energy
    return explained / total
