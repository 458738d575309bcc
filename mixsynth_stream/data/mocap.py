"""Mocap clips: files of motion capture, checks of their units, and the network's 17 joints from the files' 22.

File format (npz): joints [J] names, fps, positions [F, J, 3] in metres with y up, starts and lengths [C] of the clips
inside positions; optional subject, trial, src and licence [C]. The joints are those of Mocap-22, as they were recorded,
or those of Core-17, mended (data/mending.py). docs/model-card.md names the data that shipped weights saw.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.data.sequences import check_height, check_rate, check_sides, check_up
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.rotations import unit_vectors
from mixsynth_stream.skeleton import CORE_17, MOCAP_22, split_joint

# The validation clips lie in a checkout only; the wheel does not hold them.
DEFAULT_DATA = ("benchmarks/mocap/cmu_val.npz", "benchmarks/mocap/extra_val.npz")

# The joints of Mocap-22 as the files of clips name them: lshoulder for left_shoulder.
FILE_JOINTS = tuple(name.replace("left_", "l").replace("right_", "r") for name in MOCAP_22.joints)

# Mended files have the network's joints, under the network's names.
_JOINT_SETS = {len(FILE_JOINTS): FILE_JOINTS, len(CORE_17): CORE_17.joints}

# Core joints whose joint in the files has another name. `core_from_mocap` moves the nose from the head to its place.
_CORE_SOURCE = {"nose": "head", "index": "hand", "foot_index": "toe"}

# The nose relative to the head joint, which lies between the eyes or at the skull's centre, by file. In metres for a
# person of 1.7 m: ahead in the direction of the face, and below along the head's own axis.
NOSE_AHEAD_M, NOSE_BELOW_M = 0.07, 0.03

_ANKLE_HEIGHT_M = 0.08
# What the line from the shoulders to the nose leaves to the top of the head.
_NOSE_TO_TOP_M = 0.11
# From here on a float64 holds no fractions, so it cannot show whether a number was whole.
_LARGEST_COUNT = 2.0**53
# Optional arrays, one entry a clip.
_LABELS = ("subject", "trial", "src", "licence")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One unbroken piece of motion of one person."""

    name: str
    positions: np.ndarray  # [T, 22, 3] or, mended, [T, 17, 3] metres, y up
    rate_hz: float
    source: str
    subject: str
    licence: str = ""

    @property
    def core(self) -> np.ndarray:  # [T, 17, 3]
        """The network's joints, CORE_17 order."""
        return self.positions if self.positions.shape[1] == len(CORE_17) else core_from_mocap(self.positions)


def load_clips(path: str | Path) -> list[Clip]:
    """The clips of one file. `SourceError` says in one sentence what is wrong with a file that does not fit."""
    if Path(path).exists() and not zipfile.is_zipfile(path):
        what = "is a folder" if Path(path).is_dir() else "is no npz, or a damaged one"
        raise SourceError(
            f"{path} {what}; motion capture is read from .npz files, and scripts/make_mocap_npz.py makes "
            "them of BVH, ASF/AMC and C3D files"
        )
    data = load_arrays(path, ("joints", "fps", "positions", "starts", "lengths"), optional=_LABELS)
    joints = tuple(str(name) for name in data["joints"].reshape(-1))
    if joints not in _JOINT_SETS.values():
        raise SourceError(f"{path} has joints {', '.join(joints)}; expected {', '.join(FILE_JOINTS)} in this order")
    if data["fps"].size != 1:
        raise SourceError(
            f"{path} has {data['fps'].size} frame rates; all clips of a file share one: resample them, "
            "or make a file for each rate"
        )
    try:
        positions, rate_hz = np.array(data["positions"], np.float32), float(data["fps"].item())
        starts, lengths = (_whole_numbers(key, data[key]).reshape(-1) for key in ("starts", "lengths"))
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"{path}: positions and fps must be numbers, starts and lengths whole numbers ({error})"
        ) from error
    labels = {key: data.get(key, np.array("")) for key in _LABELS}
    # One text may stand for all clips.
    labels = {key: np.full(len(starts), text) if text.ndim == 0 else text for key, text in labels.items()}
    short = [key for key, values in labels.items() if values.shape != starts.shape]
    if short:
        raise SourceError(f"{path} has {len(starts)} clips and {short[0]} {list(labels[short[0]].shape)}; one each")
    check_rate(path, rate_hz)
    if positions.ndim != 3 or positions.shape[1:] != (len(joints), 3) or len(starts) != len(lengths):
        raise SourceError(f"{path} has positions {positions.shape}; expected [F, {len(joints)}, 3] and starts, lengths")
    clips = []
    for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        if length < 2:
            raise SourceError(f"{path}: clip {number} has {length} frames; motion takes two at least, leave it out")
        if start < 0 or start + length > len(positions):
            raise SourceError(f"{path}: clip {number} is frames {start} to {start + length} of {len(positions)}")
        name = str(labels["trial"][number]) or f"clip {number}"
        subject, source, licence = (str(labels[key][number]) for key in ("subject", "src", "licence"))
        piece = positions[start : start + length]
        clips.append(Clip(name=name, positions=piece, rate_hz=rate_hz, source=source, subject=subject, licence=licence))
        _check_clip(path, clips[-1])
    if not clips:
        raise SourceError(f"{path} holds no clips")
    whole = np.concatenate([clip.positions for clip in clips])
    check_up(f"{path}: people", feet_to_head(whole))
    check_sides(f"{path}: people", *left_and_ahead(whole))
    return clips


