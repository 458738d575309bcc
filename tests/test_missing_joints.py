"""Missing joints: joints that nobody saw stand where a body has them, of any size and anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from support.fakes import standing_pose

from mixsynth_stream.normalise import distance_in_scales, scale_of, weights, whole_pose
from mixsynth_stream.skeleton import CORE_17, LANDMARKS
from mixsynth_stream.spaces import SPACES, space_of

POSE = standing_pose(size_px=100.0)[SPACES["image"].core]


def without(*joints: str) -> np.ndarray:
    pose = POSE.copy()
    pose[[CORE_17.index(joint) for joint in joints]] = np.nan
    return pose


def test_a_whole_pose_stays_as_it_is() -> None:
    assert whole_pose(POSE) is POSE
    assert np.isnan(whole_pose(np.full_like(POSE, np.nan))).all()


@pytest.mark.parametrize("joint", CORE_17.joints)
def test_a_joint_is_expected_nearer_than_the_middle_of_the_body(joint: str) -> None:
    lacking = without(joint)
    expected = whole_pose(lacking)[CORE_17.index(joint)]
    true = POSE[CORE_17.index(joint)]
    assert np.linalg.norm(expected - true) < 0.6 * np.linalg.norm(np.nanmean(lacking, axis=0) - true)


def test_expectation_goes_with_the_body_wherever_and_however_large_it_is() -> None:
    lacking = without("left_index", "right_foot_index", "nose")
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    np.testing.assert_allclose(
        whole_pose(3.0 * lacking @ turned + [1000.0, -50.0]), 3.0 * whole_pose(lacking) @ turned + [1000.0, -50.0]
    )
    np.testing.assert_array_equal(whole_pose(np.stack([lacking, lacking]))[1], whole_pose(lacking))


def test_joints_that_were_seen_stay_and_weights_add_up_to_one() -> None:
    lacking = without("left_hip", "right_hip", "left_knee", "right_ankle")
    seen = np.isfinite(lacking).all(axis=1)
    np.testing.assert_array_equal(whole_pose(lacking)[seen], lacking[seen])
    np.testing.assert_allclose(weights(tuple(seen.tolist())).sum(axis=1), 1.0)
    assert scale_of(whole_pose(lacking)) == pytest.approx(scale_of(POSE), rel=0.5)


def test_people_with_unseen_joints_are_as_far_apart_as_whole_ones() -> None:
    aside = np.add(POSE, [50.0, 0.0])
    assert distance_in_scales(POSE, aside, min_scale=1.0) == pytest.approx(0.5)
    lacking = without("left_wrist", "left_index", "right_foot_index")
    assert distance_in_scales(lacking, aside, min_scale=1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("skeleton", LANDMARKS, ids=lambda skeleton: skeleton.name)
def test_rows_of_a_window_are_the_skeleton_and_what_it_lacks_of_the_network(skeleton) -> None:
    space = space_of("image", skeleton)
    poses = np.random.default_rng(0).normal(size=(3, space.rows, 2))
    names = [*skeleton.joints, *(f"lacks {k}" for k in range(space.rows - space.joints))]
    own = {CORE_17.joints[c]: names[row] for c, row in enumerate(space.core_rows) if row < space.joints}
    for joint, name in own.items():
        assert joint == name or joint.endswith("index"), (joint, name)  # big toes, and the first joint of the finger
    np.testing.assert_array_equal(space.core_of(poses), poses[:, space.core])
    short = space.core_of(poses[:, : space.joints])
    assert np.isnan(short).all(axis=-1).sum() == 3 * (len(CORE_17) - len(own))
    # What moves with the middle of both hips moves half as far as one of them.
    core = np.zeros((1, len(CORE_17), 2))
    core[0, CORE_17.index("left_hip")] = 1.0
    moved = dict(zip(names, space.carried(core)[0, :, 0].tolist(), strict=True))
    for name, share in {"left_hip": 1.0, "mid_hip": 0.5, "pelvis": 0.5, "hip": 0.5, "spine": 0.25, "neck": 0.0}.items():
        assert moved.get(name, share) == share
