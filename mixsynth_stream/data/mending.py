"""Mending: recordings of 22 joints as the network's 17 joints, where BlazePose places them, by the source of a clip.

Every source of motion capture puts its joints elsewhere, and none has a nose. A `Rig` brings the median proportions of
a source to those of real people (`RATIOS`): MediaPipe's world landmarks on the clips of benchmarks/clips, and one man
triangulated from four views. docs/data.md has the numbers before and after.

No file knows where a face looks when the head turns sideways. It follows the shoulders, and their quick turns with a
part only, since people keep their heads still: on the man's four views 0.43 of them, on his pictures 0.1 to 0.7. Eyes,
ears, mouth, heels, little fingers and thumbs are in no file, and the network does not need them: a stream carries them
with its 17 joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixsynth_stream.data.cameras import BONE_GROUPS, resized
from mixsynth_stream.data.mocap import FILE_JOINTS, Clip, core_from_mocap, stature
from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import unit_vectors
from mixsynth_stream.skeleton import CORE_17

# Lengths over the torso's, which is the middle of the hips to the middle of the shoulders. The torso is over the leg.
RATIOS: Mapping[str, float] = {
    "torso": 0.62,
    "shoulder_width": 0.66,
    "hip_width": 0.41,
    "forearm": 0.49,
    "hand": 0.15,
    "foot": 0.33,
    "nose_up": 0.32,
    "nose_ahead": 0.31,
}


@dataclass(frozen=True)
class Rig:
    """Where a source has its joints. Metres are for a person of 1.7 m (`stature`); factors are on bones, 1 if None."""

    # From the head's tip to the nose: along the head's axis, and square to it in the direction of the face.
    nose_up_m: float
    nose_ahead_m: float
    # The joint from which the head's axis leads to its tip.
    axis_from: str = "head"
    # The wrist bends so far along the line from the elbow to the file's wrist.
    wrist_at: float = 1.0
    torso: float = 1.0
    shoulder_width: float = 1.0
    hip_width: float = 1.0
    forearm: float = 1.0
    hand: float = 1.0
    foot: float = 1.0

    @property
    def factors(self) -> np.ndarray:  # [10] in the order of BONE_GROUPS
        return np.array([getattr(self, group, 1.0) for group in BONE_GROUPS])


# One actor, whose trunk is short; the tips of his feet are those of shoes.
_SNU_ACTOR = Rig(-0.18, 0.13, torso=1.12, hip_width=1.23, forearm=1.19, hand=0.60, foot=0.94)
# In CMU's skeletons `head` is the top of the neck and `headtip` the middle of the skull; in dazbvh and dmtxt it lies
# between the eyes, in the others on top of the head. Marker sets have markers over the joints of shoulders and toes.
RIGS: Mapping[str, Rig] = {
    # The bone `wrist` ends in the forearm: the hand turns about a point half as far again from the elbow.
    "asf": Rig(-0.035, 0.14, wrist_at=1.5, shoulder_width=0.93, hip_width=1.23, forearm=0.90, hand=2.0, foot=0.89),
    "cmufbx": Rig(-0.035, 0.15, shoulder_width=0.94, hip_width=1.20, forearm=1.30, hand=0.80, foot=0.93),
    "expmap8": Rig(0.0, 0.13, shoulder_width=0.83, hip_width=1.12, forearm=1.30, hand=0.79, foot=0.90),
    # Its `headtip` is the top of the neck, too.
    "cmubvh": Rig(0.045, 0.135, "neck", shoulder_width=0.88, hip_width=1.42, forearm=1.27, hand=0.85, foot=1.24),
    "dazbvh": Rig(0.005, 0.055, torso=1.09, shoulder_width=1.47, hip_width=1.19, forearm=1.05, hand=0.85, foot=1.32),
    "dmtxt": Rig(-0.035, 0.06, torso=1.08, shoulder_width=0.93, hip_width=1.24, foot=1.22),
    "uiprmd": Rig(-0.045, 0.125, shoulder_width=1.10, hip_width=1.09, foot=1.20),
    "animdraw": Rig(-0.205, 0.19, torso=1.07, hip_width=1.18, forearm=1.08, hand=0.81, foot=0.72),
    "biomechzoo": Rig(-0.215, 0.13, torso=1.20, shoulder_width=0.92, hip_width=1.22, hand=1.12, foot=1.20),
    "snu_martial": Rig(-0.08, 0.08, torso=0.90, shoulder_width=0.90, hip_width=1.17, forearm=0.93, foot=0.86),
    "snu_basket": Rig(
        -0.195, 0.125, torso=0.94, shoulder_width=0.79, hip_width=1.14, forearm=0.89, hand=0.77, foot=0.67
    ),
    **dict.fromkeys(("snu_ys", "snu_ysw", "snu_hp", "snu_tiling", "snu_tennis"), _SNU_ACTOR),
}
# What is slower than this turns the face as far as the shoulders, and of quicker turns it makes this share.
_STEADY_S, _QUICK_SHARE = 0.3, 0.4
# A torso that is shorter than this share of the leg has lost a bone: conversions of CMU by exponential maps do.
_SHORTEST_TORSO = 0.5


def mended(clips: Sequence[Clip], source: str = "") -> tuple[list[Clip], list[str]]:
    """Clips of 17 joints, and a sentence for every clip that was left out because a bone is missing.

    `source` names the rig where the clips do not say theirs. `SourceError` where there is no such rig.
    """
    result, left_out = [], []
    for clip in clips:
        if clip.positions.shape[1] != len(FILE_JOINTS):
            raise SourceError(f"{clip.name} has {clip.positions.shape[1]} joints, so it is mended; leave it out")
        name = source or clip.source
        if name not in RIGS:
            raise SourceError(
                f"{clip.name} is of the source {name!r}, of which nobody knows where its joints are; name one of "
                f"{', '.join(RIGS)} that has them in the same places, or add it to RIGS"
            )
        ratio = ratios(clip.core)["torso"]
        if ratio < _SHORTEST_TORSO and RIGS[name].torso == 1:
            left_out.append(f"{clip.name}: its torso is {ratio:.2f} of the leg, so a bone of the spine is missing")
        else:
            result.append(replace(clip, positions=mended_core(clip.positions, RIGS[name], clip.rate_hz)))
    return result, left_out


def mended_core(
    positions: np.ndarray,  # [T, 22, 3]
    rig: Rig,
    rate_hz: float,
) -> np.ndarray:  # [T, 17, 3]
    """The network's joints of one clip, CORE_17 order."""
    joint = {name: positions[:, column] for column, name in enumerate(FILE_JOINTS)}
    core = core_from_mocap(positions)
    up = unit_vectors(joint["headtip"] - joint[rig.axis_from])
    left = unit_vectors(joint["lshoulder"] - joint["rshoulder"])
    left = _QUICK_SHARE * left + (1 - _QUICK_SHARE) * _steady(left, _STEADY_S * rate_hz)
    ahead = unit_vectors(np.cross(left, up))
    size = stature(positions) / 1.7
    core[:, CORE_17.index("nose")] = joint["headtip"] + size * (rig.nose_up_m * up + rig.nose_ahead_m * ahead)
    for side in ("left", "right"):
        elbow, wrist = (CORE_17.index(f"{side}_{part}") for part in ("elbow", "wrist"))
        core[:, wrist] = core[:, elbow] + rig.wrist_at * (core[:, wrist] - core[:, elbow])
    return np.asarray(resized(core[None], rig.factors[None])[0], np.float32)


