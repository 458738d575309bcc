#!/usr/bin/env python3
"""Fit the constants that weigh glances against the window, and print what they give on the clip that was left out.

    python scripts/fit_glance.py CLIP ... [--calibration FILE] [--every 5 10 15] [--phases 10]

CLIP is VIDEO=TRUTH.trc (Pose2Sim; the camera of cam03.mp4 is cam_03 of --calibration), VIDEO=DENSE.npz (poses that
`evaluate --keep-dense` wrote), or VIDEO: then the official pose model looks at every frame, and that is the truth.

Each clip is streamed from several first keyframes with the following estimator, at lag 1 and with glances. A keyframe
where nobody stands near the truth ends a window. The poses of windows and the ways followed are kept, so that any
constants can be tried on them. Errors are of twelve limb joints, from the third keyframe on.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixsynth_stream.data.camera_truth import LIMB_JOINTS, limbs_in_picture, read_camera
from mixsynth_stream.data.trc import read_trc
from mixsynth_stream.evaluate.baselines import pchip
from mixsynth_stream.evaluate.video import dense_poses
from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.fit import Fit
from mixsynth_stream.pipeline.frame import Luma
from mixsynth_stream.pipeline.glance.back import Back
from mixsynth_stream.pipeline.glance.evidence import VELOCITY_S
from mixsynth_stream.pipeline.glance.follow import Follower, Start, View
from mixsynth_stream.pipeline.glance.weigh import WEIGHING, Record, Ways, Weighing, ahead_sigma, fused_sigma, shares
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.reports import table
from mixsynth_stream.spaces import GRID_HZ, LANDMARK_SPACES, SPACES
from mixsynth_stream.weights import Model, load_model

CORE = SPACES["image"].core
LIMBS = [list(CORE).index(joint) for joint in LIMB_JOINTS]
GROUPS = {"shoulders": [0, 1], "elbows": [2, 3], "wrists": [4, 5], "hips": [6, 7], "knees": [8, 9], "ankles": [10, 11]}
QUARTERS = 4
AHEAD_MS = (67, 133, 267, 400)
# What is tried for each clip that is left out.
AHEAD_GRID = [
    replace(WEIGHING, per_misfit=per_misfit, trust=trust)
    for per_misfit, trust in itertools.product((1.0, 1.5, 2.0, 2.7, 3.6, 5.0), (0.25, 0.5))
]
GAP_GRID = [
    replace(WEIGHING, gap_floor=floor, gap_per_miss=per_miss)
    for floor, per_miss in itertools.product((0.02, 0.03, 0.04, 0.06, 0.08), (0.35, 0.5, 0.7, 1.0, 1.4))
]
# Joints or phases that a glance makes worse weigh so much more than those that it makes better.
HARM = 2.0


class Keyframe(NamedTuple):
    frame: int
    person: Person | None


@dataclass
class Ahead:
    """From one keyframe of a window on: poses of the window and of the way followed, each [F, 12, ...]."""

    time_s: np.ndarray  # [A] since the keyframe, up to the last horizon
    window: np.ndarray  # [A, 12, 2]
    sigma: np.ndarray  # [A, 12]
    truth: np.ndarray  # [A, 12, 2]
    followed: np.ndarray  # [F, 12, 2] up to the next keyframe
    misfit: np.ndarray  # [F, 12]
    worth: float  # by the keyframes before
    scale: float


@dataclass
class Gap:
    """The gap before one keyframe of a full window."""

    window: np.ndarray  # [G, 12, 2]
    sigma: np.ndarray  # [G, 12]
    truth: np.ndarray  # [G, 12, 2]
    pchip: np.ndarray  # [G, 12, 2]
    ways: Ways
    worth: float  # by the keyframes before and the one at its end
    scale: float


@dataclass
class Case:
    """One clip at one spacing."""

    name: str
    every: int
    torso_px: float
    ahead: list[Ahead] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class Errors(NamedTuple):
    """Errors in torso lengths [R, 12], the window's and the fused ones, the phase [R] of each, and fused sigma."""

    window: np.ndarray
    fused: np.ndarray
    phase: np.ndarray
    sigma: np.ndarray
    baseline: np.ndarray

    def ratio(self, rows: np.ndarray | slice = slice(None), joints: Sequence[int] | slice = slice(None)) -> float:
        return float(np.nanmean(self.fused[rows][:, joints]) / np.nanmean(self.window[rows][:, joints]))

    def by_group(self) -> list[float]:
        return [self.ratio(joints=joints) for joints in GROUPS.values()]

    def by_phase(self) -> list[float]:
        quarter = np.minimum((self.phase * QUARTERS).astype(int), QUARTERS - 1)
        return [self.ratio(quarter == q) for q in range(QUARTERS) if (quarter == q).any()]

    def loss(self) -> float:
        logs, phases = np.log(self.by_group()), np.log(self.by_phase())
        harm = np.maximum(logs, 0).sum() + np.maximum(phases, 0).sum()
        return float(np.log(self.ratio()) + logs.mean() + HARM * harm)


