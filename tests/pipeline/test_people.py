"""People: who is who from keyframe to keyframe, and who is not believed."""

from __future__ import annotations

import numpy as np
import pytest
from support.fakes import models, person, with_sigma

from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.motion import Origin
from mixsynth_stream.pipeline.people import People
from mixsynth_stream.spaces import SPACES
from mixsynth_stream.weights import load_model

PERIOD_S = 1 / 3


def walk(people: People, count: int, *paths, start: int = 0):
    """Feed keyframes; each path maps seconds to a Person or None. Returns the scene after each."""
    scenes = []
    for k in range(start, start + count):
        detections = [path(k * PERIOD_S) for path in paths]
        scenes.append(people.observe([p for p in detections if p], k * PERIOD_S, 480.0))
    return scenes


def rightwards(time_s):
    return person(x_px=100 + 150 * time_s)


def leftwards(time_s):
    return person(x_px=700 - 150 * time_s, y_px=215)


def test_two_people_who_cross_keep_their_ids():
    people = People(models(), max_people=2)
    scenes = walk(people, 13, rightwards, leftwards)  # they meet after 2 s, at keyframe 6
    for k, scene in enumerate(scenes):
        now = scene.at([k * PERIOD_S])
        by_id = dict(zip(now.ids.tolist(), now.poses[:, 0, 0, 0], strict=True))
        assert set(by_id) == {0, 1}
        assert abs(by_id[0] - rightwards(k * PERIOD_S).pose[0, 0]) < 5
        assert abs(by_id[1] - leftwards(k * PERIOD_S).pose[0, 0]) < 5


def test_order_of_detections_does_not_matter():
    one, two = People(models(), max_people=2), People(models(), max_people=2)
    for k in range(8):
        detections = [rightwards(k * PERIOD_S), leftwards(k * PERIOD_S)]
        a = one.observe(detections, k * PERIOD_S, 480.0).at([k * PERIOD_S])
        b = two.observe(detections[::-1] if k else detections, k * PERIOD_S, 480.0).at([k * PERIOD_S])
        np.testing.assert_array_equal(a.poses, b.poses)


def test_somebody_missed_once_keeps_the_id_and_is_forecast_meanwhile():
    people = People(models(), max_people=1)
    walk(people, 5, rightwards)
    gap = walk(people, 1, lambda t: None, start=5)[0].at([5 * PERIOD_S])
    assert gap.ids.tolist() == [0] and (gap.origin == Origin.FORECAST).all()
    back = walk(people, 1, rightwards, start=6)[0].at([6 * PERIOD_S])
    assert back.ids.tolist() == [0] and (back.origin == Origin.MEASURED).all()


def test_who_comes_where_others_may_and_who_is_lost_is_news():
    people = People(models(), max_people=2)
    news = []
    for k in range(6):
        walk(people, 1, rightwards, leftwards if k != 4 else lambda _: None, start=k)
        news.append(people.has_news)
    assert news == [True, False, False, False, True, False]
    alone = People(models(), max_people=1)
    walk(alone, 1, rightwards)
    assert not alone.has_news


def test_somebody_gone_is_absent_and_comes_back_as_somebody_new():
    people = People(models(), max_people=1)
    walk(people, 5, rightwards)
    scenes = walk(people, 6, lambda t: None, start=5)
    assert scenes[-1].at([10 * PERIOD_S]).ids.tolist() == []
    assert walk(people, 1, rightwards, start=11)[0].at([11 * PERIOD_S]).ids.tolist() == [1]


def test_a_wrong_detection_does_not_poison_the_track():
    people = People(models(), max_people=2)
    walk(people, 5, rightwards)
    elsewhere = person(x_px=600, y_px=40, size_px=30)
    scene = people.observe([elsewhere], 5 * PERIOD_S, 480.0).at([5 * PERIOD_S])
    assert scene.ids.tolist() == [0, 1]
    assert abs(scene.poses[0, 0, 0, 0] - rightwards(5 * PERIOD_S).pose[0, 0]) < 30  # forecast, not the wrong pose
    assert (scene.origin[0] == Origin.FORECAST).all()


