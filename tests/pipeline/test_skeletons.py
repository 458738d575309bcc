"""Skeletons other than BlazePose-33 through windows, people and streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.fakes import models, person

from mixsynth_stream import spaces
from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline import ArrayEstimator, Motion, MotionWindow, Origin, Person, Stream
from mixsynth_stream.pipeline.estimators import checks
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.skeleton import (
    BLAZEPOSE_33,
    BODY_25,
    COCO_17,
    H36M_17,
    LANDMARKS,
    SKELETONS,
    WHOLEBODY_133,
    Skeleton,
)
from mixsynth_stream.weights import load_model

BLANK = np.zeros((480, 640, 3), np.uint8)
TIMES = np.arange(61) / 30
# Joints of other skeletons, by those of BlazePose whose mean they are.
MEANS = {
    "neck": ("left_shoulder", "right_shoulder"),
    "thorax": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"),
    "hip": ("left_hip", "right_hip"),
    "pelvis": ("left_hip", "right_hip"),
    "spine": ("left_hip", "right_hip", "left_shoulder", "right_shoulder"),
    "head": ("left_ear", "right_ear"),
}


def walker(time_s: float, x_px: float = 200.0) -> Person:
    """Somebody who walks to the right and swings arms and legs."""
    whole = person(x_px=x_px + 60 * time_s)
    swing = np.zeros((33, 2))
    for j, name in enumerate(BLAZEPOSE_33.joints):
        reach = {"wrist": 30, "index": 35, "elbow": 15, "knee": 15, "ankle": 40, "heel": 40}.get(name.split("_")[-1], 0)
        swing[j, 0] = (reach or 45 * ("foot" in name)) * np.sin(6 * time_s + 3 * ("left" in name))
    world = whole.world.copy()
    world[:, :2] += swing / 200
    return Person(whole.pose + swing, world, whole.scores)


def seen_as(whole: Person, skeleton: Skeleton) -> Person:
    """A person in another skeleton; fingers, toes and faces are where BlazePose has them."""

    def rows(values: np.ndarray) -> np.ndarray:
        named = dict(zip(BLAZEPOSE_33.joints, values, strict=True))
        named |= {name: np.mean([named[joint] for joint in joints], axis=0) for name, joints in MEANS.items()}
        result = []
        for joint in skeleton.joints:
            side, _, part = joint.partition("_")
            likes = {"toe": "foot_index", "finger": "index", "thumb": "thumb", "hand_root": "wrist"}
            like = next((f"{side}_{likes[word]}" for word in likes if word in part), "nose")
            result.append(named.get(joint, named[like]))
        return np.array(result)

    return Person(rows(whole.pose), rows(whole.world), rows(whole.scores))


def streamed(people: Any, skeleton: Skeleton, networks: Any = None, **options: Any) -> list[Motion]:
    """The final Motions of what `people(time_s)` gives, each of them a Person or a tuple."""
    estimator = as_estimator(lambda rgb, time_s: people(time_s), skeleton)
    source = ((BLANK, float(t)) for t in TIMES)
    with Stream(source, estimator=estimator, models=networks or models(), lag=1, cuts=False, **options) as stream:
        assert stream.skeleton == skeleton.name
        return list(stream)


@pytest.mark.parametrize("skeleton", LANDMARKS, ids=lambda skeleton: skeleton.name)
def test_motions_have_the_estimators_own_joints(skeleton: Skeleton) -> None:
    motions = streamed(lambda t: [seen_as(walker(t), skeleton)], skeleton)
    assert len(motions) == len(TIMES)
    for motion in motions:
        assert motion.skeleton is skeleton and motion.ids.tolist() == [0]
        assert motion.poses.shape == (1, len(skeleton), 2) and motion.world.shape == (1, len(skeleton), 3)
        assert np.isfinite(motion.poses).all() and (motion.origin != Origin.MISSING).all()
        assert motion.forecast.poses.shape == (1, 12, len(skeleton), 2)
        true = seen_as(walker(motion.time_s), skeleton)
        np.testing.assert_allclose(motion.poses[0], true.pose, atol=0.0 + (1e-6 if motion.keyframe else 30.0))
    assert {motion.measured[0].pose.shape for motion in motions if motion.measured} == {(len(skeleton), 2)}


def test_other_rows_change_no_bit_of_the_networks_joints() -> None:
    """WholeBody-133 has all joints of the network, in other places and under other names."""
    networks = load_model("image-n10"), load_model("world-n10")
    blaze = streamed(lambda t: [walker(t)], BLAZEPOSE_33, networks)
    other = streamed(lambda t: [seen_as(walker(t), WHOLEBODY_133)], WHOLEBODY_133, networks)
    names = {name: name for name in COCO_17.joints[5:]}
    names |= {f"{side}_foot_index": f"{side}_big_toe" for side in ("left", "right")}
    names |= {f"{side}_index": f"{side}_forefinger1" for side in ("left", "right")}
    rows = [BLAZEPOSE_33.index(name) for name in names], [WHOLEBODY_133.index(name) for name in names.values()]
    for a, b in zip(blaze, other, strict=True):
        for array in ("poses", "world", "sigma", "origin"):
            np.testing.assert_array_equal(getattr(a, array)[0, rows[0]], getattr(b, array)[0, rows[1]])


def test_blazepose_as_any_other_skeleton_gives_every_bit_of_blazepose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The joints of a skeleton are found by name: where each row stands is nobody's business."""
    other = Skeleton("Reversed-33", BLAZEPOSE_33.joints[::-1], ())
    monkeypatch.setattr(spaces, "LANDMARKS", (*LANDMARKS, other))
    monkeypatch.setattr(checks, "ESTIMATED", (*checks.ESTIMATED, other))
    monkeypatch.setitem(SKELETONS, other.name, other)
    networks = load_model("image-n10"), load_model("world-n10")

    def turned(time_s: float) -> list[Person]:
        whole = walker(time_s)
        return [Person(whole.pose[::-1], whole.world[::-1], whole.scores[::-1])]

    blaze = streamed(lambda t: [walker(t)], BLAZEPOSE_33, networks)
    for a, b in zip(blaze, streamed(turned, other, networks), strict=True):
        assert b.skeleton is other
        for name, values in a.arrays().items():
            np.testing.assert_array_equal(values, getattr(b, name)[:, ::-1], err_msg=name)
        np.testing.assert_array_equal(a.forecast.poses, b.forecast.poses[:, :, ::-1])


