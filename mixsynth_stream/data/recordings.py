"""Recordings: motion capture of others as our 22 motion-capture joints, from the names of bones or from markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mixsynth_stream.data.mocap import FILE_JOINTS, Clip, feet_to_head, joint_names, left_and_ahead, stature
from mixsynth_stream.data.sequences import PoseSequence, check_height, check_sides, check_up, checked, read_rows
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import write_arrays
from mixsynth_stream.rotations import unit_vectors
from mixsynth_stream.spaces import GRID_HZ

# fmt: off
# The names of each of our joints, of which a file's first counts. S is l or r in ASF files, Left or Right in BVH files.
# An ASF name is the END of that bone, a BVH name the START of that joint, so the two differ by one bone.
_ASF_NAMES = {
    "pelvis": ("root",), "spine": ("lowerback",), "chest": ("upperback",), "neck": ("thorax",), "head": ("upperneck",),
    "headtip": ("head",), "Sshoulder": ("Sclavicle",), "Selbow": ("Shumerus",), "Swrist": ("Sradius",),
    "Shand": ("Shand",), "Ship": ("Ship", "Shipjoint"), "Sknee": ("Sfemur",), "Sankle": ("Stibia",),
    "Stoe": ("Stoes", "Sfoot"),
}
_BVH_NAMES = {
    "pelvis": ("Hips", "Pelvis"), "spine": ("Spine",), "chest": ("Spine1", "Chest"), "neck": ("Neck",),
    "head": ("Head",), "headtip": ("Head_end", "HeadTop_End"), "Sshoulder": ("SArm", "SUpArm", "SShoulder"),
    "Selbow": ("SForeArm", "SLowArm", "SElbow"), "Swrist": ("SHand", "SWrist"),
    "Shand": ("SFingerBase", "SHandIndex1", "SHand_end", "SWrist_end"), "Ship": ("SUpLeg", "SHip"),
    "Sknee": ("SLeg", "SLowLeg", "SKnee"), "Sankle": ("SFoot", "SAnkle"),
    "Stoe": ("SToeBase_end", "SToe_end", "SToeBase", "SToe", "SFoot_end"),
}

# The 39 markers of Vicon's Plug-in Gait full body set, in its order.
PLUG_IN_GAIT_39 = (
    "LFHD", "RFHD", "LBHD", "RBHD", "C7", "T10", "CLAV", "STRN", "RBAK", "LSHO", "LUPA", "LELB", "LFRM", "LWRA",
    "LWRB", "LFIN", "RSHO", "RUPA", "RELB", "RFRM", "RWRA", "RWRB", "RFIN", "LASI", "RASI", "LPSI", "RPSI", "LTHI",
    "LKNE", "LTIB", "LANK", "LHEE", "LTOE", "RTHI", "RKNE", "RTIB", "RANK", "RHEE", "RTOE",
)
# A joint is the middle of these markers. They lie on the skin, 1 to 4 cm from the joint's centre.
_MARKERS = {
    "pelvis": ("LASI", "RASI", "LPSI", "RPSI"), "chest": ("STRN", "T10"), "neck": ("C7", "CLAV"),
    "Sshoulder": ("SSHO",), "Selbow": ("SELB",), "Swrist": ("SWRA", "SWRB"), "Shand": ("SFIN",), "Sknee": ("SKNE",),
    "Sankle": ("SANK",), "Stoe": ("STOE",), "head": ("LFHD", "RFHD", "LBHD", "RBHD"),
}
# fmt: on
# The names of the waist's markers in CMU's files.
_CMU_NAMES = {"LASI": "LFWT", "RASI": "RFWT", "LPSI": "LBWT", "RPSI": "RBWT"}
_BODY_NAMES = [
    name.replace("S", side, 1) if joint[0] == "S" else name
    for side in "LR"
    for joint, names in _MARKERS.items()
    for name in names
]
# The markers that make up the joints, each with its names.
BODY_MARKERS: tuple[tuple[str, ...], ...] = tuple(
    (name, _CMU_NAMES[name]) if name in _CMU_NAMES else (name,) for name in dict.fromkeys(_BODY_NAMES)
)
# The hip's centre in the pelvis, as shares of the distance between the front markers: Bell et al. (1990).
_HIP_OUT, _HIP_BACK, _HIP_DOWN = 0.36, 0.19, 0.30
_Y_UP_FROM_Z_UP = [1, 2, 0]
# The distance from the headband to the top of the head, along the line from the neck.
_HEADTIP_M = 0.11
# A power of two, so that the rounded float32 numbers end in zeros, which compress well.
_STEPS_PER_METRE = 4096


def mocap_from_bvh(sequence: PoseSequence) -> PoseSequence:
    """The 22 joints of a BVH recording by the names of its joints; an exporter's prefix (`mixamorig:`) is ignored."""
    return _by_name(sequence, _BVH_NAMES, ("Left", "Right"))