def _steady(values: np.ndarray, frames: float) -> np.ndarray:  # [T, 3]
    """Mean over the frames around each, by a Gaussian of this standard deviation that ends with the clip."""
    reach = round(3 * frames)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    padded = np.pad(np.concatenate([values, np.ones((len(values), 1))], axis=1), ((reach, reach), (0, 0)))
    sums = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0) @ kernel
    return np.asarray(sums[:, :-1] / sums[:, -1:])


def ratios(core: np.ndarray) -> dict[str, float]:  # [T, 17, 3]
    """The proportions of `RATIOS`, medians over time; the nose is told in the axes of the torso."""
    joint = {name: core[:, column].astype(np.float64) for column, name in enumerate(CORE_17.joints)}
    hips, shoulders = ((joint[f"left_{part}"] + joint[f"right_{part}"]) / 2 for part in ("hip", "shoulder"))

    def length(first: str, second: str) -> float:
        return float(np.median(np.linalg.norm(joint[first] - joint[second], axis=-1)))

    def limb(first: str, second: str) -> float:
        return (length(f"left_{first}", f"left_{second}") + length(f"right_{first}", f"right_{second}")) / 2

    torso = float(np.median(np.linalg.norm(shoulders - hips, axis=-1)))
    up, across = unit_vectors(shoulders - hips), joint["left_shoulder"] - joint["right_shoulder"]
    ahead = unit_vectors(np.cross(across, up))
    nose = joint["nose"] - shoulders
    lengths = {
        "shoulder_width": length("left_shoulder", "right_shoulder"),
        "hip_width": length("left_hip", "right_hip"),
        "forearm": limb("elbow", "wrist"),
        "hand": limb("wrist", "index"),
        "foot": limb("ankle", "foot_index"),
        "nose_up": float(np.median((nose * up).sum(axis=-1))),
        "nose_ahead": float(np.median((nose * ahead).sum(axis=-1))),
    }
    leg = limb("hip", "knee") + limb("knee", "ankle")
    return {"torso": torso / leg, **{name: value / torso for name, value in lengths.items()}}