@pytest.mark.parametrize("skeleton", [COCO_17, BODY_25, H36M_17], ids=lambda skeleton: skeleton.name)
def test_joints_that_a_skeleton_lacks_cost_the_others_little(skeleton: Skeleton) -> None:
    networks = load_model("image-n10"), load_model("world-n10")

    def error(motions: list[Motion], of: Skeleton) -> float:
        names = [name for name in COCO_17.joints[5:] if name in skeleton.joints]
        rows, true = [of.index(name) for name in names], [BLAZEPOSE_33.index(name) for name in names]
        errors = [np.linalg.norm(m.poses[0, rows] - walker(m.time_s).pose[true], axis=-1).mean() for m in motions[20:]]
        return float(np.mean(errors))

    whole = error(streamed(lambda t: [walker(t)], BLAZEPOSE_33, networks), BLAZEPOSE_33)
    lacking = error(streamed(lambda t: [seen_as(walker(t), skeleton)], skeleton, networks), skeleton)
    assert lacking < 1.05 * whole


@pytest.mark.parametrize("lag", [0, 1])
def test_who_is_never_seen_in_metres_is_shown(lag: int) -> None:
    def people(time_s: float) -> list[tuple]:
        one = seen_as(walker(time_s), COCO_17)
        return [(one.pose, None, one.scores)]

    estimator = as_estimator(lambda rgb, time_s: people(time_s), COCO_17)
    stream = Stream(estimator=estimator, models=models(), every=10, lag=lag, cuts=False, glance=False)
    motions = [motion for t in TIMES for motion in stream.push(BLANK, float(t), wait=True)] + stream.close()
    assert len([motion for motion in motions if motion.final]) == len(TIMES)
    for motion in motions:
        assert motion.ids.tolist() == [0] and np.isfinite(motion.poses).all()
        assert np.isnan(motion.world).all() and motion.world.shape == (1, 17, 3)


def test_a_world_pose_that_is_lost_for_long_is_not_held() -> None:
    def people(time_s: float) -> list[tuple]:
        one = walker(time_s)
        return [(one.pose, one.world if time_s < 0.5 else None, one.scores)]

    motions = streamed(people, BLAZEPOSE_33)
    assert np.isfinite(motions[10].world).all() and np.isfinite(motions[15].world).all()
    assert np.isnan(motions[-1].world).all() and np.isfinite(motions[-1].poses).all()


