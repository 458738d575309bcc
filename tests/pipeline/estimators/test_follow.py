"""FollowingEstimator over an eye whose people are known: whom it looks at, when it searches, what it believes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from support import fakes
from support.fakes import standing_pose

from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.estimators.region import Region
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.stream import Stream

PICTURE = np.zeros((480, 640, 3), np.uint8)
EVERY = 10


@dataclass
class KnownEye:
    """Sees the people of a scene: those whose hips lie near a region's middle, and of whom it is no misfit."""

    people: list[Person] = field(default_factory=list)
    smallest: float = 1 / 6  # of what the detector is shown
    skeleton: str = "BlazePose-33"
    width: float = 1.0
    looks: int = 0
    finds: int = 0
    is_closed: bool = False
    reaction: Callable[[Person], Person] = lambda person: person

    def look(self, rgb: np.ndarray, region: Region) -> Person | None:
        self.looks += 1
        for person in self.people:
            own = region_of(person)
            if own.offset(region) < 0.3 and abs(own.growth(region)) < 0.6:
                return self.reaction(person)
        return None

    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:
        self.finds += 1
        side = max(rgb.shape[:2]) if part is None else part.side
        regions = [region_of(person) for person in self.people if 0 <= region_of(person).x <= rgb.shape[1]]
        return [
            region
            for region in regions
            if region.side > self.smallest * side
            and (part is None or max(abs(region.x - part.x), abs(region.y - part.y)) < side / 2)
        ]

    def close(self) -> None:
        self.is_closed = True


def region_of(person: Person) -> Region:
    region = Region.of_pose(person.pose, margin=1.2)
    assert region is not None
    return region


def someone(x_px: float = 300.0, y_px: float = 200.0, size_px: float = 50.0, score: float = 0.9) -> Person:
    person = fakes.person(x_px=x_px, y_px=y_px, size_px=size_px)
    return Person(person.pose, person.world, np.full(33, score))


def run(
    eye: KnownEye,
    scene: Callable[[int], list[Person]],
    keyframes: int,
    *,
    max_people: int = 1,
    picture: Callable[[int], np.ndarray] = lambda _: PICTURE,
) -> list[Motion]:
    """A Motion for each keyframe of a stream whose scene at keyframe k is known."""
    motions = []
    with Stream(
        estimator=FollowingEstimator(eye, max_people=max_people), models=fakes.models(), max_people=max_people
    ) as stream:
        for k in range(keyframes):
            eye.people = scene(k)
            motions += [m for m in stream.push(picture(k), k * EVERY / 30, wait=True) if m.index == k]
    return motions


def test_one_person_takes_one_look_a_keyframe_and_few_searches():
    eye = KnownEye()
    motions = run(eye, lambda k: [someone(x_px=250 + 10 * k)], 31)
    assert all(motion.measured is not None and len(motion.measured) == 1 for motion in motions)
    assert {motion.ids.tolist()[0] for motion in motions} == {0}
    # The second keyframe knows no speed yet; a search at first and a check every two seconds.
    assert eye.looks <= 33 and eye.finds <= 6


def test_a_person_who_leaps_is_looked_at_twice():
    eye = KnownEye()
    run(eye, lambda k: [someone(x_px=250 if k < 5 else 290)], 6)
    assert eye.looks == 7


def test_a_person_who_goes_is_gone_within_a_second():
    eye = KnownEye()
    motions = run(eye, lambda k: [someone()] if k < 6 else [], 12)
    assert not any(motion.measured for motion in motions[6:])
    assert [len(motion.ids) for motion in motions[10:]] == [0, 0]


def test_a_person_far_away_is_searched_for_and_followed_again():
    eye = KnownEye()
    motions = run(eye, lambda k: [someone(x_px=150 if k < 5 else 500)], 8)
    assert all(motion.measured for motion in motions)


