"""An avatar's bones: forward kinematics over what is sent has to give the landmarks' directions back."""

from __future__ import annotations

import numpy as np
import pytest
from support.osc_receiver import Message, joint, off_deg, standing, turns

from mixsynth_stream.pipeline.sources.synthetic import SyntheticScene
from mixsynth_stream.send.body import BONES, Body
from mixsynth_stream.send.vmc import VmcLayout
from mixsynth_stream.send.vrchat import TRACKERS, VrchatLayout

SEEN = np.ones(33)


def t_pose() -> np.ndarray:  # -> [33, 3]
    """Somebody who stands as a T and faces the camera: their left is right in the picture."""
    world = np.zeros((33, 3))

    def put(name: str, x: float, y: float, z: float) -> None:
        for side, sign in (("left", 1.0), ("right", -1.0)):
            world[joint(f"{side}_{name}")] = sign * x, y, z

    for name, x, y, z in (
        *(("hip", 0.1, 0.0, 0.0), ("knee", 0.1, 0.45, 0.0), ("ankle", 0.1, 0.85, 0.0), ("heel", 0.1, 0.9, 0.0)),
        *(("foot_index", 0.1, 0.9, -0.2), ("shoulder", 0.18, -0.5, 0.0), ("elbow", 0.45, -0.5, 0.0)),
        *(("wrist", 0.7, -0.5, 0.0), ("index", 0.78, -0.5, -0.03), ("pinky", 0.78, -0.5, 0.03)),
        *(("ear", 0.07, -0.7, 0.0), ("eye", 0.03, -0.7, -0.08)),
    ):
        put(name, x, y, z)
    return world


def bundle_of(world_m: np.ndarray, layout: VmcLayout | None = None, body: Body | None = None) -> list[Message]:
    pose = (body or Body()).pose(world_m, SEEN)
    return [(address, list(values)) for address, values in (layout or VmcLayout()).messages(pose, 0.0)]


def test_who_stands_as_a_t_is_at_rest() -> None:
    bundle = bundle_of(t_pose())
    for bone, turn in turns(bundle).items():
        assert turn == pytest.approx([0, 0, 0, 1], abs=1e-6), bone
    hips = next(values for _, values in bundle if values[0] == "Hips")
    assert hips[1:4] == pytest.approx([0.0, 0.9, 0.0]), "on the floor"


def test_a_raised_left_arm_is_the_avatars_left_one() -> None:
    world = t_pose()
    for name in ("elbow", "wrist", "index", "pinky"):
        world[joint(f"left_{name}")] = [
            0.18,
            -0.5 - (world[joint(f"left_{name}"), 0] - 0.18),
            world[joint(f"left_{name}"), 2],
        ]
    frames = standing(bundle_of(world))
    assert frames["LeftUpperArm"] @ [-1, 0, 0] == pytest.approx([0, 1, 0], abs=1e-6)
    assert frames["RightUpperArm"] == pytest.approx(np.eye(3), abs=1e-6)


def test_who_turns_to_their_left_turns_the_avatar_to_its_left() -> None:
    turned = t_pose() @ np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).T
    ahead = turned[joint("left_foot_index")] - turned[joint("left_heel")]
    assert ahead[0] > 0.1, "right in the picture, which is their left"
    assert standing(bundle_of(turned))["Hips"] @ [0, 0, 1] == pytest.approx([-1, 0, 0], abs=1e-6)


def test_a_bent_elbow_turns_the_arm_and_not_the_forearm() -> None:
    world = t_pose()
    for name, x, z in (("wrist", 0.45, -0.25), ("index", 0.42, -0.33), ("pinky", 0.48, -0.33)):
        world[joint(f"left_{name}")] = x, -0.5, z
    own = turns(bundle_of(world))
    assert own["LeftUpperArm"] == pytest.approx([0, 0, 0, 1], abs=1e-6)
    assert np.abs(own["LeftLowerArm"]) == pytest.approx([0, 0.5**0.5, 0, 0.5**0.5], abs=1e-6), "about the y axis alone"


def test_directions_come_back_within_a_degree_and_signs_stay() -> None:
    rng, body, layout = np.random.default_rng(1), Body(), VmcLayout()
    scene, before = SyntheticScene(people=1), None
    wild = rng.normal(size=(33, 3))
    for step in range(200):
        # From somebody who walks to landmarks that no body has.
        world = scene.truth(step / 30)[0].world + max(0, step - 100) / 400 * wild
        bundle = bundle_of(world, layout, body)
        assert max(off_deg(world, bundle).values()) < 1e-3
        own = np.array(list(turns(bundle).values()))
        assert np.linalg.norm(own, axis=1) == pytest.approx(1.0)
        if before is not None:
            assert (own * before).sum(axis=1).min() > 0
        before = own


def test_what_is_not_seen_stays_as_it_was() -> None:
    body, scores = Body(), np.ones(33)
    scores[[joint("left_knee"), joint("left_elbow")]] = 0.1
    missing = t_pose()
    missing[joint("right_wrist")] = np.nan
    pose = body.pose(missing, scores)
    assert np.isfinite(pose.quaternions()).all()
    sitting = t_pose()
    sitting[joint("left_knee")] = 0.1, 0.0, -0.45
    assert body.pose(sitting, scores).turns[BONES.index("LeftUpperLeg")] == pytest.approx(np.eye(3))
    assert body.pose(sitting, SEEN).turns[BONES.index("LeftUpperLeg")] @ [0, -1, 0] == pytest.approx(
        [0, 0, 1], abs=1e-6
    )


def test_trackers_stand_in_the_room() -> None:
    pose = Body().pose(t_pose(), SEEN, aside_m=0.5)
    messages = dict(VrchatLayout().messages(pose, 0.0))
    assert messages["/tracking/trackers/1/position"] == pytest.approx((-0.5, 0.9, 0.0))
    assert messages["/tracking/trackers/3/position"] == pytest.approx((-0.6, 0.05, 0.0)), "the left foot is at the left"
    assert messages["/tracking/trackers/head/position"] == pytest.approx((-0.5, 1.6, 0.08))
    assert len(messages) == 2 * len(TRACKERS) + 1
    for number in range(1, 9):
        assert messages[f"/tracking/trackers/{number}/rotation"] == pytest.approx((0, 0, 0), abs=1e-6)


def test_trackers_turn_about_z_then_x_then_y() -> None:
    angles = np.radians([20.0, 130.0, -35.0])
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    world = -((about_y @ about_x @ about_z) @ -t_pose().T).T
    messages = dict(VrchatLayout().messages(Body().pose(world, SEEN), 0.0))
    for number in (1, 2, 3, 8):
        assert messages[f"/tracking/trackers/{number}/rotation"] == pytest.approx((20, 130, -35), abs=1e-6)