class Clip:
    """A video in memory, with the truth of twelve joints in each frame."""

    def __init__(self, argument: str, calibration: Path | None) -> None:
        video, _, truth = argument.partition("=")
        self.path = Path(video)
        self.name = f"{self.path.parent.name}/{self.path.stem}"
        if truth.endswith(".trc"):
            if calibration is None:
                raise SystemExit(f"{truth} needs the cameras: give --calibration")
            camera = read_camera(calibration, self.path.stem.replace("cam", "cam_"))
            limbs = limbs_in_picture(read_trc(Path(truth)), camera)
        else:
            limbs = dense_poses(truth or video).poses[:, list(LIMB_JOINTS)]
        self.pictures, self.views, times = [], [], []
        with VideoReader(self.path) as reader:
            for frame in reader:
                luma = frame.luma()
                assert luma is not None
                own = Luma(luma.plane.copy(), luma.bits, luma.turn, luma.shift)
                size = (frame.width, frame.height)
                self.views.append(View.of(own, Fit.of(size, size)))
                self.pictures.append(frame.rgb)
                times.append(frame.time_s)
        count = min(len(limbs), len(times))
        self.time_s, self.truth = np.array(times[:count]), np.asarray(limbs[:count], float)
        torso = self.truth[:, 0:2].mean(axis=1) - self.truth[:, 6:8].mean(axis=1)
        self.torso_px = float(np.nanmedian(np.linalg.norm(torso, axis=-1)))
        self.rate_hz = 1 / float(np.median(np.diff(self.time_s)))


def keyframes_of(clip: Clip, models: tuple[Model, ...], first: int, people: int) -> list[Keyframe]:
    """The keyframes of a stream from frame `first` on, each with the person nearest to the truth."""
    keyframes = []
    with (
        pose_estimator("full", eye="follow", max_people=people) as estimator,
        Stream(estimator=estimator, models=models, max_people=people, lag=1, glance=True) as stream,
    ):
        motions = []
        for row in range(first, len(clip.time_s)):
            motions += stream.push(clip.pictures[row], float(clip.time_s[row]), wait=True)
        motions += stream.close()
    for motion in motions:
        if motion.keyframe:
            frame = first + motion.index
            off = [
                float(np.median(_distance(p.pose[list(LIMB_JOINTS)], clip.truth[frame]))) for p in motion.measured or ()
            ]
            nearest = int(np.argmin(off)) if off else 0
            is_near = bool(off) and off[nearest] < clip.torso_px
            keyframes.append(Keyframe(frame, motion.measured[nearest] if is_near and motion.measured else None))
    return keyframes


def _distance(poses: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(poses - others, axis=-1))