def mocap_from_asf(sequence: PoseSequence) -> PoseSequence:
    """The 22 joints of an ASF/AMC recording with the bones of CMU's skeletons."""
    return _by_name(sequence, _ASF_NAMES, ("l", "r"))


def _by_name(sequence: PoseSequence, table: dict[str, tuple[str, ...]], sides: tuple[str, str]) -> PoseSequence:
    names = [name.rpartition(":")[2] for name in sequence.joints]
    columns = []
    for joint in FILE_JOINTS:
        key, side = _sided(joint, sides)
        choices = [name.replace("S", side, 1) if key != joint else name for name in table[key]]
        match = next((name for name in choices if name in names), None)
        if match is None:
            raise SourceError(
                f"{sequence.name} has no {' or '.join(choices)} for the joint {joint}; it has {', '.join(names)}"
            )
        columns.append(names.index(match))
    return _as_mocap(sequence, sequence.poses[:, columns])


def _as_mocap(sequence: PoseSequence, poses: np.ndarray) -> PoseSequence:  # [T, 22, 3]
    return checked(
        sequence.name,
        name=sequence.name,
        poses=poses,
        joints=FILE_JOINTS,
        rate_hz=sequence.rate_hz,
        subject=sequence.subject,
    )


def _sided(joint: str, sides: tuple[str, str]) -> tuple[str, str]:
    """`lknee` -> (`Sknee`, the word for the left side); joints of the middle stay as they are."""
    if f"S{joint[1:]}" in _ASF_NAMES and joint[0] in "lr":
        return f"S{joint[1:]}", sides["lr".index(joint[0])]
    return joint, ""


def mocap_from_markers(sequence: PoseSequence) -> PoseSequence:
    """The 22 joints from Plug-in Gait markers, metres. Hips are by Bell's regression, the spine is half way up."""

    def middle(*names: str) -> np.ndarray:  # [T, 3]
        return np.mean([sequence.at(name) for name in names], axis=0)

    missing = [names[0] for names in BODY_MARKERS if names[0] not in sequence.joints]
    if missing:
        raise SourceError(f"{sequence.name} has no marker {', '.join(missing[:5])}; Plug-in Gait's full body is needed")
    joints = {}
    for joint in FILE_JOINTS:
        key, side = _sided(joint, ("L", "R"))
        if key in _MARKERS:
            joints[joint] = middle(*(m.replace("S", side, 1) if key != joint else m for m in _MARKERS[key]))
    front, back = middle("LASI", "RASI"), middle("LPSI", "RPSI")
    across = sequence.at("LASI") - sequence.at("RASI")
    width = np.linalg.norm(across, axis=-1, keepdims=True)
    left = unit_vectors(across)
    ahead = front - back
    ahead = unit_vectors(ahead - (ahead * left).sum(-1, keepdims=True) * left)
    down = np.cross(left, ahead)
    down = down * np.sign((down * (joints["lankle"] - front)).sum(-1).mean())
    for joint, sign in (("lhip", 1.0), ("rhip", -1.0)):
        joints[joint] = front + width * (sign * _HIP_OUT * left - _HIP_BACK * ahead + _HIP_DOWN * down)
    joints["spine"] = (joints["pelvis"] + joints["chest"]) / 2
    joints["headtip"] = joints["head"] + _HEADTIP_M * unit_vectors(joints["head"] - joints["neck"])
    return _as_mocap(sequence, np.stack([joints[joint] for joint in FILE_JOINTS], axis=1).astype(np.float32))


