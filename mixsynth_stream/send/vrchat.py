"""VrchatLayout: one person as trackers on the body, as VRChat takes them (docs.vrchat.com/docs/osc-trackers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.rotations import euler_from_matrix
from mixsynth_stream.send.body import BONES, BodyPose
from mixsynth_stream.skeleton import BLAZEPOSE_33

if TYPE_CHECKING:
    from mixsynth_stream.send.osc import OscMessage

PORT = 9000
# Trackers by number: where each sits, as the middle of these landmarks, and the bone that it is strapped to.
TRACKERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("left_hip", "right_hip"), "Hips"),
    (("left_shoulder", "right_shoulder"), "Chest"),
    (("left_ankle",), "LeftFoot"),
    (("right_ankle",), "RightFoot"),
    (("left_knee",), "LeftUpperLeg"),
    (("right_knee",), "RightUpperLeg"),
    (("left_elbow",), "LeftUpperArm"),
    (("right_elbow",), "RightUpperArm"),
)
_EYES = [BLAZEPOSE_33.index("left_eye"), BLAZEPOSE_33.index("right_eye")]


class VrchatLayout:
    """Makes the messages of each frame."""

    def messages(self, pose: BodyPose | None, time_s: float) -> list[OscMessage]:
        """The trackers that are seen; none where nobody is there. VRChat takes no times."""
        if pose is None:
            return []
        messages: list[OscMessage] = []
        for number, (names, bone) in enumerate(TRACKERS, start=1):
            joints = [BLAZEPOSE_33.index(name) for name in names]
            if pose.is_seen[joints].all():
                angles = np.degrees(euler_from_matrix(pose.frames[BONES.index(bone)]))
                path = f"/tracking/trackers/{number}"
                messages.append((f"{path}/position", tuple(pose.joints_m[joints].mean(axis=0).tolist())))
                messages.append((f"{path}/rotation", tuple(angles.tolist())))
        if pose.is_seen[_EYES].all():
            messages.append(("/tracking/trackers/head/position", tuple(pose.joints_m[_EYES].mean(axis=0).tolist())))
        return messages