def test_a_double_of_somebody_is_not_believed_until_it_is_seen_again():
    people, double = People(models(), max_people=2), person(x_px=50)  # half a torso beside the walker
    people.observe([rightwards(0), double], 0.0, 480.0)
    scene = people.observe([rightwards(PERIOD_S)], PERIOD_S, 480.0)
    assert scene.at([0.0]).ids.tolist() == [0, 1]
    assert scene.at([0.5 * PERIOD_S]).ids.tolist() == [0]
    again = People(models(), max_people=2)
    for k in range(2):
        again.observe([person(x_px=100), double], k * PERIOD_S, 480.0)
    scene = again.observe([person(x_px=100)], 2 * PERIOD_S, 480.0)
    assert scene.at([1.5 * PERIOD_S]).ids.tolist() == [0, 1]


def test_somebody_else_seen_once_keeps_the_id_through_a_missed_keyframe():
    people = People(models(), max_people=2)
    people.observe([rightwards(0), leftwards(0)], 0.0, 480.0)
    scene = people.observe([rightwards(PERIOD_S)], PERIOD_S, 480.0)
    assert scene.at([0.5 * PERIOD_S]).ids.tolist() == [0, 1]
    scene = people.observe([rightwards(2 * PERIOD_S), leftwards(0.1)], 2 * PERIOD_S, 480.0)
    assert scene.at([2 * PERIOD_S]).ids.tolist() == [0, 1]
    gone = people.observe([rightwards(2.0)], 2.0, 480.0)
    assert gone.at([2 * PERIOD_S + 1.01]).ids.tolist() == [0]


def test_after_a_cut_the_new_person_takes_the_silent_ones_place():
    people = People(models(), max_people=1)
    walk(people, 5, rightwards)
    scene = people.observe([person(x_px=600, y_px=40, size_px=30)], 5 * PERIOD_S, 480.0)
    assert scene.at([5 * PERIOD_S]).ids.tolist() == [1]


def test_a_track_that_ends_keeps_its_last_frames():
    people = People(models(), max_people=1)
    walk(people, 5, rightwards)
    scene = people.observe([person(x_px=600, y_px=40, size_px=30)], 5 * PERIOD_S, 480.0)
    assert scene.at([4 * PERIOD_S]).ids.tolist() == [0]  # the keyframe before: measured, and not to be lost
    assert scene.at([4.5 * PERIOD_S]).ids.tolist() == [0]
    silent = People(models(), max_people=1)
    walk(silent, 5, rightwards)
    scenes = [silent.observe([], time_s, 480.0) for time_s in (1.7, 2.1, 2.5)]
    assert scenes[-1].at([4 * PERIOD_S + 0.99]).ids.tolist() == [0]
    assert scenes[-1].at([4 * PERIOD_S + 1.01]).ids.tolist() == []


def test_never_more_than_max_people():
    people = People(models(), max_people=2)
    detections = [person(x_px=x) for x in (100.0, 400.0, 700.0)]
    scene = people.observe(detections, 0.0, 480.0)
    assert scene.at([0.0]).ids.tolist() == [0, 1]


def test_slow_source_keeps_its_people():
    people = People(models(), max_people=1)
    for k in range(4):
        scene = people.observe([person(x_px=100 + 10 * k)], 2.0 * k, 480.0)
        assert scene.at([2.0 * k]).ids.tolist() == [0]


@pytest.mark.parametrize(("pause_s", "ids"), [(0.9, [0]), (4.0, [0]), (5.5, [1]), (60.0, [1])])
def test_who_stands_at_the_same_place_after_a_long_pause_is_somebody_else(pause_s, ids):
    """No estimator looked meanwhile: the camera was lost, or the machine asleep."""
    people = People(models(), max_people=1)
    for k in range(5):
        people.observe([person(x_px=100)], k * PERIOD_S, 480.0)
    time_s = 4 * PERIOD_S + pause_s
    scene = people.observe([person(x_px=100)], time_s, 480.0)
    assert scene.at([time_s]).ids.tolist() == ids
    assert scene.at([4 * PERIOD_S]).ids.tolist() == [0]  # what was seen before the pause is not lost


