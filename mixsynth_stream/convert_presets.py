"""Published checkpoints: their skeletons, and what they do not say about themselves.

Settings: Sun et al., ICCV 2023, and the authors' configuration files. Their two-dimensional data are fractions of the
frame's width and height, their three-dimensional data relative to each frame's own root joint.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17, H36M_17, H36M_22, J14, JHMDB_15, SMPL_24, Skeleton

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
# Short-term prediction: 10 frames seen, 10 predicted (N = 1, Q = 9, H = 10). No checkpoint was published, and the paper
# does not state its encoder.
PREDICTION = _preset(H36M_22, "world", 25, (1, 9, 64, 4),
                     "Human3.6M exponential maps, root zeroed, 25 Hz; metres")  # fmt: skip
