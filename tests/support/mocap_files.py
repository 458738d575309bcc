"""Small recordings in the formats of others, whose joint positions are known, for tests of the readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixsynth_stream.data.recordings import PLUG_IN_GAIT_39
from mixsynth_stream.data.sequences import PoseSequence

# Names in BVH style -> (parent, place of a person of 1.7 m who stands with the arms hanging, metres).
STANDING = {
    "Hips": ("", (0, 0.95, 0)), "Spine": ("Hips", (0, 1.06, 0)), "Spine1": ("Spine", (0, 1.18, 0)),
    "Neck": ("Spine1", (0, 1.42, 0)), "Head": ("Neck", (0, 1.56, 0.02)), "Head_end": ("Head", (0, 1.72, 0.02)),
    **{
        f"{side}{name}": (parent.replace("S", side, 1) if parent.startswith("S") and parent != "Spine1" else parent,
                          (sign * x, y, z))
        for side, sign in (("Left", 1), ("Right", -1))
        for name, parent, (x, y, z) in (
            ("Arm", "Spine1", (0.18, 1.4, 0)), ("ForeArm", "SArm", (0.19, 1.12, 0)),
            ("Hand", "SForeArm", (0.2, 0.88, 0.03)), ("Hand_end", "SHand", (0.2, 0.78, 0.05)),
            ("UpLeg", "Hips", (0.09, 0.93, 0)), ("Leg", "SUpLeg", (0.1, 0.5, 0.01)),
            ("Foot", "SLeg", (0.1, 0.08, -0.03)), ("ToeBase", "SFoot", (0.11, 0.03, 0.08)),
            ("ToeBase_end", "SToeBase", (0.11, 0.02, 0.14)),
        )
    },
}  # fmt: skip


def write_bvh(path: Path, frames: int = 31, rate_hz: float = 120.0, unit_m: float = 1.0, bend: bool = True) -> Path:
    """STANDING, walking 0.01 units along z a frame; with `bend` the left elbow bends 2 degrees a frame about x."""
    lines = ["HIERARCHY"]

    def joint(name: str, depth: int) -> None:
        parent, place = STANDING[name]
        offset = (np.array(place) - (STANDING[parent][1] if parent else place)) / unit_m
        children = [child for child, (of, _) in STANDING.items() if of == name]
        kind = "ROOT" if not parent else "JOINT" if children else "End"
        lines.append("  " * depth + (f"{kind} {name}" if kind != "End" else "End Site"))
        lines.append("{")
        lines.append("OFFSET " + " ".join(f"{x:.6f}" for x in offset))
        if children:
            position = "6 Xposition Yposition Zposition" if not parent else "3"
            lines.append(f"CHANNELS {position} Zrotation Xrotation Yrotation")
        for child in children:
            joint(child, depth + 1)
        lines.append("}")

    joint("Hips", 0)
    order = [line.split()[1] for line in lines if line.split()[0] in ("ROOT", "JOINT")]
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / rate_hz:.7f}"]
    for t in range(frames):
        numbers = {name: [0.0] * 3 for name in order}
        numbers["LeftForeArm"][1] = 2.0 * t * bend
        root = np.array([0, 0.95, 0.01 * t]) / unit_m
        lines.append(" ".join(f"{x:.6f}" for x in [*root, *(n for name in order for n in numbers[name])]))
    path.write_text("\n".join(lines) + "\n")
    return path


# ASF bones of CMU's skeleton: name -> (parent, STANDING's joint at the end of the bone).
_ASF_BONES = {
    "lowerback": ("root", "Spine"), "upperback": ("lowerback", "Spine1"), "thorax": ("upperback", "Neck"),
    "upperneck": ("thorax", "Head"), "head": ("upperneck", "Head_end"),
    **{
        side + bone: (side + parent[1:] if parent[0] == "S" else parent, long + end)
        for side, long in (("l", "Left"), ("r", "Right"))
        for bone, parent, end in (
            ("clavicle", "thorax", "Arm"), ("humerus", "Sclavicle", "ForeArm"), ("radius", "Shumerus", "Hand"),
            ("hand", "Sradius", "Hand_end"), ("hipjoint", "root", "UpLeg"), ("femur", "Shipjoint", "Leg"),
            ("tibia", "Sfemur", "Foot"), ("foot", "Stibia", "ToeBase"), ("toes", "Sfoot", "ToeBase_end"),
        )
    },
}  # fmt: skip


def write_asf_amc(folder: Path, frames: int = 31, length: float = 0.45) -> tuple[Path, Path]:
    """STANDING, with CMU's units; the left radius turns 2 degrees a frame about the global x axis."""
    unit = 0.0254 / length
    lines = [
        ":version 1.10",
        ":name VICON",
        ":units",
        "  mass 1.0",
        f"  length {length}",
        "  angle deg",
        ":documentation",
        "  made for a test",
        ":root",
        "  order TX TY TZ RX RY RZ",
        "  axis XYZ",
        "  position 0 0 0",
        "  orientation 0 0 0",
        ":bonedata",
    ]
    for number, (name, (parent, end)) in enumerate(_ASF_BONES.items(), 1):
        start = STANDING[_ASF_BONES[parent][1] if parent != "root" else "Hips"][1]
        offset = (np.array(STANDING[end][1]) - start) / unit
        size = np.linalg.norm(offset)
        # The bone's own axes are turned a quarter about z: its ry is the negative of the global x.
        axis, dof = ("0 0 90", "  dof ry") if name == "lradius" else ("0 0 0", "")
        lines += [
            "  begin",
            f"    id {number}",
            f"    name {name}",
            "    direction " + " ".join(f"{x:.9f}" for x in offset / size),
            f"    length {size:.9f}",
            f"    axis {axis}  XYZ",
            dof,
            "    limits (-160.0 20.0)" if dof else "",
            "  end",
        ]
    lines += [":hierarchy", "  begin"]
    for parent in ("root", *_ASF_BONES):
        children = [name for name, (of, _) in _ASF_BONES.items() if of == parent]
        lines += [f"    {parent} {' '.join(children)}"] if children else []
    skeleton, motion = folder / "07.asf", folder / "07_01.amc"
    skeleton.write_text("\n".join([*lines, "  end"]) + "\n")
    frames_text = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    for t in range(frames):
        frames_text += [str(t + 1), f"root 0 {0.95 / unit:.9f} {0.01 * t / unit:.9f} 0 0 0", f"lradius {-2.0 * t}"]
    motion.write_text("\n".join(frames_text) + "\n")
    return skeleton, motion


