"""ASF/AMC files (Acclaim): a skeleton and its motion in, positions of the bones' ends in metres out.

Convention (the Acclaim format definition 1.10; CMU's files): a bone has a direction and a length in the rest pose, and
axes C of its own (`axis`, Euler angles about fixed axes, of which the first one turns first). Its rotation against its
parent is C M C^-1, where M comes from the AMC's angles for its `dof`, again about fixed axes. A length unit of CMU's
files is 1 / 0.45 of an inch: a number divided by the `length` of `:units` is in inches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.data.sequences import METRES_PER_UNIT, PoseSequence, checked, read_text
from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import euler_to_matrix


@dataclass
class _Bone:
    parent: str
    offset: np.ndarray  # [3] from the bone's start to its end, rest pose, global axes
    axes: np.ndarray  # [3, 3] C
    dof: tuple[str, ...]


def read_asf_amc(
    skeleton: str | Path, motion: str | Path, rate_hz: float = 120.0, unit: str = "inches", subject: str = ""
) -> PoseSequence:
    """The root and the end of every bone, by the bone's name. `SourceError` says what does not fit.

    The files do not say their rate: most of CMU's have 120 Hz, some 60.
    """
    if unit not in METRES_PER_UNIT:
        raise ValueError(f"unit must be one of {', '.join(METRES_PER_UNIT)}, found {unit!r}")
    bones, length = _read_asf(skeleton)
    frames = _read_amc(motion, bones)
    ends = _bone_ends(motion, bones, frames) * METRES_PER_UNIT[unit] / length
    poses, subject = ends.astype(np.float32), subject or Path(skeleton).stem
    return checked(motion, name=Path(motion).stem, poses=poses, joints=list(bones), rate_hz=rate_hz, subject=subject)


def _read_asf(path: str | Path) -> tuple[dict[str, _Bone], float]:
    """Bones, `root` first and each after its parent, and the length unit."""
    sections: dict[str, list[list[str]]] = {}
    section: list[list[str]] = []
    for line in read_text(path).splitlines():
        words = line.split("#")[0].split()
        if words and words[0].startswith(":"):
            section = sections.setdefault(words[0].lower(), [])
        elif words:
            section.append(words)
    missing = [name for name in (":root", ":bonedata", ":hierarchy") if name not in sections]
    if missing:
        raise SourceError(f"{path} has no {', '.join(missing)}; it is no ASF file, or truncated")
    try:
        units = {words[0].lower(): words[1] for words in sections.get(":units", []) if len(words) > 1}
        degrees = units.get("angle", "deg").lower() != "rad"
        root = {words[0].lower(): words[1:] for words in sections[":root"]}
        order = tuple(word.lower() for word in root["order"])
        bones = {"root": _Bone("", np.zeros(3), np.eye(3), order)}
        loose_bones = _bone_data(sections[":bonedata"], degrees)
        for words in sections[":hierarchy"]:
            if words[0] not in ("begin", "end"):
                for child in words[1:]:
                    bones[child] = loose_bones[child]
                    bones[child].parent = words[0]
                    if words[0] not in bones:
                        raise SourceError(f"{path}: bone {child} hangs on {words[0]}, which comes later or nowhere")
        return bones, float(units.get("length", "1.0"))
    except (KeyError, ValueError, IndexError) as error:
        raise SourceError(f"{path} is damaged: {error} is missing or no number") from error


def _bone_data(lines: list[list[str]], degrees: bool) -> dict[str, _Bone]:
    """Bones by name, without their parents."""
    bones: dict[str, _Bone] = {}
    fields: dict[str, list[str]] = {}
    for words in lines:
        if words[0] == "begin":
            fields = {}
        elif words[0] == "end":
            direction = np.array(fields["direction"], np.float64)
            angles = np.array(fields["axis"][:3], np.float64)
            angles = np.radians(angles) if degrees else angles
            # About fixed axes the first angle turns first, so its matrix stands last in the product.
            axes = euler_to_matrix(angles[::-1], fields["axis"][3][::-1])
            offset = direction / np.linalg.norm(direction) * float(fields["length"][0])
            dof = tuple(word.lower() for word in fields.get("dof", []))
            bones[fields["name"][0]] = _Bone("", offset, axes, dof)
        else:
            fields[words[0].lower()] = words[1:]
    return bones


def _read_amc(path: str | Path, bones: dict[str, _Bone]) -> list[dict[str, list[float]]]:
    frames: list[dict[str, list[float]]] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if line.strip().upper() == ":RADIANS":
            raise SourceError(f"{path} holds radians; write it with :DEGREES, as CMU's files are")
        if not words or line.startswith(("#", ":")):
            continue
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
            continue
        bone = bones.get(words[0])
        if bone is None or not frames or len(words) - 1 != len(bone.dof):
            expected = f"{len(bone.dof)} numbers" if bone else "a bone of the skeleton"
            raise SourceError(
                f"{path}, line {number}: {line.strip()[:60]!r} does not fit, expected {expected}; is it "
                "the motion of another skeleton?"
            )
        try:
            frames[-1][words[0]] = [float(word) for word in words[1:]]
        except ValueError as error:
            raise SourceError(f"{path}, line {number}: {error}") from error
    if not frames:
        raise SourceError(f"{path} holds no frames; it is no AMC file, or truncated")
    return frames


def _bone_ends(path: str | Path, bones: dict[str, _Bone], frames: list[dict[str, list[float]]]) -> np.ndarray:
    """[T, bones, 3] ends of the bones, in the file's unit."""
    names = list(bones)
    positions = np.zeros((len(frames), len(bones), 3))
    rotations: dict[str, np.ndarray] = {}
    for index, (name, bone) in enumerate(bones.items()):
        ragged = [n for n, frame in enumerate(frames) if bone.dof and name not in frame]
        if ragged:
            raise SourceError(f"{path}: frame {ragged[0] + 1} has no line for {name}; the file is ragged")
        values = np.array([frame[name] for frame in frames]) if bone.dof else np.zeros((len(frames), 0))
        angles = [n for n, dof in enumerate(bone.dof) if dof.startswith("r")][::-1]
        local = euler_to_matrix(np.radians(values[:, angles]), "".join(bone.dof[n][1] for n in angles))
        local = bone.axes @ local @ bone.axes.T
        if name == "root":
            for n, dof in enumerate(bone.dof):
                if dof.startswith("t"):
                    positions[:, 0, "xyz".index(dof[1])] = values[:, n]
            rotations[name] = local
        else:
            rotations[name] = rotations[bone.parent] @ local
            start = positions[:, names.index(bone.parent)]
            positions[:, index] = start + (rotations[name] @ bone.offset[:, None])[..., 0]
    return positions
