"""Compare whom the eyes find: several people, two who cross, and nobody.

    python scripts/compare_finding.py VIDEO ... [--max-people 2] [--every 10] [--phases 2]
    python scripts/compare_finding.py VIDEO ... --empty [--max-people 4]
    python scripts/compare_finding.py VIDEOS --crossing TRUTH --yard FILE

The first prints which share of the people whom VIDEO mode sees on every frame an eye finds at its keyframes, and how
many of its people VIDEO mode does not see there ("ghosts"). With `--empty` a clip whose camera stands still gives a
picture without those who move, with noise: everybody found in it is a ghost. With `--crossing` the man of Pose2Sim's
cam03 and cam04 is cut out and walks past himself over a yard, in four clips; "both" is the share of keyframes at which
both are within half a torso of the truth.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from eye_clips import YARD, Clip, crossing, empty_view, read_clip, read_pictures, resized, torso_of

from mixsynth_stream.data.camera_truth import LIMB_JOINTS
from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.estimators.choose import EYES, pose_estimator
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.reports import table
from mixsynth_stream.spaces import LANDMARK_SPACES, SPACES
from mixsynth_stream.weights import load_model

CORE, LIMBS = SPACES["image"].core, list(LIMB_JOINTS)
MODEL, OFFICIAL = "full", "full-official"
# Somebody is found within so many body scales of where VIDEO mode sees them, and is a ghost beyond so many.
FOUND_WITHIN, GHOST_BEYOND = 0.5, 1.0
# Both of two who cross are right where their limbs are within so many torsos of the truth.
RIGHT = 0.5
EMPTY_KEYFRAMES = 24
NOISE = 3.0  # standard deviation of a pixel


def keyframes_of(clip: Clip, rows: Sequence[int], every: int, eye: str, max_people: int) -> list[list[Person]]:
    """Who is measured at the keyframes `rows` of a clip, by a stream that sees only these."""
    models = tuple(load_model(shipped_name(space, every)) for space in LANDMARK_SPACES)
    people: list[list[Person]] = []
    with (
        pose_estimator(MODEL, eye=eye, max_people=max_people) as estimator,
        Stream(estimator=estimator, models=models, max_people=max_people, lag=0, glance=False) as stream,
    ):
        for k, row in enumerate(rows):
            motion = next(m for m in stream.push(clip.pictures[row], clip.times_s[row], wait=True) if m.index == k)
            people.append(list(motion.measured or ()))
    return people


def distance(person: Person, other: Person) -> float:
    return float(distance_in_scales(person.pose[CORE], other.pose[CORE], min_scale=1.0))


def compare_people(name: str, clip: Clip, every: int, phases: int, max_people: int) -> None:
    """The share of VIDEO mode's people that each eye finds, and its ghosts a keyframe."""
    with MediaPipeEstimator(OFFICIAL, max_people=max_people, mode="video") as estimator:
        dense = [list(estimator(*frame)) for frame in zip(clip.pictures, clip.times_s, strict=True)]
    stride = round(every * clip.rate_hz / 30)
    rows = []
    for eye in EYES:
        hits, expected, ghosts, keyframes = 0, 0, 0, 0
        for first in range(0, stride, max(1, stride // phases)):
            at = range(first, len(clip.pictures), stride)
            for row, people in zip(at, keyframes_of(clip, at, every, eye, max_people), strict=True):
                nearest = [min((distance(p, one) for p in people), default=np.inf) for one in dense[row]]
                away = [min((distance(one, p) for one in dense[row]), default=np.inf) > GHOST_BEYOND for p in people]
                hits, expected = hits + sum(d < FOUND_WITHIN for d in nearest), expected + len(nearest)
                ghosts, keyframes = ghosts + sum(away), keyframes + 1
        rows.append([eye, f"{hits / max(expected, 1):.2f}", f"{ghosts / keyframes:.2f}"])
    print(table([[f"{name}, {max_people} asked for", "found again", "ghosts a keyframe"], *rows]), flush=True)


def compare_empty(name: str, clip: Clip, every: int, max_people: int) -> None:
    """How many keyframes of an empty view, whole and in quarters, show somebody."""
    view = empty_view(clip)
    height, width = (side // 2 for side in view.shape[:2])
    quarters = [view[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    noise = np.random.default_rng(0)
    rows = []
    for eye in EYES:
        ghosts = 0
        for part in (view, *quarters):
            pictures = [
                np.clip(part + noise.normal(0, NOISE, (*part.shape[:2], 1)), 0, 255).astype(np.uint8)
                for _ in range(EMPTY_KEYFRAMES)
            ]
            empty = Clip([k / 3 for k in range(EMPTY_KEYFRAMES)], pictures)
            ghosts += sum(map(bool, keyframes_of(empty, range(EMPTY_KEYFRAMES), every, eye, max_people)))
        rows.append([eye, f"{ghosts} of {EMPTY_KEYFRAMES * (1 + len(quarters))}"])
    print(table([[f"{name}, nobody there", "keyframes with somebody"], *rows]), flush=True)


def compare_crossing(videos: Path, truth: Path, yard: np.ndarray, every: int) -> None:
    """The share of keyframes at which both of two who cross are right."""
    men = [read_clip(videos, truth, camera) for camera in ("cam03", "cam04")]
    rows = [[eye] for eye in EYES]
    for front, back in itertools.product(men, men):
        clip, behind = crossing(front, back, yard, round(every * front.rate_hz / 30))
        for row in rows:
            people = keyframes_of(clip, range(len(clip.pictures)), every, row[0], 2)
            are_right = [_are_right(*keyframe) for keyframe in zip(people, clip.truth, behind, strict=True)]
            row.append(f"{np.mean(are_right):.2f}")
    for row in rows:
        row.append(f"{np.mean([float(cell) for cell in row[1:]]):.2f}")
    names = [f"{front} before {back}" for front, back in itertools.product(("cam03", "cam04"), repeat=2)]
    print(table([["both", *names, "mean"], *rows]), flush=True)


def _are_right(people: Sequence[Person], ahead: np.ndarray, behind: np.ndarray) -> bool:
    """Whether somebody is near each of two truths [12, 2]."""
    return all(
        any(np.linalg.norm(one.pose[LIMBS] - truth, axis=1).mean() < RIGHT * torso_of(truth) for one in people)
        for truth in (ahead, behind)
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the clips, then print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--phases", type=int, default=2)
    parser.add_argument("--max-people", type=int, default=2)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--crossing", type=Path, metavar="TRUTH")
    parser.add_argument("--yard", type=Path, help="a clip whose median is the empty yard, for --crossing")
    args = parser.parse_args(argv)
    if args.crossing is not None:
        yard = resized(empty_view(read_pictures(args.yard)), *YARD)
        compare_crossing(args.videos[0], args.crossing, yard, args.every)
        return
    for path in args.videos:
        clip = read_pictures(path)
        if args.empty:
            compare_empty(path.stem, clip, args.every, args.max_people)
        else:
            compare_people(path.stem, clip, args.every, args.phases, args.max_people)


if __name__ == "__main__":
    main()