def test_a_joint_that_drops_out_or_never_comes_costs_its_own_row_only() -> None:
    dropped, never = COCO_17.index("left_wrist"), COCO_17.index("right_ankle")
    others = [j for j in range(17) if j not in (dropped, never)]

    def people(time_s: float) -> list[Person]:
        one = seen_as(walker(time_s), COCO_17)
        pose = one.pose.copy()
        pose[never] = 0.0  # as OpenPose writes a joint that it does not see
        if 0.6 < time_s < 1.4:
            pose[dropped] = np.nan
        return [Person(pose, one.world, one.scores)]

    motions = streamed(people, COCO_17)
    whole = streamed(lambda t: [seen_as(walker(t), COCO_17)], COCO_17)
    for motion, reference in zip(motions, whole, strict=True):
        assert motion.ids.tolist() == [0]
        assert (motion.origin[0, never] == Origin.MISSING) and np.isnan(motion.poses[0, never]).all()
        assert motion.scores[0, never] == 0.0
        np.testing.assert_array_equal(motion.origin[0, others], reference.origin[0, others])
        np.testing.assert_allclose(motion.poses[0, others], reference.poses[0, others], atol=8.0)
        if motion.keyframe and 0.6 < motion.time_s < 1.4:
            assert motion.origin[0, dropped] in (Origin.FILLED, Origin.FORECAST)
        assert np.isfinite(motion.poses[0, dropped]).all()


def test_people_in_another_order_each_frame_keep_their_ids() -> None:
    def people(time_s: float) -> list[Person]:
        both = [seen_as(walker(time_s, x_px=x), COCO_17) for x in (150.0, 400.0)]
        return both[:: 1 if round(30 * time_s) % 20 else -1]

    left = [motion.poses[motion.ids.tolist().index(0), 5, 0] for motion in streamed(people, COCO_17)]
    assert max(abs(np.diff(left))) < 30.0


def test_a_window_takes_any_skeleton() -> None:
    window = MotionWindow(models()[0], skeleton=COCO_17)
    for k in range(4):
        window.push(seen_as(walker(k / 3), COCO_17).pose, None, k / 3)
    poses = window.at([0.9, 1.0, 1.2])
    assert poses.poses.shape == (3, 17, 2) and poses.origin.shape == poses.scores.shape == (3, 17)
    with pytest.raises(ValueError, match=r"pose must be \[17, 2\] in image space, found \(33, 2\)"):
        window.push(walker(2.0).pose, None, 2.0)


def test_recorded_estimates_name_their_skeleton(caplog: pytest.LogCaptureFixture) -> None:
    poses = np.array([[seen_as(walker(t), COCO_17).pose] for t in TIMES])
    assert ArrayEstimator({"time_s": TIMES, "poses": poses, "skeleton": "coco_17"}).skeleton == "COCO-17"
    assert ArrayEstimator({"time_s": TIMES, "poses": poses}, "MoveNet").skeleton == "COCO-17"
    with pytest.raises(ModelError, match=r"says that its skeleton is COCO-17, not H36M: leave H36M out"):
        ArrayEstimator({"time_s": TIMES, "poses": poses, "skeleton": "COCO-17"}, "H36M")
    assert not caplog.records
    ArrayEstimator({"time_s": TIMES, "poses": 480 - poses, "skeleton": "COCO-17"})
    assert "shoulders lie below ankles in nearly all poses: if y points upwards" in caplog.text


def test_joints_of_another_skeleton_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    for kind, name in ((H36M_17, "COCO-17"), (COCO_17, "H36M-17")):
        ArrayEstimator({"time_s": TIMES, "poses": [seen_as(walker(t), kind).pose for t in TIMES], "skeleton": name})
    assert [record.message.split("nearly all poses")[1] for record in caplog.records] == [
        ", as if joints were in another order: this may be H36M-17, so name the skeleton",
        ": if y points upwards there, give the height of the picture minus y; if joints are in another order than that "
        "of H36M-17, name their skeleton",
    ]


@pytest.mark.parametrize("skeleton", LANDMARKS, ids=lambda skeleton: skeleton.name)
def test_a_function_whose_joints_are_in_another_order_is_told_of_once(
    skeleton: Skeleton, caplog: pytest.LogCaptureFixture
) -> None:
    order, scores = np.random.default_rng(0).permutation(len(skeleton)), np.ones(len(skeleton))
    for rows in (slice(None), order):
        poses = {time_s: seen_as(walker(time_s), skeleton).pose[rows] for time_s in TIMES}
        estimator = as_estimator(lambda rgb, time_s, poses=poses: [(poses[time_s], None, scores)], skeleton)
        for time_s in TIMES:
            estimator(BLANK, time_s)
        assert len(caplog.records) == (rows is order)
    assert "the estimator: joints that" in caplog.text
