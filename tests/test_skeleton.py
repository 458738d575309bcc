"""Skeletons: sides and parts of joint names, and mirror images."""

from __future__ import annotations

import pytest

from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, SKELETONS, Skeleton, body_part, split_joint


def test_a_joint_has_a_side_and_a_part() -> None:
    assert split_joint("left_foot_index") == ("left", "foot_index")
    assert split_joint("right_wrist") == ("right", "wrist")
    assert split_joint("nose") == ("", "nose")
    # The middle has joints whose names hold an underscore.
    assert split_joint("head_top") == ("", "head_top")
    assert {body_part(name) for name in CORE_17.joints if "foot" in name} == {"foot_index"}


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_a_mirror_image_of_a_mirror_image_is_the_skeleton(skeleton: Skeleton) -> None:
    assert [skeleton.mirror[j] for j in skeleton.mirror] == list(range(len(skeleton)))
    sides = [skeleton.side(j) for j in skeleton.mirror]
    other = {"left": "right", "right": "left", "middle": "middle"}
    assert [other[side] for side in sides] == [skeleton.side(j) for j in range(len(skeleton))]


def test_an_unknown_joint_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="BlazePose-33 has no joint 'tail'; it has nose, left_eye_inner"):
        BLAZEPOSE_33.index("tail")