def case_of(clip: Clip, every: int, phases: int, people: int) -> Case:
    """Stream a clip from every phase, and keep what any constants can be tried on."""
    models = tuple(load_model(shipped_name(space, every)) for space in LANDMARK_SPACES)
    stride = round(every * clip.rate_hz / GRID_HZ)
    firsts = range(0, stride, -(-stride // phases))
    case = Case(clip.name, every, clip.torso_px)
    for first in firsts:
        stream = keyframes_of(clip, models, first, people)
        window, seen, follower, record = MotionWindow(models[0]), [], None, Record()
        for keyframe, following in itertools.zip_longest(stream, stream[1:]):
            if keyframe.person is None or keyframe.frame >= len(clip.time_s):
                window, seen, follower, record = MotionWindow(models[0]), [], None, Record()
                continue
            if follower is not None:
                pose = np.asarray(keyframe.person.pose[CORE], float)
                record = follower.record(pose, float(clip.time_s[keyframe.frame]))
            window.push(keyframe.person.pose, keyframe.person.scores, float(clip.time_s[keyframe.frame]))
            seen.append(keyframe)
            if follower is not None and len(seen) > 2:
                case.gaps += _gap(clip, window, follower, seen, every, record)
            end = len(clip.time_s) - 1 if following is None else following.frame
            follower = _followed(clip, window, keyframe, min(end, len(clip.time_s) - 1), record)
            if len(seen) > 2:
                case.ahead += _ahead(clip, window, follower, keyframe.frame, end if following is not None else end + 1)
    return case


def _followed(clip: Clip, window: MotionWindow, keyframe: Keyframe, end: int, record: Record) -> Follower:
    """The person followed from a keyframe up to the frame `end`."""
    assert window.curve is not None and keyframe.person is not None
    time_s = float(clip.time_s[keyframe.frame])
    soon = window.at([time_s, time_s + 1 / GRID_HZ]).poses[:, CORE]
    speed = np.nan_to_num((soon[1] - soon[0]) * GRID_HZ)
    pose, scale = np.asarray(keyframe.person.pose[CORE], float), window.curve.network_input.scale
    start = Start(time_s, pose, speed, scale, 1.0, window.curve, record)
    follower = Follower(start, clip.views[keyframe.frame])
    for row in range(keyframe.frame + 1, end + 1):
        follower.look(float(clip.time_s[row]), clip.views[row])
    return follower


def _ahead(clip: Clip, window: MotionWindow, follower: Follower, first: int, end: int) -> Iterator[Ahead]:
    last = min(end + round(AHEAD_MS[-1] / 1000 * clip.rate_hz) + 1, len(clip.time_s))
    looks = follower.looks[: end - first]
    if len(looks) > 1:
        poses = window.at(clip.time_s[first:last])
        assert poses.sigma is not None
        yield Ahead(
            time_s=clip.time_s[first:last] - clip.time_s[first],
            window=poses.poses[:, CORE][:, LIMBS],
            sigma=poses.sigma[:, CORE][:, LIMBS],
            truth=clip.truth[first:last],
            followed=np.array([look.pose for look in looks])[:, LIMBS],
            misfit=np.array([look.misfit for look in looks])[:, LIMBS],
            worth=follower.start.record.worth,
            scale=follower.scale,
        )


def _gap(
    clip: Clip, window: MotionWindow, follower: Follower, seen: Sequence[Keyframe], every: int, record: Record
) -> Iterator[Gap]:
    pose = np.array([k.person.pose[CORE] for k in seen[-5:] if k.person is not None])
    frames = np.arange(seen[-2].frame + 1, seen[-1].frame)
    ways = Back(follower, pose[-1], float(clip.time_s[seen[-1].frame])).ways
    if ways is not None:
        poses = window.at(clip.time_s[frames])
        assert poses.sigma is not None
        steps = np.interp(frames, [k.frame for k in seen[-5:]], np.arange(len(pose)) * every)
        misses = (ways.misses[0][LIMBS], ways.misses[1][LIMBS])
        yield Gap(
            window=poses.poses[:, CORE][:, LIMBS],
            sigma=poses.sigma[:, CORE][:, LIMBS],
            truth=clip.truth[frames],
            pchip=pchip(pose[None], every, steps)[0][:, LIMBS],
            ways=ways._replace(there=ways.there[:, LIMBS], back=ways.back[:, LIMBS], misses=misses),
            worth=record.worth,
            scale=follower.scale,
        )


def corrections(ahead: Ahead, weighing: Weighing) -> tuple[np.ndarray, np.ndarray]:  # [F, 12, 2], [F, 12]
    """What is added to the window's poses of now, and sigma afterwards."""
    count = len(ahead.followed)
    own = ahead_sigma(ahead.time_s[:count], ahead.misfit, ahead.scale, weighing)
    sigma = ahead.sigma[:count]
    share = ahead.worth * shares(sigma, own, weighing.trust)
    correction = share[..., None] * (ahead.followed - ahead.window[:count])
    correction[0] = 0.0  # the keyframe
    return correction, fused_sigma(sigma, own, share, ahead.scale)


def now(case: Case, weighing: Weighing) -> Errors:
    """The poses of now between keyframes."""
    rows = []
    for ahead in case.ahead:
        inner = slice(1, len(ahead.followed))
        correction, sigma = corrections(ahead, weighing)
        window, truth = ahead.window[inner], ahead.truth[inner]
        phase = ahead.time_s[inner] / (case.every / GRID_HZ + 1e-9)
        fused = window + correction[inner]
        rows.append((_distance(window, truth), _distance(fused, truth), phase, sigma[inner], _distance(window, truth)))
    return _errors(rows, case.torso_px)


def filled(case: Case, weighing: Weighing) -> Errors:
    """The final poses of gaps; the baseline is PCHIP."""
    rows = []
    for gap in case.gaps:
        poses, own = gap.ways.blend(gap.scale, weighing)
        share = gap.worth * shares(gap.sigma, own, weighing.gap_trust)
        fused = gap.window + share[..., None] * (poses - gap.window)
        off = [_distance(guess, gap.truth) for guess in (gap.window, fused, gap.pchip)]
        rows.append((off[0], off[1], gap.ways.share, fused_sigma(gap.sigma, own, share, gap.scale), off[2]))
    return _errors(rows, case.torso_px)


def _errors(rows: Sequence[tuple[np.ndarray, ...]], torso_px: float) -> Errors:
    window, fused, phase, sigma, baseline = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Errors(window / torso_px, fused / torso_px, phase, sigma / torso_px, baseline / torso_px)


def forecasts(case: Case, weighing: Weighing) -> list[float]:
    """Errors of forecasts over the window's at each of `AHEAD_MS`, from each frame between keyframes."""
    off: dict[int, list[tuple[float, float]]] = {ahead_ms: [] for ahead_ms in AHEAD_MS}
    for ahead in case.ahead:
        correction, _ = corrections(ahead, weighing)
        for row, ahead_ms in itertools.product(range(1, len(correction)), AHEAD_MS):
            at_s = ahead.time_s[row] + ahead_ms / 1000
            later = int(np.argmin(np.abs(ahead.time_s - at_s)))
            if abs(ahead.time_s[later] - at_s) < 0.02 and np.isfinite(ahead.truth[later]).all():
                before = max(int(np.searchsorted(ahead.time_s, ahead.time_s[row] - VELOCITY_S - 1e-6)), 0)
                velocity = (correction[row] - correction[before]) / (ahead.time_s[row] - ahead.time_s[before])
                reach_s = -VELOCITY_S * np.expm1(-ahead_ms / 1000 / VELOCITY_S)
                fused = ahead.window[later] + correction[row] + velocity * reach_s
                errors = [float(_distance(pose, ahead.truth[later]).mean()) for pose in (ahead.window[later], fused)]
                off[ahead_ms].append((errors[0], errors[1]))
    means = [np.mean(pairs, axis=0) if pairs else (np.nan, np.nan) for pairs in off.values()]
    return [float(fused / window) for window, fused in means]


def left_out(cases: Sequence[Case]) -> Mapping[str, Weighing]:
    """For each clip, the constants that fit all others best."""
    losses = {
        (case.name, case.every): (
            np.array([now(case, weighing).loss() for weighing in AHEAD_GRID]),
            np.array([filled(case, weighing).loss() for weighing in GAP_GRID]),
        )
        for case in cases
    }
    result = {}
    for clip in dict.fromkeys(case.name for case in cases):
        others = [pair for (name, _), pair in losses.items() if name != clip] or list(losses.values())
        ahead = AHEAD_GRID[int(np.argmin(np.mean([pair[0] for pair in others], axis=0)))]
        gap = GAP_GRID[int(np.argmin(np.mean([pair[1] for pair in others], axis=0)))]
        result[clip] = replace(ahead, gap_floor=gap.gap_floor, gap_per_miss=gap.gap_per_miss)
    return result


def report(cases: Sequence[Case]) -> None:
    """Print the constants, and two tables of errors over the window's."""
    constants = left_out(cases)
    heads = ["without", "per_misfit", "trust", "gap_floor", "gap_per_miss"]
    print(table([heads, *([clip, *(f"{getattr(w, key):g}" for key in heads[1:])] for clip, w in constants.items())]))
    for title, judge in (("now", now), ("filled", filled)):
        rows = [[title, "N", "error", "all", *GROUPS, *(f"quarter {q + 1}" for q in range(QUARTERS))]]
        rows[0] += ["over PCHIP"] if judge is filled else []
        for case in cases:
            errors = judge(case, constants[case.name])
            ratios = [errors.ratio(), *errors.by_group(), *errors.by_phase()]
            if judge is filled:
                ratios.append(float(np.nanmean(errors.fused) / np.nanmean(errors.baseline)))
            rows.append([case.name, str(case.every), f"{np.nanmean(errors.fused):.3f}", *(f"{r:.2f}" for r in ratios)])
        print(table(rows))
    rows = [["forecast", "N", *(f"{ahead_ms} ms" for ahead_ms in AHEAD_MS)]]
    for case in cases:
        rows.append([case.name, str(case.every), *(f"{r:.2f}" for r in forecasts(case, constants[case.name]))])
    print(table(rows))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", metavar="CLIP")
    parser.add_argument("--calibration", type=Path, metavar="FILE")
    parser.add_argument("--every", nargs="+", type=int, default=[5, 10, 15])
    parser.add_argument("--phases", type=int, default=10, help="first keyframes of each clip, at most")
    parser.add_argument("--max-people", type=int, default=4)
    args = parser.parse_args(argv)
    cases = []
    for argument in args.clips:
        clip = Clip(argument, args.calibration)
        cases += [case_of(clip, every, args.phases, args.max_people) for every in args.every]
        cases = [case for case in cases if case.ahead and case.gaps]
    report(cases)


if __name__ == "__main__":
    main()