def read_ui_prmd(path: str | Path, unit_m: float = 0.001, rate_hz: float = 100.0) -> PoseSequence:
    """A `mXX_sYY_eZZ_positions.txt` of UI-PRMD's Vicon folder: 39 markers x 3 a line, turned from z up to y up.

    `SourceError` where a line has another count, or something that is no number.
    """
    meaning = "39 markers x 3; the Kinect folder has 66, and no positions of its own"
    values = read_rows(path, 3 * len(PLUG_IN_GAIT_39), meaning).reshape(-1, len(PLUG_IN_GAIT_39), 3)
    words = Path(path).stem.split("_")
    subject = next((f"ui{word[1:]}" for word in words if word[:1] == "s" and word[1:].isdigit()), "ui")
    poses = (values[..., _Y_UP_FROM_Z_UP] * unit_m).astype(np.float32)
    return checked(path, name=Path(path).stem, poses=poses, joints=PLUG_IN_GAIT_39, rate_hz=rate_hz, subject=subject)


def upright(sequence: PoseSequence, up: str) -> PoseSequence:
    """Our 22 joints with y up, from a recording with y or z up. `SourceError` where people stand along another axis."""
    if up not in ("y", "z"):
        raise ValueError(f"up must be y or z, found {up!r}")
    check_up(f"{sequence.name}: people", feet_to_head(sequence.poses), up)
    return sequence if up == "y" else replace(sequence, poses=sequence.poses[..., _Y_UP_FROM_Z_UP])


def clip_of(sequence: PoseSequence, source: str, rate_hz: float = GRID_HZ) -> Clip:
    """A clip of our 22 joints at this rate, interpolated linearly between frames.

    `SourceError` where its height, its up or its sides are wrong, or where it lasts less than two frames.
    """
    check_height(f"{sequence.name}: the person", stature(sequence.poses))
    check_up(f"{sequence.name}: people", feet_to_head(sequence.poses))
    check_sides(f"{sequence.name}: people", *left_and_ahead(sequence.poses))
    count = int((len(sequence.poses) - 1) * rate_hz / sequence.rate_hz) + 1
    if count < 2:
        raise SourceError(
            f"{sequence.name} lasts {len(sequence.poses) / sequence.rate_hz:.3f} s, less than two frames "
            f"at {rate_hz:g} Hz; leave it out"
        )
    frame = np.minimum(np.arange(count) * sequence.rate_hz / rate_hz, len(sequence.poses) - 1)
    left = np.minimum(frame.astype(int), len(sequence.poses) - 2)
    part = (frame - left)[:, None, None]
    positions = (sequence.poses[left] * (1 - part) + sequence.poses[left + 1] * part).astype(np.float32)
    return Clip(name=sequence.name, positions=positions, rate_hz=rate_hz, source=source, subject=sequence.subject)


def rounded(positions: np.ndarray) -> np.ndarray:  # [..., 3] metres
    """Positions that compress well, at most 0.12 mm off along an axis."""
    return np.asarray((np.round(positions * _STEPS_PER_METRE) / _STEPS_PER_METRE).astype(np.float32))


def save_clips(path: str | Path, clips: Sequence[Clip], licence: str) -> None:
    """Write clips as the npz that `load_clips` reads and `train` takes; `licence` is that of clips that state none.

    `SourceError` where their rates or joints differ, `OutputError` where the file cannot be written.
    """
    rates, joints = {clip.rate_hz for clip in clips}, {joint_names(clip.positions) for clip in clips}
    if len(rates) != 1:
        raise SourceError(f"{path} would mix {len(rates)} frame rates ({sorted(rates)}); resample the clips to one")
    if len(joints) != 1:
        raise SourceError(f"{path} would mix clips of {' and '.join(str(len(names)) for names in joints)} joints")
    lengths = np.array([len(clip.positions) for clip in clips])
    write_arrays(
        Path(path),
        {
            "joints": joints.pop(),
            "fps": rates.pop(),
            "starts": np.cumsum(lengths) - lengths,
            "lengths": lengths,
            "positions": np.concatenate([clip.positions for clip in clips]),
            "subject": [clip.subject for clip in clips],
            "trial": [clip.name for clip in clips],
            "src": [clip.source for clip in clips],
            "licence": [clip.licence or licence for clip in clips],
        },
    )
