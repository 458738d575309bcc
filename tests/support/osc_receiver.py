"""A program that takes OSC over UDP: it decodes packets by itself, and stands an avatar of VRM up by them."""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType
from typing import Any

import numpy as np

from mixsynth_stream.skeleton import BLAZEPOSE_33

# What each bone hangs on, by Unity's humanoid.
PARENTS = {
    "Spine": "Hips",
    "Chest": "Spine",
    "UpperChest": "Chest",
    "Neck": "UpperChest",
    "Head": "Neck",
    **{f"{side}Shoulder": "UpperChest" for side in ("Left", "Right")},
    **{f"{side}UpperArm": f"{side}Shoulder" for side in ("Left", "Right")},
    **{f"{side}LowerArm": f"{side}UpperArm" for side in ("Left", "Right")},
    **{f"{side}Hand": f"{side}LowerArm" for side in ("Left", "Right")},
    **{f"{side}UpperLeg": "Hips" for side in ("Left", "Right")},
    **{f"{side}LowerLeg": f"{side}UpperLeg" for side in ("Left", "Right")},
    **{f"{side}Foot": f"{side}LowerLeg" for side in ("Left", "Right")},
}

# Bones that lead from one landmark to another, and where each leads at rest.
LED = {
    f"{side.capitalize()}{bone}": (f"{side}_{start}", f"{side}_{end}", direction)
    for side, x in (("left", -1.0), ("right", 1.0))
    for bone, start, end, direction in (
        ("UpperArm", "shoulder", "elbow", (x, 0.0, 0.0)),
        ("LowerArm", "elbow", "wrist", (x, 0.0, 0.0)),
        ("UpperLeg", "hip", "knee", (0.0, -1.0, 0.0)),
        ("LowerLeg", "knee", "ankle", (0.0, -1.0, 0.0)),
        ("Foot", "heel", "foot_index", (0.0, 0.0, 1.0)),
    )
} | {
    "Hips": ("left_hip", "right_hip", (1.0, 0.0, 0.0)),
    "Chest": ("left_shoulder", "right_shoulder", (1.0, 0.0, 0.0)),
}

Message = tuple[str, list[Any]]


class OscReceiver:
    """Keeps every bundle that comes to `port` while it is open, in order."""

    def __init__(self) -> None:
        self.bundles: list[list[Message]] = []
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> OscReceiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as own:
            own.sendto(b"", ("127.0.0.1", self.port))  # everything before it has come
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        while packet := self._socket.recv(65536):
            self.bundles.append(decoded(packet))


def decoded(packet: bytes) -> list[Message]:
    """The messages of a bundle, by the specification of OSC 1.0."""
    assert packet[:8] == b"#bundle\0"
    assert packet[8:16] == b"\0\0\0\0\0\0\0\1", "to be acted on at once"
    messages, at = [], 16
    while at < len(packet):
        (size,) = struct.unpack_from(">i", packet, at)
        assert size % 4 == 0
        messages.append(_message(packet[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(packet)
    return messages


def _message(data: bytes) -> Message:
    address, at = _text(data, 0)
    kinds, at = _text(data, at)
    assert kinds[0] == ","
    values: list[Any] = []
    for kind in kinds[1:]:
        if kind == "s":
            value, at = _text(data, at)
        else:
            (value,) = struct.unpack_from({"i": ">i", "f": ">f"}[kind], data, at)
            at += 4
        values.append(value)
    assert at == len(data)
    return address, values


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("ascii"), end // 4 * 4 + 4


def turns(bundle: list[Message]) -> dict[str, np.ndarray]:
    """How each bone is turned on the one before it, as a quaternion x, y, z, w."""
    return {values[0]: np.array(values[4:8]) for address, values in bundle if address == "/VMC/Ext/Bone/Pos"}


def standing(bundle: list[Message]) -> dict[str, np.ndarray]:
    """How each bone is turned in the room [3, 3], by forward kinematics."""
    own = turns(bundle)
    frames = {"Hips": matrix(own["Hips"])}
    for bone, parent in PARENTS.items():
        frames[bone] = frames[parent] @ matrix(own[bone])
    return frames


def matrix(quaternion: np.ndarray) -> np.ndarray:  # [4] -> [3, 3]
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def joint(name: str) -> int:
    return BLAZEPOSE_33.index(name)


def off_deg(world_m: np.ndarray, bundle: list[Message], *, scores: np.ndarray | None = None) -> dict[str, float]:
    """How far each bone of the avatar points from where its landmarks do, in degrees; without those that are unseen."""
    frames, angles = standing(bundle), {}
    scores = np.ones(33) if scores is None else scores
    for bone, (start, end, rest) in LED.items():
        if min(scores[joint(start)], scores[joint(end)]) < 0.3:
            continue
        line = world_m[joint(start)] - world_m[joint(end)]  # of Unity, whose axes all point the other way
        cosine = frames[bone] @ rest @ line / np.linalg.norm(line)
        angles[bone] = float(np.degrees(np.arccos(min(cosine, 1.0))))
    return angles
