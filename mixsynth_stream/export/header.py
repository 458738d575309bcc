"""Header of the result files: facts about the video, and the settings with which its poses were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mixsynth_stream.console import utf8
from mixsynth_stream.redact import redacted

if TYPE_CHECKING:
    from mixsynth_stream.export.rate import AverageRate
    from mixsynth_stream.pipeline.frame import VideoInfo
    from mixsynth_stream.skeleton import Skeleton
    from mixsynth_stream.uncertainty import SigmaTable

# What every result says of itself, in all versions.
PROGRAM, FORMAT = "mixsynth-stream", "mixsynth-stream poses"
FORMAT_VERSION = 1
# The word of number n in a file; the numbers are those of pipeline.motion.Origin. The last one is that of glances.
ORIGIN_WORDS = ("missing", "measured", "filled", "forecast", "held", "tracked")
_SCORES = "0 to 1, that the joint is in the picture and visible"
_UNITS = {
    "pose_px": "pixels of the upright picture as the file stores it, x right, y down, from its top left corner",
    "world_m": "metres from the middle of the hips, x right, y down, z away from the camera",
    "scores": _SCORES,
    "sigma_px": "pixels that pose_px may be off; bounds in uncertainty",
    "sigma_m": "metres that world_m may be off; bounds in uncertainty",
}
_SMPL_UNITS = {"rotation_rad": "axis-angle vectors in radians, relative to the joint before", "scores": _SCORES}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings with which poses were made; None where they are not known."""

    every: int | str | None = None  # keyframe spacing in steps of the 30 Hz grid, or "auto"
    budget: str | None = None  # in words, where keyframes are chosen
    lag: int | None = None
    horizon_s: float | None = None
    estimator: str | None = None
    weights: tuple[str, ...] = ()
    skeleton: str = "BlazePose-33"  # or another one of `LANDMARKS`, or SMPL-24: rotations instead of poses
    backend: str | None = None
    glance: bool = False  # whether people were followed between keyframes
    sigma_tables: tuple[SigmaTable | None, SigmaTable | None] = (None, None)  # of the image and the world weights
    # Further fields: which file it was, and all that poses depend on.
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The video, and the settings of its poses. Sizes are those of the first frame, upright.

    Poses in files are pixels of `width` x `height`, the picture as the file stores it. It is shown, and drawn on, at
    the display size, which differs where samples are not square.
    """

    source: str | None = None
    width: int | None = None
    height: int | None = None
    display_width: int | None = None
    display_height: int | None = None
    rate_hz: float | None = None  # as far as it is known; the sinks measure it
    live: bool = True
    has_audio: bool = False
    time_base: Fraction = Fraction(1, 90_000)
    settings: Settings = Settings()

    @classmethod
    def of(cls, info: VideoInfo | None, settings: Settings) -> Header:
        """`info` is None where frames are pushed and nothing is known of their source."""
        if info is None:
            return cls(settings=settings)
        width, height = info.stored_size or (info.width, info.height)
        return cls(
            source=info.source,
            width=width,
            height=height,
            display_width=info.width,
            display_height=info.height,
            rate_hz=info.rate_hz,
            live=info.live,
            has_audio=info.has_audio,
            time_base=info.time_base,
            settings=settings,
        )

    @property
    def is_smpl(self) -> bool:
        """Whether the poses are joint rotations of SMPL instead of landmarks."""
        from mixsynth_stream.skeleton import SMPL_24

        return self.settings.skeleton == SMPL_24.name

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton whose joints the file lists."""
        from mixsynth_stream.skeleton import SKELETONS

        return SKELETONS[self.settings.skeleton]

    def with_rate(self, rate: AverageRate) -> Header:
        """The same with the average rate of the frames so far."""
        return replace(self, rate_hz=rate.hz)

    def as_json(self) -> dict[str, Any]:
        """The header of a pose file for json.dumps. It is the same every time, so it has no date."""
        settings = self.settings
        tables = zip(("sigma_px", "sigma_m"), settings.sigma_tables, strict=True)
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "made_by": made_by(),
            "skeleton": self.skeleton.name,
            "joints": list(self.skeleton.joints),
            "bones": [list(bone) for bone in self.skeleton.bones],
            "origins": list(ORIGIN_WORDS if settings.glance else ORIGIN_WORDS[:-1]),
            "units": {"time_s": "seconds, the video's own time stamps", **(_SMPL_UNITS if self.is_smpl else _UNITS)},
            "source": None if self.source is None else redacted(utf8(self.source)),
            "width": self.width or None,
            "height": self.height or None,
            "display_width": self.display_width or None,
            "display_height": self.display_height or None,
            "rate_hz": None if self.rate_hz is None else round(self.rate_hz, 6),
            "every": settings.every,
            **({} if settings.budget is None else {"budget": settings.budget}),
            "lag": settings.lag,
            "horizon_s": settings.horizon_s,
            "estimator": None if settings.estimator is None else utf8(settings.estimator),
            "weights": [utf8(name) for name in settings.weights],
            "backend": settings.backend,
            **settings.origin,
            "uncertainty": {} if self.is_smpl else {name: _bounds(table, self.skeleton) for name, table in tables},
        }


def made_by() -> str:
    """The program, as each of its results names it."""
    from mixsynth_stream import __version__

    return f"{PROGRAM} {__version__}"


def _bounds(table: SigmaTable | None, skeleton: Skeleton) -> dict[str, Any] | None:
    """How many sigma bound a share of the errors: by origin, by the share in per cent, for each joint."""
    if table is None:
        return None
    from mixsynth_stream.spaces import space_of
    from mixsynth_stream.uncertainty import PARTS, SHARES

    carriers = space_of("image", skeleton).carrier[: len(skeleton)]
    return {
        part: {
            f"{share * 100:.0f}": [round(float(factor), 3) for factor in table.multiplier(part, share)[carriers]]
            for share in SHARES
        }
        for part in PARTS
    }
