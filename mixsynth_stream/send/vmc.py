"""VmcLayout: one person as the bones of a VRM avatar, by the Virtual Motion Capture protocol (protocol.vmc.info)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.send.body import BONES, BodyPose, same_side

if TYPE_CHECKING:
    from mixsynth_stream.send.osc import OscMessage

PORT = 39539
# Where each bone starts on the one before it, at rest, in metres, for somebody of usual size. Programs that take an
# avatar's own bones ignore it; those that take places too would otherwise pull all bones into one point.
REST_M: dict[str, tuple[float, float, float]] = {
    "Spine": (0.0, 0.08, 0.0),
    "Chest": (0.0, 0.12, 0.0),
    "UpperChest": (0.0, 0.12, 0.0),
    "Neck": (0.0, 0.14, 0.0),
    "Head": (0.0, 0.09, 0.0),
    "LeftShoulder": (-0.03, 0.10, 0.0),
    "RightShoulder": (0.03, 0.10, 0.0),
    "LeftUpperArm": (-0.13, 0.0, 0.0),
    "RightUpperArm": (0.13, 0.0, 0.0),
    "LeftLowerArm": (-0.27, 0.0, 0.0),
    "RightLowerArm": (0.27, 0.0, 0.0),
    "LeftHand": (-0.25, 0.0, 0.0),
    "RightHand": (0.25, 0.0, 0.0),
    "LeftUpperLeg": (-0.09, -0.04, 0.0),
    "RightUpperLeg": (0.09, -0.04, 0.0),
    "LeftLowerLeg": (0.0, -0.40, 0.0),
    "RightLowerLeg": (0.0, -0.40, 0.0),
    "LeftFoot": (0.0, -0.40, 0.0),
    "RightFoot": (0.0, -0.40, 0.0),
}
_AT_REST = np.array([0.0, 0.0, 0.0, 1.0])
# Bones that take half of a turn, each with the bone of BONES whose turn it shares.
_HALVES = {"Spine": "Chest", "Neck": "Head"}
_CALIBRATED, _NORMAL = 3, 0


class VmcLayout:
    """Makes the messages of each frame, in a form that does not jump: quaternions keep their signs."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None  # [15, 4]

    def messages(self, pose: BodyPose | None, time_s: float) -> list[OscMessage]:
        """The messages of one frame; None where nobody is there, and an avatar then stays as it is."""
        state = (1, _CALIBRATED, _NORMAL, int(pose is not None))
        messages: list[OscMessage] = [("/VMC/Ext/OK", state), ("/VMC/Ext/T", (float(time_s),))]
        if pose is None:
            return messages
        self._before = same_side(pose.quaternions(), self._before)
        turns = dict(zip(BONES, self._before, strict=True))
        for half, whole in _HALVES.items():
            turns[half] = turns[whole] = _half(turns[whole])
        root = ("root", 0.0, 0.0, 0.0, *_AT_REST.tolist())
        messages.append(("/VMC/Ext/Root/Pos", root))
        messages.append(_bone("Hips", pose.hips_m.tolist(), turns["Hips"]))
        messages += [_bone(name, start_m, turns.get(name, _AT_REST)) for name, start_m in REST_M.items()]
        return messages


def _half(quaternion: np.ndarray) -> np.ndarray:  # [4] -> [4]
    """Half of a turn, by the shorter way."""
    middle = np.copysign(1.0, quaternion[3]) * quaternion + _AT_REST
    return np.asarray(middle / np.linalg.norm(middle))


def _bone(name: str, start_m: tuple[float, ...] | list[float], turn: np.ndarray) -> OscMessage:
    return "/VMC/Ext/Bone/Pos", (name, *start_m, *turn.tolist())