def test_nobody_far_away_takes_an_id_after_a_pause():
    """The reach is one body scale, and after a pause of four seconds two more."""
    scale_px = float(scale_of(person().pose[SPACES["image"].core]))
    for scales, ids in ((2.9, [0]), (3.1, [1])):
        people = People(models(), max_people=1)
        for k in range(5):
            people.observe([person(x_px=100)], k * PERIOD_S, 480.0)
        time_s = 4 * PERIOD_S + 4.0
        assert people.observe([person(x_px=100 + scales * scale_px)], time_s, 480.0).at([time_s]).ids.tolist() == ids


@pytest.mark.parametrize("hidden", [{6}, {5, 6}, {6, 7}])
def test_who_is_hidden_while_two_cross_keeps_the_id(hidden):
    """The one behind is not seen for up to two thirds of a second; they meet at keyframe 6."""
    people = People(models(), max_people=2)
    scenes = walk(people, 13, rightwards, lambda t: None if round(t / PERIOD_S) in hidden else leftwards(t))
    for k, scene in enumerate(scenes):
        now = scene.at([k * PERIOD_S])
        by_id = dict(zip(now.ids.tolist(), now.poses[:, 0, 0, 0], strict=True))
        assert set(by_id) == {0, 1}, k
        assert abs(by_id[0] - rightwards(k * PERIOD_S).pose[0, 0]) < 5
        assert abs(by_id[1] - leftwards(k * PERIOD_S).pose[0, 0]) < (100 if k in hidden else 5)


def test_newcomer_is_absent_before_the_first_sighting():
    people = People(models(), max_people=2)
    walk(people, 3, rightwards)
    scene = people.observe([rightwards(1.0), leftwards(1.0)], 1.0, 480.0)
    assert scene.at([0.9]).ids.tolist() == [0]
    assert scene.at([0.9, 1.0]).ids.tolist() == [0, 1]


def test_detection_with_unseen_joints_matches_on_the_others():
    people = People(models(), max_people=1)
    walk(people, 5, rightwards)
    pose = rightwards(5 * PERIOD_S).pose.copy()
    pose[25:] = np.nan
    scene = people.observe([person(pose)], 5 * PERIOD_S, 480.0).at([5 * PERIOD_S])
    assert scene.ids.tolist() == [0] and scene.origin[0, 0, 27] == Origin.FORECAST


def test_empty_scene_has_the_right_shapes():
    scene = People(models(), max_people=1).observe([], 0.0, 480.0).at([0.0, 0.1])
    assert scene.poses.shape == (0, 2, 33, 2) and scene.world.shape == (0, 2, 33, 3)


def test_a_keyframe_is_one_call_of_each_network_whoever_is_there():
    pair = models()
    people = People(pair, max_people=4)
    for k, places in enumerate(
        [(100, 300, 500), (110, 310, 510), (120, 520), (130, 320, 530, 630), (140, 330, 540, 630)]
    ):
        people.observe([person(x_px=x) for x in places], k * PERIOD_S, 480.0)
    # None at the first keyframe; two where somebody is missed; three of four where one is new.
    assert [network.batches for network in pair] == [[3, 2, 3, 4]] * 2


def test_company_does_not_change_anybodys_poses():
    pair = load_model("image-n10", "native"), load_model("world-n10", "native")
    alone, in_company = People(pair, max_people=1), People(pair, max_people=3)
    for k in range(7):
        others = [person(x_px=400 + 3 * k), person(x_px=560 - 2 * k)][: 1 + k % 2]
        expected = alone.observe([rightwards(k * PERIOD_S)], k * PERIOD_S, 480.0)
        scene = in_company.observe([rightwards(k * PERIOD_S), *others], k * PERIOD_S, 480.0)
        for field in ("poses", "world", "scores", "origin"):
            a, b = (getattr(one.at([k * PERIOD_S, k * PERIOD_S + 0.2]), field)[0] for one in (scene, expected))
            np.testing.assert_array_equal(a, b)


def test_somebody_without_a_table_in_one_space_only_has_the_other():
    pair = with_sigma("image"), models()[1]
    scene = People(pair, max_people=1).observe([person()], 0.0, 480.0)
    assert scene.at([0.1]).sigma is not None and scene.at([0.1]).world_sigma is None
    assert People(pair, max_people=1).empty_scene().at([0.0]).sigma is not None