def _whole_numbers(key: str, values: np.ndarray) -> np.ndarray:
    numbers = np.asarray(values, np.float64)
    wrong = ~(np.abs(numbers) < _LARGEST_COUNT)
    if wrong.any():
        raise ValueError(f"found {numbers[wrong][0]:g} in {key}")
    if (numbers % 1 != 0).any():
        raise ValueError("found fractions")
    return numbers.astype(int)


def joint_names(positions: np.ndarray) -> tuple[str, ...]:  # of [T, 22 or 17, 3]
    """The names of these joints in a file."""
    return _JOINT_SETS[positions.shape[1]]


def joint_columns(positions: np.ndarray) -> dict[str, np.ndarray]:  # [T, 22 or 17, 3] -> each [T, 3]
    """Every joint by its name; those that both kinds of files have are called as in Mocap-22's (`lhand`, `ltoe`)."""
    names = joint_names(positions)
    if names == CORE_17.joints:
        names = tuple(FILE_JOINTS[column] for column in _core_columns())
    return {name: positions[:, column] for column, name in enumerate(names)}


def stature(positions: np.ndarray) -> float:  # [T, 22 or 17, 3] -> metres when the unit is the metre
    """Height of the standing person, from bone lengths, so that it does not depend on the pose."""
    joint = joint_columns(positions)

    def bones(*names: str) -> float:
        chain = np.stack([joint[name] for name in names])
        return float(np.median(np.linalg.norm(np.diff(chain, axis=0), axis=-1).sum(axis=0)))

    legs = (bones("lhip", "lknee", "lankle") + bones("rhip", "rknee", "rankle")) / 2
    if "headtip" in joint:
        return legs + bones("pelvis", "spine", "chest", "neck", "head", "headtip") + _ANKLE_HEIGHT_M
    for part in ("hip", "shoulder"):
        joint[f"{part}s"] = (joint[f"l{part}"] + joint[f"r{part}"]) / 2
    return legs + bones("hips", "shoulders", "head") + _NOSE_TO_TOP_M + _ANKLE_HEIGHT_M


def _check_clip(path: str | Path, clip: Clip) -> None:
    bad = ~np.isfinite(clip.positions).all(axis=(1, 2))
    if bad.any():
        raise SourceError(
            f"{path}: {clip.name} holds NaN or infinite positions in {bad.sum()} of {len(bad)} frames, "
            f"first in frame {int(np.argmax(bad))}; cut the gaps out of it"
        )
    check_height(f"{path}: the person of {clip.name}", stature(clip.positions))


def feet_to_head(positions: np.ndarray) -> np.ndarray:  # [T, 22 or 17, 3] -> [T, 3]
    """From the middle of the ankles to the head."""
    joint = joint_columns(positions)
    return np.asarray(joint["head"] - (joint["lankle"] + joint["rankle"]) / 2)


def left_and_ahead(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [T, 22 or 17, 3] -> [T, 3] each
    """From the right hip to the left one, and the direction in which the feet point."""
    joint = joint_columns(positions)
    return joint["lhip"] - joint["rhip"], joint["ltoe"] - joint["lankle"] + joint["rtoe"] - joint["rankle"]


def core_from_mocap(positions: np.ndarray) -> np.ndarray:  # [T, 22, 3] -> [T, 17, 3]
    """The network's joints, CORE_17 order: hand -> index finger, toe -> foot index, head -> nose.

    The nose is NOSE_AHEAD_M ahead of the head joint and NOSE_BELOW_M below it; both distances scale with the person's
    height. Ahead is the direction of the face: square to the line of the shoulders and to the line from the neck to the
    top of the head.
    """
    core = positions[:, _core_columns()].copy()
    up = unit_vectors(positions[:, FILE_JOINTS.index("headtip")] - positions[:, FILE_JOINTS.index("neck")])
    left = positions[:, FILE_JOINTS.index("lshoulder")] - positions[:, FILE_JOINTS.index("rshoulder")]
    ahead = unit_vectors(np.cross(left, up))
    size = stature(positions) / 1.7
    core[:, CORE_17.index("nose")] += size * (NOSE_AHEAD_M * ahead - NOSE_BELOW_M * up)
    return core


def unique_names(paths: Sequence[str | Path], names: Sequence[str]) -> list[str]:
    """The names of files, with all of the path where two are called alike."""
    return [name if names.count(name) == 1 else str(path) for path, name in zip(paths, names, strict=True)]


def data_hash(paths: Sequence[str | Path]) -> str:
    """SHA-256 over the bytes of the files, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _core_columns() -> list[int]:
    columns = []
    for name in CORE_17.joints:
        side, part = split_joint(name)
        columns.append(FILE_JOINTS.index(side[:1] + _CORE_SOURCE.get(part, part)))
    return columns


def data_files(names: Sequence[str] | None, has_video: bool) -> list[Path]:
    """The files of --data. Without --data and videos, the checkout's clips; `SourceError` outside a checkout."""
    if names is not None or has_video:
        return [Path(name) for name in names or ()]
    files = [CHECKOUT / name for name in DEFAULT_DATA]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise SourceError(
            f"the validation clips are in the repository, not in the installed package (looked for {missing[0]}); run "
            "evaluate from a checkout, or give motion capture files with --data or videos with --video"
        )
    return files