def bent_hand(frames: int = 31) -> np.ndarray:  # [T, 3] where the left wrist of both recordings is
    """The forearm turned about x at the elbow, 2 degrees a frame."""
    elbow, wrist = (np.array(STANDING[name][1], float) for name in ("LeftForeArm", "LeftHand"))
    angle = np.radians(2.0 * np.arange(frames))
    forearm = wrist - elbow
    y = forearm[1] * np.cos(angle) - forearm[2] * np.sin(angle)
    z = forearm[1] * np.sin(angle) + forearm[2] * np.cos(angle)
    return np.stack([np.full(frames, wrist[0]), elbow[1] + y, elbow[2] + z + 0.01 * np.arange(frames)], axis=-1)


def markers(turn: np.ndarray | None = None) -> PoseSequence:
    """Plug-in Gait markers of somebody who stands, y up and facing z."""
    one = {
        "HD": (0.07, 1.62, 0.08), "C7": (0, 1.46, -0.06), "T10": (0, 1.2, -0.1), "CLAV": (0, 1.4, 0.08),
        "STRN": (0, 1.22, 0.12), "SHO": (0.18, 1.42, 0), "ELB": (0.2, 1.12, 0), "WRA": (0.2, 0.88, 0.05),
        "WRB": (0.22, 0.88, 0), "FIN": (0.2, 0.8, 0.05), "ASI": (0.12, 0.98, 0.1), "PSI": (0.05, 1.0, -0.1),
        "KNE": (0.12, 0.5, 0.01), "ANK": (0.12, 0.08, -0.02), "TOE": (0.12, 0.04, 0.14),
    }  # fmt: skip
    places = []
    for name in PLUG_IN_GAIT_39:
        part = name[1:] if name[0] in "LR" else name
        x, y, z = one.get(part, one["HD"] if part.endswith("HD") else (0.1, 1.0, 0.0))
        places.append((x * (-1 if name[0] == "R" else 1), y, -z if part == "BHD" else z))
    poses = np.repeat(np.array(places)[None], 40, axis=0) @ (np.eye(3) if turn is None else turn).T
    return PoseSequence(name="stand", poses=poses, joints=PLUG_IN_GAIT_39, rate_hz=100.0, subject="ui01")


def write_c3d(path: Path, sequence: PoseSequence, prefix: str = "") -> Path:
    """Millimetres, z up, as laboratories write them; NaN: the marker was not seen."""
    ezc3d = pytest.importorskip("ezc3d")
    places = 1000 * sequence.poses[..., [2, 0, 1]].transpose(2, 1, 0)
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [sequence.rate_hz]
    file["parameters"]["POINT"]["LABELS"]["value"] = tuple(prefix + name for name in sequence.joints)
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = np.concatenate([places, np.ones((1, *places.shape[1:]))])
    file.write(str(path))
    return path
