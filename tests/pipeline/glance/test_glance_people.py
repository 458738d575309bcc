"""Glances between keyframes: poses come closer to where people are, and no kind of picture makes them much worse."""

from __future__ import annotations

import numpy as np
import pytest
from support.moving import CORE, EVERY, SIZE, dancing, error, follow, picture, standing

from mixsynth_stream.pipeline.glance import glance
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.skeleton import COCO_17


def both(people=(dancing,), **options):
    """(without, with glances): errors of now and of finals."""
    runs = [follow(people, glance=glance, **options) for glance in (False, True)]
    return [[error(run, people, final=final) for run in runs] for final in (False, True)]


@pytest.fixture(scope="module")
def plain():
    return follow((dancing,)), follow((dancing,), glance=False)


def test_poses_of_now_and_final_ones_come_closer(plain):
    with_glances, without = plain
    for final, share in ((False, 0.5), (True, 0.75)):
        assert error(with_glances, (dancing,), final=final) < share * error(without, (dancing,), final=final)


def test_a_body_without_hands_and_feet_is_followed_as_well():
    runs = [follow((dancing,), skeleton=COCO_17, glance=glance) for glance in (True, False)]
    assert runs[0][-1].poses.shape == (1, 17, 2)
    for final, share in ((False, 0.5), (True, 0.75)):
        with_glances, without = (error(run, (dancing,), final=final) for run in runs)
        assert with_glances < share * without
    tracked = [(motion.origin[0] == Origin.TRACKED).mean() for motion in runs[0] if not motion.keyframe]
    assert np.mean(tracked) > 0.9


def test_forecasts_start_from_where_the_person_is(plain):
    def ahead_error(motions):
        distances = []
        for motion in motions:
            if not motion.final and motion.index > 2 * EVERY and motion.index % EVERY:
                truth = np.array([dancing(time_s) for time_s in motion.forecast.time_s[:3]])
                distances.append(np.linalg.norm(motion.forecast.poses[0, :3][:, CORE] - truth, axis=-1).mean())
        return np.mean(distances)

    assert ahead_error(plain[0]) < 0.8 * ahead_error(plain[1])


def test_the_world_pose_follows_the_picture(plain):
    errors = []
    for motions in plain:
        truths = [(dancing(m.time_s)[7] - dancing(m.time_s)[9:11].mean(0)) * 0.5 / 48 for m in motions if not m.final]
        wrists = [m.world[0, CORE[7], :2] for m in motions if not m.final]
        errors.append(np.linalg.norm(np.array(wrists) - truths, axis=1)[2 * EVERY :].mean())
    assert errors[0] < 0.85 * errors[1]


def test_every_pose_says_that_it_was_tracked_and_how_sure_that_is(plain):
    with_glances, without = plain
    tracked, sigmas = [], []
    for motion, plain_motion in zip(with_glances, without, strict=True):
        if motion.keyframe:
            assert (motion.origin[0] == Origin.MEASURED).all()
        else:
            assert not motion.final or not np.isin(motion.origin[0], (Origin.MISSING, Origin.MEASURED)).any()
            tracked.append((motion.origin[0] == Origin.TRACKED).mean())
            # A perfect estimator has no jitter, which sigma of a tracked pose contains: in gaps that is most of it.
            if not motion.final:
                sigmas.append((np.nanmean(motion.sigma[0]), np.nanmean(plain_motion.sigma[0])))
    assert np.mean(tracked) > 0.9
    assert np.mean(sigmas, axis=0)[0] < np.mean(sigmas, axis=0)[1]


def test_finals_do_not_depend_on_the_lag():
    early = [motion for motion in follow((dancing,), lag=0) if motion.final]
    for a, b in zip(early, follow((dancing,), lag=1), strict=True):
        np.testing.assert_array_equal(a.poses, b.poses)
        np.testing.assert_array_equal(a.origin, b.origin)


def test_whom_no_keyframe_shows_for_long_is_followed_no_further(monkeypatch):
    monkeypatch.setattr(glance, "_MOST_LOOKS", 4)  # the keyframe's and three more
    for motion in follow((dancing,)):
        if not motion.final and motion.index % EVERY:
            assert (motion.origin == Origin.TRACKED).any() == (motion.index % EVERY < 4)


def test_estimates_that_come_late_are_followed_to_the_present():
    motions = follow((dancing,), late=4)
    without = follow((dancing,), late=4, glance=False)
    assert error(motions, (dancing,), final=False) < 0.6 * error(without, (dancing,), final=False)
    assert error(motions, (dancing,), final=True) < 0.8 * error(without, (dancing,), final=True)


