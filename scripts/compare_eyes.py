"""Compare how a pose model looks at keyframes: today's whole picture, and regions that are followed.

For each clip of one person with camera truth, and for each phase of the keyframes: the mean error of twelve limb joints
in torso lengths, and the CPU time that the estimator takes a keyframe. The contenders take turns phase by phase. One
of them also glances at the pictures between keyframes, which tells the estimator where to look.

    python scripts/compare_eyes.py VIDEOS TRUTH [--cameras cam03 cam04] [--every 5 10 15] [--small 3 4 6] [--made loop]

VIDEOS is a folder of NAME.mp4, TRUTH one with single_raw.trc and calibration_qualisys.toml (Pose2Sim's demo). With
`--small K ... --yard FILE` the person is shrunk to a K-th of a 1080p picture of an empty yard (the median of a clip).
`--made` makes clips of the given ones: mirrored; boxed (between black bars); left, right, upper, lower (that part of
the picture from the person's middle on); loop (24 keyframes a run, forwards and backwards).
"right" is the share of keyframes with an error under half a torso.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from eye_clips import (
    YARD,
    Clip,
    boxed,
    cut_off,
    empty_view,
    looped,
    mirrored,
    read_clip,
    read_pictures,
    resized,
    shrunk,
)

from mixsynth_stream.data.camera_truth import LIMB_JOINTS
from mixsynth_stream.pipeline.estimators.choose import EYES, pose_estimator
from mixsynth_stream.pipeline.estimators.estimator import Estimator
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.reports import table
from mixsynth_stream.spaces import LANDMARK_SPACES
from mixsynth_stream.weights import Model, load_model

MODEL, OFFICIAL = "full", "full-official"
TODAY, GLANCE = "official, keyframe", "cut, follow, with glances"
CONTENDERS = {
    TODAY: (OFFICIAL, "keyframe"),
    **{f"cut, {eye}": (MODEL, eye) for eye in EYES},
    GLANCE: (MODEL, "follow"),
}
LIMBS = list(LIMB_JOINTS)
# A keyframe is right where the mean error of its limbs is under so many torso lengths.
RIGHT = 0.5
KEYFRAMES_OF_A_LOOP = 24
PARTS = ("left", "right", "upper", "lower")
VARIANTS = ("mirrored", "boxed", *PARTS, "loop")


@dataclass
class Score:
    """What one contender did: the error of each keyframe (NaN: nobody), and CPU seconds of its estimator."""

    errors: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    keyframes: int = 0

    def cells(self, before: Score) -> list[str]:
        errors = np.array(self.errors)
        mean, other = np.nanmean(errors), np.nanmean(before.errors)
        cpu, other_cpu = self.cpu_s / self.keyframes, before.cpu_s / before.keyframes
        right = np.mean(np.nan_to_num(errors, nan=np.inf) < RIGHT)
        return [f"{mean:.4f}", f"{mean / other:.3f}", f"{right:.2f}", f"{cpu * 1e3:.1f}", f"{cpu / other_cpu:.2f}"]


class Timed:
    """An estimator whose calls are timed."""

    def __init__(self, estimator: Estimator, score: Score) -> None:
        self.skeleton, self.follows = estimator.skeleton, getattr(estimator, "follows", False)
        self._estimator, self._score = estimator, score

    def __call__(self, rgb: np.ndarray, time_s: float, **expectation: object) -> list[Person]:
        start_s = time.process_time()
        people = self._estimator(rgb, time_s, **expectation)
        self._score.cpu_s += time.process_time() - start_s
        self._score.keyframes += 1
        return people


def judge(
    clip: Clip, models: tuple[Model, Model], contender: str, score: Score, rows: range, first: int, max_people: int
) -> None:
    """Stream the keyframes `rows`, and with glances what lies between; those from the one at `first` on count."""
    model, eye = CONTENDERS[contender]
    has_glance = contender == GLANCE
    with pose_estimator(model, eye=eye, max_people=max_people) as estimator:
        timed = Timed(estimator, score)
        with Stream(estimator=timed, models=models, max_people=max_people, lag=0, glance=has_glance) as stream:
            for k, row in enumerate(range(rows[0], rows[-1] + 1) if has_glance else rows):
                motion = next(m for m in stream.push(clip.pictures[row], clip.times_s[row], wait=True) if m.index == k)
                distances = [
                    float(np.linalg.norm(person.pose[LIMBS] - clip.truth[row], axis=1).mean())
                    for person in motion.measured or ()
                ]
                if motion.keyframe and row >= rows[first]:
                    score.errors.append(min(distances, default=np.nan) / clip.torso_px)


def compare(name: str, clip: Clip, every: int, phases: Sequence[range], first: int, max_people: int) -> None:
    """Print a table of all contenders. Where every picture is a keyframe there is nothing to glance at."""
    image, world = (load_model(shipped_name(space, every)) for space in LANDMARK_SPACES)
    scores = {contender: Score() for contender in CONTENDERS if contender != GLANCE or phases[0].step > 1}
    for rows in phases:
        for contender, score in scores.items():
            judge(clip, (image, world), contender, score, rows, first, max_people)
    before = scores[TODAY]
    heads = [f"{name}, N = {every}", "error", "over today's", "right", "CPU ms", "over today's"]
    print(table([heads, *([contender, *score.cells(before)] for contender, score in scores.items())]), flush=True)


def variant(clip: Clip, name: str, stride: int) -> Clip:
    """A clip made of another one."""
    if name in PARTS:
        return cut_off(clip, name)
    return (
        looped(clip, KEYFRAMES_OF_A_LOOP * stride)
        if name == "loop"
        else {"boxed": boxed, "mirrored": mirrored}[name](clip)
    )


def compare_phases(name: str, clip: Clip, every: int, phases: int | None, max_people: int) -> None:
    """Keyframes from every phase on, or from so many. The first of each is left out: nothing is expected there."""
    stride = round(every * clip.rate_hz / 30)
    firsts = range(0, stride, 1 if phases is None else max(1, stride // phases))
    compare(name, clip, every, [range(first, len(clip.pictures), stride) for first in firsts], 1, max_people)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the clips, then print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--cameras", nargs="+", default=["cam03", "cam04"])
    parser.add_argument("--every", nargs="+", type=int, default=[5, 10, 15])
    parser.add_argument("--small", nargs="+", type=float, default=[], metavar="K")
    parser.add_argument("--yard", type=Path, help="a clip whose median is the empty yard, for --small")
    parser.add_argument("--made", nargs="+", choices=VARIANTS, default=[])
    parser.add_argument("--phases", type=int, help="so many of the phases of the keyframes instead of all")
    parser.add_argument("--max-people", type=int, default=1)
    args = parser.parse_args(argv)
    yard = resized(empty_view(read_pictures(args.yard)), *YARD) if args.small else None
    for camera in args.cameras:
        clip = read_clip(args.videos, args.truth, camera)
        for every in args.every:
            compare_phases(camera, clip, every, args.phases, args.max_people)
            for name in args.made:
                other = variant(clip, name, round(every * clip.rate_hz / 30))
                compare_phases(f"{camera}, {name}", other, every, args.phases, args.max_people)
        for size in args.small if yard is not None else ():
            small = shrunk(clip, yard, 1 / size, round(10 * clip.rate_hz / 30))
            compare(f"{camera}, 1/{size:g} of the height", small, 10, [range(len(small.pictures))], 0, args.max_people)


if __name__ == "__main__":
    main()