def test_people_who_come_are_seen_within_a_second():
    eye = KnownEye()
    motions = run(eye, lambda k: [someone(x_px=150), *([someone(x_px=450)] if k >= 4 else [])], 10, max_people=3)
    assert [len(motion.measured or ()) for motion in motions[:4]] == [1] * 4
    assert all(len(motion.measured or ()) == 2 for motion in motions[8:])


def test_no_more_people_than_wanted_and_those_who_were_there_first():
    eye = KnownEye()
    first, second = someone(x_px=150), someone(x_px=450)
    motions = run(eye, lambda k: [first] if k < 3 else [second, first], 30, max_people=1)
    assert all(len(motion.measured or ()) == 1 for motion in motions)
    assert all(motion.measured and motion.measured[0].pose[0, 0] < 300 for motion in motions)


def test_small_people_are_searched_for_in_tiles():
    small = someone(size_px=12)  # 38 px high
    eye = KnownEye(smallest=1 / 5)
    motions = run(eye, lambda _: [small], 3)
    assert all(motion.measured for motion in motions)


def test_two_regions_that_follow_one_person_become_one():
    eye = KnownEye()

    def scene(k: int) -> list[Person]:
        # The second person walks behind the first, and is not seen there.
        others = [someone(x_px=420 - 20 * k)] if 420 - 20 * k - 50 > 300 or k > 9 else []
        return [someone(x_px=300), *others]

    motions = run(eye, scene, 10, max_people=2)
    for motion in motions:
        poses = [person.pose for person in motion.measured or ()]
        assert len(poses) == len(eye_once(poses))


def eye_once(poses: list[np.ndarray]) -> list[np.ndarray]:
    """The poses without those that repeat another one."""
    return [pose for i, pose in enumerate(poses) if not any(np.allclose(pose, other) for other in poses[:i])]


def test_a_chair_is_not_followed():
    eye = KnownEye(smallest=1 / 6)
    chair = someone(score=0.3)
    seen = run(eye, lambda k: [someone()] if k < 4 else [chair], 4)
    assert seen[-1].measured
    # From now on the landmark network sees somebody in the chair, and the detector nobody.
    eye.smallest = math.inf
    motions = run(KnownEyeWithChair(), lambda k: [someone()] if k < 4 else [chair], 20)
    followed = [motion.time_s for motion in motions if motion.measured]
    assert max(followed) <= 4 / 3 + 1.0
    assert not len(motions[-1].ids)


@pytest.mark.parametrize("x_px", [20.0, 320.0, 620.0])
def test_a_chair_at_the_border_is_not_followed_either(x_px: float):
    motions = run(KnownEyeWithChair(), lambda k: [someone(x_px=x_px, score=0.9 if k < 4 else 0.3)], 20, max_people=1)
    assert max(motion.time_s for motion in motions if motion.measured) <= 4 / 3 + 1.0


def turned(person: Person, angle: float) -> Person:
    middle = person.pose[23:25].mean(axis=0)
    c, s = math.cos(angle), math.sin(angle)
    return Person((person.pose - middle) @ np.array([[c, s], [-s, c]]) + middle, person.world, person.scores)


@pytest.mark.parametrize(("angle", "is_somebody"), [(0.0, True), (0.9, True), (1.5, False), (-3.0, False)])
def test_a_stranger_in_a_few_pixels_is_upright(angle: float, is_somebody: bool):
    eye = KnownEye(smallest=1 / 5)
    motions = run(eye, lambda _: [turned(someone(size_px=12), angle)], 3)
    assert all(bool(motion.measured) == is_somebody for motion in motions)


def test_somebody_who_fills_the_picture_may_stand_on_their_hands():
    motions = run(KnownEye(), lambda _: [turned(someone(y_px=240, size_px=80), 3.0)], 3)
    assert all(motion.measured for motion in motions)


def test_a_small_stranger_of_whom_little_is_seen_is_a_branch():
    motions = run(KnownEye(smallest=1 / 5), lambda _: [someone(size_px=12, score=0.3)], 3)
    assert not any(motion.measured for motion in motions)