def test_a_source_without_luma_gives_the_poses_of_no_glance():
    for a, b in zip(follow((dancing,), luma=lambda *_: None), follow((dancing,), glance=False), strict=True):
        np.testing.assert_array_equal(a.poses, b.poses)
        np.testing.assert_array_equal(a.origin, b.origin)


def _flash(index, plane):
    return (plane.astype(int) + 90).clip(0, 255).astype(np.uint8) if index % 4 == 0 else plane


def _interlaced(index, plane):
    other = np.roll(plane, 2, axis=1)
    return np.where((np.arange(len(plane)) % 2)[:, None] == 0, plane, other).astype(np.uint8)


def _noisy(index, plane):
    noise = np.random.default_rng(index).normal(0, 12, plane.shape)
    return (plane + noise).clip(0, 255).astype(np.uint8)


PICTURES = {
    "flashes": (_flash, 0.7),
    "interlaced": (_interlaced, 0.8),
    "noisy": (_noisy, 0.7),
    "dark": (lambda _, plane: plane // 8, 0.8),
    "black": (lambda _, plane: plane * 0, 1.03),
    "covered": (lambda _, plane: np.where(np.arange(SIZE[0]) < 200, np.uint8(60), plane), 1.05),
}


@pytest.mark.parametrize("name", PICTURES)
def test_bad_pictures_help_less_and_do_not_harm(name, plain):
    luma, share = PICTURES[name]
    motions = follow((dancing,), luma=luma)
    for final in (False, True):
        assert error(motions, (dancing,), final=final) < share * error(plain[1], (dancing,), final=final)


def test_a_picture_that_does_not_show_the_person_is_soon_left_aside():
    def gliding(time_s):
        return standing((60.0 + 70.0 * time_s, 150.0))

    still = picture([gliding(0.0)])
    errors = [
        error(follow((gliding,), glance=g, luma=lambda *_: still), (gliding,), final=False) for g in (False, True)
    ]
    # Followed all the same, joints would be twice as far off.
    assert errors[1] < 1.05 * errors[0]


def test_frames_that_come_twice_are_no_stop():
    kept = {}

    def twice(index, plane):
        kept[index] = plane
        return kept[index - index % 2]

    now, final = both(luma=twice)
    assert now[1] < 0.8 * now[0]
    assert final[1] < 0.9 * final[0]


@pytest.mark.parametrize("speed", [60.0, 240.0])
def test_a_camera_that_pans_takes_nobody_along(speed):
    now, final = both(camera=lambda time_s: (speed * time_s, -0.3 * speed * time_s))
    assert now[1] < 0.8 * now[0]
    assert final[1] < 0.95 * final[0]


def test_two_who_cross_stay_who_they_are():
    people = (lambda t: dancing(t, 90.0, 80.0), lambda t: dancing(t + 0.2, 245.0, -80.0))
    motions, without = follow(people), follow(people, glance=False)
    errors = [error(run, people, final=False, ids=(0, 1)) for run in (without, motions)]
    assert errors[1] < 0.9 * errors[0]


def test_one_who_leaves_the_picture_is_not_held_at_its_edge():
    people = (lambda t: dancing(t, 160.0, 260.0),)

    def seen(index, _person):
        return people[0](index / 30)[:, 0].mean() < SIZE[0]

    motions = follow(people, frames=80, seen=seen)
    last = [motion.time_s for motion in motions if len(motion.ids)][-1]
    assert last < 0.7 + 1.4  # seconds: the last sighting and the silence after it
    assert all(np.isfinite(motion.poses).all() for motion in motions)


def test_somebody_whom_the_estimator_misses_once_is_still_followed():
    def seen(index, _person):
        return index != 3 * EVERY

    motions, without = follow((dancing,), seen=seen), follow((dancing,), seen=seen, glance=False)
    assert error(motions, (dancing,), final=False) < 0.7 * error(without, (dancing,), final=False)


def test_a_person_who_stands_still_stays():
    def still(_):
        return standing((160.0, 150.0))

    assert error(follow((still,)), (still,), final=False) < 0.01


def test_a_picture_of_another_size_ends_the_glance_and_no_more():
    def luma(index, plane):
        return plane[::2, ::2].copy() if index >= 35 else plane

    motions = follow((dancing,), luma=luma)
    origins = {motion.index: motion.origin[0, 0] for motion in motions if not motion.final}
    assert origins[34] == Origin.TRACKED
    assert origins[36] == Origin.FORECAST
