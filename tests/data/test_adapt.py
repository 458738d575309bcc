"""Poses of one skeleton as poses of another, and pairs that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from support.walker import person

from mixsynth_stream.data.adapt import ADAPTED, adapt, shared_joints, targets_of
from mixsynth_stream.data.deciwatch import J14_FROM_PW3D
from mixsynth_stream.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, SKELETONS, Skeleton

ALLOWED = {
    ("BlazePose-33", "COCO-17"),
    ("BlazePose-33", "Core-17"),
    ("H36M-17", "J14"),
    ("Mocap-22", "Core-17"),
    ("Mocap-22", "J14"),
    ("Mocap-22", "H36M-17"),
}


def test_the_pairs_that_are_honest_and_no_others() -> None:
    assert {(source, target) for source in ADAPTED for target in targets_of(source)} == ALLOWED


@pytest.mark.parametrize(("source", "target"), sorted(ALLOWED))
def test_a_mirrored_person_stays_one_and_moving_the_person_moves_all_joints(source: str, target: str) -> None:
    source_skeleton, target_skeleton = SKELETONS[source], SKELETONS[target]
    joints = len(source_skeleton)
    motion = person(6) if source == "Mocap-22" else np.random.default_rng(0).normal(size=(6, joints, 3))
    poses = adapt(motion, source, target)
    assert poses.shape == (6, len(target_skeleton), 3)
    step = np.array([1, 2, 3], np.float32)
    np.testing.assert_allclose(adapt(motion + step, source, target), poses + step, atol=1e-5)

    def mirrored(poses: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        return (poses * [-1, 1, 1])[..., list(skeleton.mirror), :]

    if source != "BlazePose-33":
        of_mirrored = adapt(mirrored(motion, source_skeleton), source, target)
        np.testing.assert_allclose(of_mirrored, mirrored(poses, target_skeleton), atol=1e-5)


def test_joints_land_where_they_belong() -> None:
    motion = person(4)
    for target in ("J14", "H36M-17", "Core-17"):
        names, ours, theirs = shared_joints("Mocap-22", target)
        assert {"left_wrist", "right_knee", "left_hip"} <= set(names)
        np.testing.assert_allclose(adapt(motion, "Mocap-22", target)[:, theirs], motion[:, ours], atol=1e-6)
    h36m = adapt(motion, "Mocap-22", "H36M-17")
    height = {name: h36m[0, H36M_17.index(name), 1] for name in H36M_17.joints}
    assert height["pelvis"] < height["spine"] < height["thorax"] < height["neck"] < height["head"]
    assert height["head"] == pytest.approx(1.72)


def test_both_ways_from_motion_capture_to_j14_agree() -> None:
    motion = person(4)
    direct = adapt(motion, "Mocap-22", "J14")
    np.testing.assert_allclose(adapt(adapt(motion, "Mocap-22", "H36M-17"), "H36M-17", "J14"), direct, atol=1e-6)


def test_the_published_choice_of_14_joints_is_the_same_as_ours() -> None:
    """3DPW files are H36M-17 with the left leg first."""
    file_joints = (H36M_17.joints[0], *H36M_17.joints[4:7], *H36M_17.joints[1:4], *H36M_17.joints[7:])
    chosen = [file_joints[j] for j in J14_FROM_PW3D]
    ours = adapt(np.arange(17.0)[:, None], "H36M-17", "J14")[:, 0]
    assert chosen == [H36M_17.joints[int(j)] for j in ours]


def test_two_dimensions_are_adapted_as_well() -> None:
    pixels = np.random.default_rng(0).uniform(size=(2, 5, 33, 2)).astype(np.float32)
    coco = adapt(pixels, "BlazePose-33", "COCO-17")
    assert coco.shape == (2, 5, 17, 2) and coco.dtype == np.float32
    np.testing.assert_array_equal(coco[:, :, COCO_17.index("left_ear")], pixels[:, :, BLAZEPOSE_33.index("left_ear")])
    with pytest.raises(ValueError, match="needs poses in space"):
        adapt(np.zeros((22, 2)), "Mocap-22", "Core-17")


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("COCO-17", "Core-17", "COCO-17 has no left_index, right_index, left_foot_index, right_foot_index, so"),
        ("Core-17", "COCO-17", "no left_eye, right_eye, left_ear, right_ear"),
        ("COCO-17", "J14", "no neck, head_top"),
        ("J14", "H36M-17", "no pelvis, spine, thorax, neck and 1 more"),
        ("Core-17", "BlazePose-33", "nothing else"),
        ("BlazePose-33", "H36M-17", "it can be turned into COCO-17, Core-17"),
    ],
)
def test_what_would_have_to_be_invented_is_refused(source: str, target: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        adapt(np.zeros((len(SKELETONS[source]), 3)), source, target)


def test_wrong_shapes_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"COCO-17 must be \[..., 17, D\], found \[33, 2\]"):
        adapt(np.zeros((33, 2)), "COCO-17", "Core-17")
    with pytest.raises(ValueError, match="one of Mocap-22"):
        adapt(np.zeros((25, 2)), "BODY-25", "Core-17")
