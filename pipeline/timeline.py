"""Timeline: in which order frames leave as Motions, and when a Motion is final."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mixsynth_stream.pipeline.cuts import Cut, go_on
from mixsynth_stream.pipeline.finals import Finals
from mixsynth_stream.pipeline.fit import Fit
from mixsynth_stream.pipeline.forecast.correction import SPEED_OVER_S, correction
from mixsynth_stream.pipeline.forecast.self_score import SelfScore
from mixsynth_stream.pipeline.glance.gaps import Gaps
from mixsynth_stream.pipeline.motion import Expected, Forecast, Lookahead, Motion, Person
from mixsynth_stream.pipeline.people import Scene, ScenePoses
from mixsynth_stream.pipeline.steps import Steps, completed
from mixsynth_stream.spaces import GRID_HZ, space_of

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.glance.glance import Glance
    from mixsynth_stream.pipeline.people import People


# So many finals are made at once, beside a frame of now.
_FINALS_A_PIECE = 4


class _Waiting(NamedTuple):
    """A frame that is not final yet."""

    frame: Frame
    measured: tuple[Person, ...] | None  # of the newest keyframe
    scene: Scene  # what was known up to its own time, which is what its forecast is made of


class _Kept(NamedTuple):
    """Poses that a scene gave at one time, for whoever needs them again."""

    scene: Scene
    time_s: float
    poses: ScenePoses

    def of(self, scene: Scene, time_s: float) -> ScenePoses | None:
        """The poses, if they are those."""
        return self.poses if self.scene is scene and self.time_s == time_s else None


class Timeline:
    """Takes frames in order and gives the Motions that are due.

    lag 1: each frame once, final, when the keyframe after it is known. lag 0: each frame at once and provisional; when
    the answer to a keyframe comes, the keyframe itself, provisional. The finals of the frames before it then wait for
    `finals`, because no frame of now should wait for them.
    People are followed in the picture of the first frame; frames of another size are laid over it.
    """

    def __init__(
        self,
        people: People,
        *,
        lag: int,
        horizon_s: float,
        glance: Glance | None = None,
        score: SelfScore | None = None,
        smooth: bool = True,
    ) -> None:
        self.score = score
        self._people = people
        self._glance = glance
        self._lag = lag
        self._ahead_s = np.arange(1, round(horizon_s * GRID_HZ) + 1) / GRID_HZ
        self._scene = people.empty_scene()  # as known after the newest keyframe, and the glances since
        self._keyframe: tuple[Frame, tuple[Person, ...]] | None = None  # the newest one
        self._followed: Frame | None = None  # the newest one that people were followed into since the keyframe
        self._is_smooth = smooth and lag == 0 and "image" in self._scene.spaces
        self._size = (0, 0)  # width and height of the picture that people are followed in: the first frame's
        self._waiting: list[_Waiting] = []
        self._finals = Finals()
        self._known: _Kept | None = None  # what was expected last
        self._shown: _Kept | None = None  # what was shown last
        self._settled_s = -np.inf  # frames before this time are final without a keyframe
        self._new_cuts: deque[Cut] = deque()  # those that no keyframe lies behind yet
        self._is_one_scene = False  # whether people went on through the last cut, so that it was none
        self.cuts = 0

    @property
    def last_frame(self) -> Frame | None:
        """The newest frame, unless it already is a keyframe."""
        return self._waiting[-1].frame if self._waiting and self._waiting[-1].measured is None else None

    @property
    def keyframe_s(self) -> float | None:
        """The time of the newest keyframe of this scene."""
        return None if self._keyframe is None else self._keyframe[0].time_s

    @property
    def has_news(self) -> bool:
        """Whether somebody came, or was not seen, at the newest keyframe."""
        return self._people.has_news

    def frame(self, frame: Frame) -> list[Motion]:
        """Take a frame that no estimator looks at, or has not looked at yet."""
        self._follow(frame)
        scene = self._people.empty_scene() if self._new_cuts else self._scene
        self._waiting.append(_Waiting(frame, None, scene))
        if self._lag:
            return []
        known = None if self._known is None else self._known.of(scene, frame.time_s)
        self._shown = _Kept(scene, frame.time_s, scene.shown([frame.time_s], known))
        return self._motions(self._waiting[-1:], self._shown.poses, final=False)

    def cut(self, cut: Cut) -> Frame | None:
        """Take a cut that lies among the newest frames: from its first frame on, nobody of before is known.

        Returns the last frame before it where no estimator looked at it or a later one yet.
        """
        self._new_cuts.append(cut)
        return next((one.frame for one in self._waiting if one.frame is cut.before and one.measured is None), None)

    def keyframe(self, frame: Frame, people: Sequence[Person]) -> list[Motion]:
        """`looking`, with the keyframes pushed at once, after all finals that it leads to."""
        motions = completed(self.looking(frame, people))
        return self.finals() + motions

    def looking(self, frame: Frame, people: Sequence[Person]) -> Steps[list[Motion]]:
        """Take a frame with the people that the estimator saw in it. Newer frames may have come in the meantime."""
        people = tuple(people)
        fit = self._fit(frame)
        placed = [fit.place(person) for person in people]
        while self._new_cuts and frame.time_s >= self._new_cuts[0].first.time_s:
            self._change_scene(self._new_cuts.popleft(), placed)
        gap = None if self._glance is None else partial(self._glance.gap, frame, fit)
        scene = yield from self._people.observing(placed, frame.time_s, self._size[1], gap)
        if self.score is not None:
            self.score.take(frame.time_s, self._people.seen, scene)
        newer = [waiting for waiting in self._waiting if waiting.frame.time_s > frame.time_s]
        earlier = [waiting for waiting in self._waiting if waiting.frame.time_s < frame.time_s]
        past, scenes = Gaps(scene), [scene] * len(newer)
        if self._glance is not None:
            later = [(waiting.frame, self._fit(waiting.frame)) for waiting in newer]
            past, scenes = self._glance.keyframe(frame, fit, scene, later)
        self._finals.add(self._past(earlier, past))
        if self.score is not None:
            scene, scenes = self.score.in_use(scene), [self.score.in_use(later) for later in scenes]
        known = scenes[-1] if scenes else scene
        self._scene, self._keyframe, self._followed = self._corrected(known, frame), (frame, people), None
        newer = [waiting._replace(scene=its_scene) for waiting, its_scene in zip(newer, scenes, strict=True)]
        if frame.time_s < self._settled_s:  # it is final already: its look took too long
            self._waiting = newer
            return self.finals() if self._lag else []
        self._waiting = [_Waiting(frame, people, scene), *newer]
        if self._lag:
            return self.finals()
        return self._motions(self._waiting[:1], scene.shown([frame.time_s]), final=False)

    def _corrected(self, known: Scene, keyframe: Frame) -> Scene:
        """What is known after a keyframe, which the pose that was shown last goes over to."""
        newest_s = self._waiting[-1].frame.time_s if self._waiting else -np.inf
        if not self._is_smooth or newest_s < keyframe.time_s:
            return known  # nothing newer was shown
        shown = None if self._shown is None else self._shown.of(self._scene, newest_s)
        if shown is None:
            shown = self._scene.shown([newest_s])
        now = known.at([newest_s - SPEED_OVER_S, newest_s])
        leading = correction(newest_s, shown, now, space_of("image", known.skeleton))
        return Scene(known.tracks, known.spaces, known.has_sigma, leading, known.skeleton)

    def at(self, time_s: float) -> Expected:
        """Everybody who is known at a time, in pixels of the newest frame."""
        poses = self.ahead(np.array([time_s]))
        return Expected(ids=poses.ids, **poses.at(0).arrays())

    def ahead(self, times_s: np.ndarray) -> Lookahead:  # [F]
        """Everybody who is known at one of these times at least, in pixels of the newest frame."""
        poses, newest = self._scene.shown(times_s), self.newest
        fit = Fit() if newest is None else self._fit(newest)
        return Lookahead(ids=poses.ids, time_s=times_s, **fit.in_frame(poses.arrays()))

    @property
    def newest(self) -> Frame | None:
        """The newest frame that has come."""
        waiting, keyframe = self._waiting[-1:], self._keyframe
        return waiting[0].frame if waiting else keyframe[0] if keyframe else None

    @property
    def newest_s(self) -> float:
        """The time of the newest frame, 0 before there is one."""
        return 0.0 if self.newest is None else self.newest.time_s

    def settle(self, before_s: float) -> list[Motion]:
        """Make final, as they stand, the frames before a time: their keyframe is too long in coming."""
        while self._new_cuts and self._new_cuts[0].first.time_s < before_s:
            self._change_scene(self._new_cuts.popleft(), [])
        self._settled_s = max(self._settled_s, before_s)
        late = [one for one in self._waiting if one.frame.time_s < before_s]
        self._waiting = self._waiting[len(late) :]
        self._as_they_stand(late)
        return self.finals() if self._lag else []

    def finals(self) -> list[Motion]:
        """All finals that wait."""
        return self._finals.all()

    def some_finals(self) -> list[Motion]:
        """The next few finals that wait. Asked with each frame, it has given all before the next keyframe."""
        return self._finals.piece()

    def expected(self, frame: Frame) -> Expected:
        """The people followed now, as windows and glances expect them at this frame's time, in its own pixels."""
        self._follow(frame)
        poses = self._scene.at([frame.time_s])
        self._known = _Kept(self._scene, frame.time_s, poses)
        # Copies, because an estimator may write into what it gets.
        arrays = {name: values[:, 0].copy() for name, values in poses.arrays().items()}
        return Expected(ids=poses.ids.copy(), **self._fit(frame).in_frame(arrays))

    def error(self, frame: Frame) -> float | None:
        """How far off the poses in this frame are without a look, in body scales; None where glances do not know."""
        self._follow(frame)
        return None if self._glance is None else self._glance.error()

    def _follow(self, frame: Frame) -> None:
        """Follow people into a frame that may become a keyframe."""
        if self._glance is not None and not self._new_cuts and self._followed is not frame:
            self._scene, self._followed = self._glance.frame(frame, self._fit(frame), self._scene), frame

    def _change_scene(self, cut: Cut, people: Sequence[Person]) -> None:
        """End the scene before a cut, unless the same people go on: a flash or a new slide is no cut for them."""
        if cut.is_return and self._is_one_scene:
            self._is_one_scene = False
            return
        frame, before = self._keyframe or (cut.before, ())
        self._is_one_scene = go_on([self._fit(frame).place(person) for person in before], people, self._scene.skeleton)
        if self._is_one_scene:
            return
        self._as_they_stand([one for one in self._waiting if one.frame.time_s < cut.first.time_s])
        self._waiting = [one for one in self._waiting if one.frame.time_s >= cut.first.time_s]
        self._people.change_scene(is_return=cut.is_return)
        self._scene, self._keyframe, self._followed = self._people.empty_scene(), None, None
        self.cuts += 1

    def flush(self) -> list[Motion]:
        """End the stream: every frame that still waits becomes final as it stands."""
        while self._new_cuts:
            self._change_scene(self._new_cuts.popleft(), [])
        waiting, self._waiting = self._waiting, []
        self._as_they_stand(waiting)
        return self.finals()

    def _as_they_stand(self, waiting: list[_Waiting]) -> None:
        """Frames that no keyframe comes after become final."""
        if waiting:  # nearly never, and each frame of a live source asks
            scene = self._scene if self._glance is None else self._glance.known(self._scene)
            self._finals.add(self._past([one._replace(scene=self._scene) for one in waiting], Gaps(scene)))

    def _past(self, waiting: list[_Waiting], gaps: Gaps) -> Iterator[list[Motion]]:
        """The finals of frames that lie in gaps, in pieces, of which the first are ways back through the gaps."""
        if not waiting:
            return
        for _ in gaps.walk():
            yield []
        poses = gaps.scene.at([one.frame.time_s for one in waiting])
        yield []
        for first in range(0, len(waiting), _FINALS_A_PIECE):
            piece = waiting[first : first + _FINALS_A_PIECE]
            if self.score is not None and len(piece) + first == len(waiting):
                self.score.judge()  # the last piece is a short one
            yield self._motions(piece, poses, first, final=True)

    def _motions(self, frames: list[_Waiting], scene_poses: ScenePoses, first: int = 0, *, final: bool) -> list[Motion]:
        """The poses from number `first` on are at the frames' times."""
        present = np.any(scene_poses.origin, axis=2)  # [P, M]; MISSING is 0
        arrays = scene_poses.arrays()
        motions = []
        for m, (frame, measured, scene) in enumerate(frames, first):
            fit = self._fit(frame)
            people = present[:, m]
            ids = scene_poses.ids[people]
            motion = Motion(
                index=frame.index,
                time_s=frame.time_s,
                final=final,
                keyframe=measured is not None,
                ids=ids,
                measured=measured,
                frame=frame,
                skeleton=scene.skeleton,
                latency=None,  # a Stream of a live source knows it
                _forecaster=partial(_forecast, scene, fit, ids, frame.time_s + self._ahead_s),
                **fit.in_frame({name: values[:, m][people] for name, values in arrays.items()}),
            )
            motions.append(motion)
        return motions

    def _fit(self, frame: Frame) -> Fit:
        if self._size == (0, 0):
            self._size = (frame.width, frame.height)
        return Fit.of((frame.width, frame.height), self._size)


def _forecast(scene: Scene, fit: Fit, ids: np.ndarray, times_s: np.ndarray) -> Forecast:
    """The people `ids`, in that order, at the given times. Somebody whom the scene does not know then is MISSING."""
    poses = scene.at(times_s)
    row_of = {int(track): p for p, track in enumerate(poses.ids)}
    rows = np.array([row_of.get(int(track), -1) for track in ids], int)
    return Forecast(time_s=times_s, **fit.in_frame(poses.with_missing_row().take(rows).arrays()))
