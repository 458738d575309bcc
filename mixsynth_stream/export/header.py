"""Header: what result files say of the video they are about and of how they were made."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.frame import VideoInfo
    from mixsynth_stream.skeleton import Skeleton
    from mixsynth_stream.uncertainty import SigmaTable

FORMAT_VERSION = 1
# Number n in a file is word n here; the same numbers as pipeline.motion.Origin.
ORIGIN_WORDS = ("missing", "measured", "filled", "forecast", "held")
_SCORES = "0 to 1, that the joint is in the picture and visible"
_UNITS = {
    "pose_px": "pixels of the upright picture, x right, y down, from its top left corner",
    "world_m": "metres from the middle of the hips, x right, y down, z away from the camera",
    "scores": _SCORES,
    "sigma_px": "pixels that pose_px may be off; bounds in uncertainty",
    "sigma_m": "metres that world_m may be off; bounds in uncertainty",
}
_SMPL_UNITS = {"rotation_rad": "axis-angle vectors in radians, relative to the joint before", "scores": _SCORES}


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """How poses were made; None where it is not known."""

    every: int | None = None  # keyframe spacing in steps of the 30 Hz grid
    lag: int | None = None
    horizon_s: float | None = None
    estimator: str | None = None
    weights: tuple[str, ...] = ()
    skeleton: str = "BlazePose-33"  # or SMPL-24: rotations instead of poses
    backend: str | None = None
    sigma_tables: tuple[SigmaTable | None, SigmaTable | None] = (None, None)  # of the image and the world weights


@dataclass(frozen=True, kw_only=True)
class Header:
    """The video, and how its poses were made. Sizes are those of the first upright frame."""

    source: str | None = None
    width: int | None = None
    height: int | None = None
    rate_hz: float | None = None
    live: bool = True
    has_audio: bool = False
    time_base: Fraction = Fraction(1, 90_000)
    made_by: MadeBy = MadeBy()

    @classmethod
    def of(cls, info: VideoInfo | None, made_by: MadeBy) -> Header:
        """`info` is None where frames are pushed and nothing is known of their source."""
        if info is None:
            return cls(made_by=made_by)
        return cls(
            source=info.source,
            width=info.width,
            height=info.height,
            rate_hz=info.rate_hz,
            live=info.live,
            has_audio=info.has_audio,
            time_base=info.time_base,
            made_by=made_by,
        )

    @property
    def is_smpl(self) -> bool:
        """Whether the poses are joint rotations of SMPL instead of landmarks."""
        from mixsynth_stream.skeleton import SMPL_24

        return self.made_by.skeleton == SMPL_24.name

    @property
    def skeleton(self) -> Skeleton:
        """Whose joints the file lists."""
        from mixsynth_stream.skeleton import BLAZEPOSE_33, SMPL_24

        return SMPL_24 if self.is_smpl else BLAZEPOSE_33

    def as_json(self) -> dict[str, Any]:
        """The header of a pose file, ready for json.dumps: the same every time, so without the date."""
        from mixsynth_stream import __version__

        made_by = self.made_by
        return {
            "format": "mixsynth-stream poses",
            "version": FORMAT_VERSION,
            "made_by": f"mixsynth-stream {__version__}",
            "skeleton": self.skeleton.name,
            "joints": list(self.skeleton.joints),
            "bones": [list(bone) for bone in self.skeleton.bones],
            "origins": list(ORIGIN_WORDS),
            "units": {"time_s": "seconds, the video's own time stamps", **(_SMPL_UNITS if self.is_smpl else _UNITS)},
            "source": self.source,
            "width": self.width or None,
            "height": self.height or None,
            "rate_hz": None if self.rate_hz is None else round(self.rate_hz, 6),
            "every": made_by.every,
            "lag": made_by.lag,
            "horizon_s": made_by.horizon_s,
            "estimator": made_by.estimator,
            "weights": list(made_by.weights),
            "backend": made_by.backend,
            "uncertainty": {}
            if self.is_smpl
            else {
                name: None if table is None else _bounds(table)
                for name, table in zip(("sigma_px", "sigma_m"), made_by.sigma_tables, strict=True)
            },
        }


def _bounds(table: SigmaTable) -> dict[str, Any]:
    """By origin and per cent, joint by joint: that share of the errors is at most so many sigma."""
    from mixsynth_stream.skeleton import CARRIER
    from mixsynth_stream.uncertainty import PARTS, SHARES

    return {
        part: {
            f"{share * 100:.0f}": [round(float(factor), 3) for factor in table.multiplier(part, share)[list(CARRIER)]]
            for share in SHARES
        }
        for part in PARTS
    }
