"""Published checkpoints: their skeletons, and what they do not say about themselves.

Settings: Sun et al., ICCV 2023, and the authors' configuration files. Their two-dimensional data are fractions of the
frame's width and height, their three-dimensional data relative to each frame's own root joint.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, Skeleton

# Order: the annotation of the JHMDB data set.
JHMDB_15 = Skeleton("JHMDB-15", (
    "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
), ())  # fmt: skip
# Order: the 17 of Human3.6M's 32 joints that move, as VideoPose3D lists them.
H36M_17 = Skeleton("H36M-17", (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax",
    "neck", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
), ())  # fmt: skip
# Order: the 14 joints of LSP, on which SPIN, EFT and PARE are compared.
J14 = Skeleton("J14", (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
), ())  # fmt: skip
# Order: the SMPL body model.
SMPL_24 = Skeleton("SMPL-24", (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
), ())  # fmt: skip
SKELETONS = {s.name: s for s in (CORE_17, BLAZEPOSE_33, JHMDB_15, H36M_17, J14, SMPL_24)}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a published checkpoint does not say about itself."""

    skeleton: Skeleton
    space: str
    rate_hz: float
    sample_interval: int
    step: int
    emb_dim: int
    num_encoder_layers: int
    data: str
    normalisation: str = "none"


def _preset(
    skeleton: Skeleton, space: str, rate_hz: float, shape: tuple[int, int, int, int], data: str
) -> Preset:  # shape = (N, Q, C, L)
    return Preset(skeleton=skeleton, space=space, rate_hz=rate_hz, data=data, sample_interval=shape[0], step=shape[1],
                  emb_dim=shape[2], num_encoder_layers=shape[3])  # fmt: skip


_OWN_ROOT = "each frame relative to its own root, in metres"
PRESETS = {
    "jhmdb": _preset(JHMDB_15, "image", 30, (10, 1, 128, 5),
                     "Sub-JHMDB, SimplePose estimates; fractions of the frame's width and height"),
    "h36m": _preset(H36M_17, "world", 50, (10, 10, 64, 4), f"Human3.6M, FCN estimates; {_OWN_ROOT}"),
    "3dpw-spin": _preset(J14, "world", 30, (10, 5, 32, 4), f"3DPW, SPIN estimates; {_OWN_ROOT}"),
    "3dpw-eft": _preset(J14, "world", 30, (10, 5, 32, 4), f"3DPW, EFT estimates; {_OWN_ROOT}"),
    "3dpw-pare": _preset(J14, "world", 30, (5, 10, 32, 4), f"3DPW, PARE estimates; {_OWN_ROOT}"),
    "3dpw-smpl-pare": _preset(SMPL_24, "rotation", 30, (10, 5, 64, 4), "3DPW, PARE estimates; SMPL pose, 6D rotations"),
    "aist": _preset(J14, "world", 60, (10, 10, 128, 5), f"AIST++, SPIN estimates; {_OWN_ROOT}"),
    "aist-smpl": _preset(SMPL_24, "rotation", 60, (10, 10, 128, 5), "AIST++, SPIN estimates; SMPL pose, 6D rotations"),
}  # fmt: skip