def test_a_stranger_whom_the_detector_sees_once_only_is_a_branch():
    class FickleEye(KnownEye):
        def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:
            is_tile = part is not None and part.side in (480.0, 240.0)
            return super().find(rgb, part) if is_tile else []

    motions = run(FickleEye(smallest=1 / 5), lambda _: [someone(size_px=12)], 3)
    assert not any(motion.measured for motion in motions)


def test_a_part_of_a_body_is_no_body_that_shrank():
    """Somebody half outside: a look sees a body in the half that is left, and the detector sees the whole one."""
    eye = KnownEye()
    truth, half = someone(score=0.6), turned(someone(size_px=25, y_px=230, score=0.5), 1.0)

    def look(rgb: np.ndarray, region: Region) -> Person | None:
        eye.looks += 1
        is_first_expected = eye.looks == 5 or region.side < 0.7 * region_of(truth).side
        return half if is_first_expected else truth

    eye.look = look  # type: ignore[method-assign]
    motions = run(eye, lambda _: [truth], 8)
    assert all(motion.measured and (motion.measured[0].pose == truth.pose).all() for motion in motions)


def test_where_one_stands_alone_and_nothing_moves_few_searches_wait_for_others():
    eye = KnownEye()
    run(eye, lambda _: [someone()], 91, max_people=4)
    assert eye.looks <= 93 and eye.finds <= 3 + 30 / 2 + 30 / 4 + 2


def test_who_comes_to_one_who_stood_alone_is_seen_within_a_second():
    eye = KnownEye()

    def picture(k: int) -> np.ndarray:
        rgb = PICTURE.copy()
        if k >= 40:
            rgb[120:300, 480:540] = 40 + 30 * (k % 2)  # somebody who moves
        return rgb

    motions = run(
        eye,
        lambda k: [someone(x_px=150), *([someone(x_px=510)] if k >= 40 else [])],
        50,
        max_people=4,
        picture=picture,
    )
    assert all(len(motion.measured or ()) == 2 for motion in motions[44:])


class KnownEyeWithChair(KnownEye):
    def find(self, rgb: np.ndarray, part: Region | None = None) -> list[Region]:
        regions = super().find(rgb, part)
        return regions if self.people[0].scores[0] > 0.5 else []


def test_a_wrong_pose_that_its_own_region_agrees_with_is_found_out():
    """Half the truth of a region far too large: the landmark network is content, the detector is not."""
    eye = KnownEye()
    misfit = someone(size_px=120, y_px=150, score=0.5)
    truth = someone()

    def look(rgb: np.ndarray, region: Region) -> Person | None:
        eye.looks += 1
        return misfit if region.side > 1.5 * region_of(truth).side else truth

    eye.look = look  # type: ignore[method-assign]
    follower = FollowingEstimator(eye, max_people=1)
    eye.people = [truth]
    follower._before = [misfit]
    poses = [follower(PICTURE, k / 3)[0].pose for k in range(10)]
    assert (poses[0] == misfit.pose).all() and (poses[-1] == truth.pose).all()


def test_exchanged_sides_are_put_right_and_a_turned_person_is_believed():
    eye = KnownEye()
    mirror = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *[j + 1 if j % 2 else j - 1 for j in range(11, 33)]]
    flips = {6, 12, 13, 14, 15, 16, 17, 18}

    def scene(k: int) -> list[Person]:
        person = someone()
        return [Person(person.pose[mirror], person.world[mirror], person.scores)] if k in flips else [person]

    motions = run(eye, scene, 19)
    left_is_right = [bool(m.measured and m.measured[0].pose[11, 0] > m.measured[0].pose[12, 0]) for m in motions]
    assert left_is_right[:14] == [True] * 14  # 6 once, 12 and 13 for a while
    assert left_is_right[15:] == [False] * 4


