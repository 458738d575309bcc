"""Ahead: at every pose of a recording, what windows and simple methods say of the next moments.

A window takes keyframes N/30 s apart, and recordings are usually denser. So each person has several windows that take
turns: with 30 poses a second and N = 10 there are ten, each of which gets every tenth pose. A forecast knows no pose
that is later than its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.pipeline.forecast.simple import Simple, joints_of
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.people import Scene, TrackCurves
from mixsynth_stream.pipeline.window import MotionWindow, push_each
from mixsynth_stream.presets import DEFAULT_EVERY, SHIPPED_INTERVALS
from mixsynth_stream.spaces import GRID_HZ, LANDMARK_SPACES, scale_floor
from mixsynth_stream.weights import Model

# Keyframes that lie off a network's spacing by no more than this share cost it next to nothing.
_FITS = 0.1
# Who was not seen for longer is somebody new, unless the poses themselves lie further apart.
_SILENCE_S, _SPACINGS = 1.0, 1.5


@dataclass(frozen=True)
class Moment:
    """Those who were seen at one time, and what was known then."""

    index: int  # of the frame in the recording
    time_s: float
    people: Mapping[int, Person]  # as recorded, by id
    scene: Scene  # the windows' curves, a track a person, in the order of `people`
    # What simple methods know of both spaces side by side, as `joints_of` has them: from the keyframes of the window
    # whose turn it is, and from every pose.
    simple: Mapping[int, tuple[Simple, Simple]]


def turns_of(spacing_s: float, every: int) -> int:
    """How many windows take turns so that each gets keyframes about `every` steps apart."""
    return max(1, round(every / GRID_HZ / spacing_s)) if np.isfinite(spacing_s) else 1


def fitting_every(spacing_s: float) -> int:
    """The N of the shipped networks whose keyframes fit poses that lie so far apart; the usual one where several do."""
    if not np.isfinite(spacing_s):
        return DEFAULT_EVERY
    off = {n: abs(turns_of(spacing_s, n) * spacing_s * GRID_HZ / n - 1) for n in SHIPPED_INTERVALS}
    order = sorted(SHIPPED_INTERVALS, key=lambda n: (n != DEFAULT_EVERY, -n))
    return next((n for n in order if off[n] <= _FITS + 1e-6), min(order, key=lambda n: off[n]))


class _Turn:
    """One of the windows of a person that take turns: for each space, and what simple methods know there."""

    def __init__(self, models: Mapping[str, Model], recording: Recording) -> None:
        self.windows = [
            MotionWindow(
                models[space],
                min_scale=scale_floor(space, recording.height_px),
                skeleton=recording.skeleton,
            )
            for space in recording.spaces
        ]
        self.simple: Simple | None = None


class _Turns:
    """The windows of one person."""

    def __init__(self, count: int, first_s: float) -> None:
        self.turns: list[_Turn | None] = [None] * count
        self.first_s = self.last_s = first_s
        self.simple: Simple | None = None  # of every pose


def moments(recording: Recording, models: Mapping[str, Model]) -> Iterator[Moment]:
    """Every frame in which somebody was seen. `models` are by space, those of `recording.spaces`, of one spacing."""
    every = models[recording.spaces[0]].config.sample_interval
    spacing_s = recording.spacing_s
    count = turns_of(spacing_s, every)
    longest_s = max(_SILENCE_S, _SPACINGS * spacing_s)
    has_sigma = tuple(space in models and models[space].sigma_table is not None for space in LANDMARK_SPACES)
    everybody: dict[int, _Turns] = {}
    for index, (time_s, people) in enumerate(zip(recording.time_s.tolist(), recording.people, strict=True)):
        if not people:
            continue
        present, simple = [], {}
        for number, person in people.items():
            turns = everybody.get(number)
            if turns is None or time_s - turns.last_s > longest_s:
                turns = everybody[number] = _Turns(count, time_s)
            turns.last_s = time_s
            place = round((time_s - turns.first_s) / spacing_s) % count if count > 1 else 0
            turn = turns.turns[place] = turns.turns[place] or _Turn(models, recording)
            present.append((number, person, turn))
            turn.simple, turns.simple = (_after(one.simple, time_s, person) for one in (turn, turns))
            simple[number] = turn.simple, turns.simple
        _push(time_s, [(turn, person) for _, person, turn in present])
        tracks = tuple(_track(number, turn) for number, _, turn in present)
        yield Moment(
            index,
            time_s,
            people,
            Scene(tracks, LANDMARK_SPACES, has_sigma, skeleton=recording.skeleton),
            simple,
        )


def _after(simple: Simple | None, time_s: float, person: Person) -> Simple:
    """What simple methods know with one more pose."""
    joints = joints_of(person)
    return Simple.first(time_s, joints) if simple is None else simple.after(time_s, joints)


def _push(time_s: float, present: list[tuple[_Turn, Person]]) -> None:
    """Everybody's poses into the windows whose turn it is. Raises `ValueError` for the first that is refused."""
    pairs = [(window, person) for turn, person in present for window in turn.windows]
    refusals = push_each(
        [window for window, _ in pairs],
        [person.in_space(window.space.name) for window, person in pairs],
        [person.scores for _, person in pairs],
        [time_s] * len(pairs),
    )
    for refusal in refusals.values():
        raise refusal


def _track(number: int, turn: _Turn) -> TrackCurves:
    curves = tuple(window.curve for window in turn.windows if window.curve is not None)
    return TrackCurves(number, curves, np.inf)