@pytest.mark.parametrize("x_px", [0.0, 639.0])
def test_a_person_half_outside_is_followed(x_px: float):
    eye = KnownEye()
    motions = run(eye, lambda _: [someone(x_px=x_px)], 6)
    assert all(motion.measured for motion in motions)


@pytest.mark.parametrize(("x_px", "margin"), [(300.0, 1.18), (5.0, 1.4)])
def test_the_region_is_wider_around_somebody_whom_the_edge_cuts_off(x_px: float, margin: float):
    eye, person, regions = KnownEye(), someone(x_px=x_px), []
    look = eye.look
    eye.look = lambda rgb, region: regions.append(region) or look(rgb, region)  # type: ignore[method-assign]
    run(eye, lambda _: [person], 4)
    assert regions[-1].side == pytest.approx(Region.of_pose(person.pose, margin=margin).side, rel=1e-3)


def test_somebody_of_whom_nothing_is_left_in_the_picture_is_gone():
    motions = run(KnownEye(), lambda k: [someone(x_px=max(10, 90 - 20 * k) if k < 6 else -20)], 8)
    assert [len(motion.measured or ()) for motion in motions] == [1] * 6 + [0] * 2


def test_nobody_is_looked_for_beyond_the_picture():
    eye = KnownEye()
    run(eye, lambda k: [someone(x_px=560 + 40 * k)], 8)
    assert eye.looks < 8


def test_a_change_of_size_begins_a_new_video():
    eye = KnownEye()
    large = np.zeros((960, 1280, 3), np.uint8)
    motions = run(
        eye,
        lambda k: [someone()] if k < 4 else [someone(x_px=600, y_px=400, size_px=100)],
        8,
        picture=lambda k: PICTURE if k < 4 else large,
    )
    assert all(motion.measured for motion in motions)
    assert {motion.ids.tolist()[0] for motion in motions} == {0}


def test_without_a_stream_people_are_expected_where_they_were():
    eye = KnownEye([someone()])
    with FollowingEstimator(eye, max_people=2) as follower:
        assert len(follower(PICTURE, 0.0)) == 1
        looks = eye.looks
        assert len(follower(PICTURE, 1 / 3)) == 1 and eye.looks == looks + 1
        eye.people = [someone(x_px=100)]
        assert len(follower(PICTURE, 0.0)) == 1  # an earlier time: another video
    assert eye.is_closed


def test_a_new_scene_expects_nobody():
    eye = KnownEye([someone()])
    follower = FollowingEstimator(eye)
    for k in range(6):
        follower(PICTURE, k / 3)
    looks, eye.finds = eye.looks, 0
    follower.forget()
    eye.people = [someone(x_px=330)]
    assert len(follower(PICTURE, 2.0)) == 1
    assert (eye.looks - looks, eye.finds) == (1, 1)  # it was searched for, not looked for where it had been


def test_two_runs_are_the_same():
    rng = np.random.default_rng(0)
    places = rng.uniform(100, 500, (20, 2))

    def results() -> list[np.ndarray]:
        motions = run(KnownEye(), lambda k: [someone(x_px=x) for x in places[k]], 20, max_people=2)
        return [person.pose for motion in motions for person in motion.measured or ()]

    first, second = results(), results()
    assert len(first) == len(second) and all((a == b).all() for a, b in zip(first, second, strict=True))


def test_max_people_must_be_at_least_one():
    with pytest.raises(ValueError, match="max_people must be at least 1, found 0"):
        FollowingEstimator(KnownEye(), max_people=0)


def test_poses_without_a_body_are_not_looked_for():
    eye = KnownEye()
    follower = FollowingEstimator(eye)
    follower._before = [Person(np.full((33, 2), np.nan), np.full((33, 3), np.nan), np.zeros(33))]
    assert follower(PICTURE, 0.0) == [] and eye.looks == 0


def test_standing_pose_is_the_size_that_these_tests_assume():
    assert 2.0 < np.ptp(standing_pose(size_px=1.0)[:, 1]) < 4.0
