"""PoseSequence: the recording that every reader returns, and the checks that all readers share.

Readers raise `SourceError`, one sentence, for data that cannot be right: ragged or missing numbers, NaN, clips without
motion, wrong joint counts, a person of 67 metres, a person who stands along z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import unit_vectors

# A standing person is between these heights; outside them the unit is not the metre.
STATURE_RANGE_M = (1.2, 2.3)
METRES_PER_UNIT = {
    "millimetres": 0.001,
    "centimetres": 0.01,
    "inches": 0.0254,
    "feet": 0.3048,
    "metres": 1.0,
    "cmu": 0.0254 / 0.45,
}
# A guess of the unit prefers the usual height of a recorded person, so that centimetres are not taken for inches.
_USUAL_RANGE_M = (1.45, 2.05)
_AXES = "xyz"
# No recording of people has fewer or more frames a second.
SLOWEST_HZ, FASTEST_HZ = 1.0, 10_000.0
# A person stands along an axis of the file when the cosine between it and the body's up is above this in most frames.
_ALONG_AXIS = 0.8
_STANDING_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class PoseSequence:
    """One unbroken recording of one person: metres (or pixels), radians never."""

    name: str
    poses: np.ndarray  # [T, J, D]
    joints: tuple[str, ...]
    rate_hz: float
    subject: str = ""

    def at(self, joint: str) -> np.ndarray:  # -> [T, D]
        """One joint by name."""
        return np.asarray(self.poses[:, self.joints.index(joint)])


def checked(
    path: str | Path,
    *,
    name: str,
    poses: np.ndarray,  # [T, J, D]
    joints: Sequence[str],
    rate_hz: float,
    subject: str = "",
) -> PoseSequence:
    """A sequence whose shapes, rate and numbers are right, or `SourceError`."""
    if poses.ndim != 3 or poses.shape[1] != len(joints):
        raise SourceError(f"{path}: {name} has poses {list(poses.shape)}, expected {len(joints)} joints a frame")
    if len(poses) < 2:
        raise SourceError(f"{path}: {name} has {len(poses)} frames; motion takes two at least, leave it out")
    check_rate(f"{path}: {name}", rate_hz)
    bad = ~np.isfinite(poses).all(axis=(1, 2))
    if bad.any():
        raise SourceError(
            f"{path}: {name} holds NaN or infinite positions in {bad.sum()} of {len(bad)} frames, first "
            f"in frame {int(np.argmax(bad))}; cut the gaps out of it"
        )
    return PoseSequence(name=name, poses=poses, joints=tuple(joints), rate_hz=float(rate_hz), subject=subject)


def check_rate(what: str | Path, rate_hz: float) -> None:
    """Raise `SourceError` for a rate at which nobody records motion."""
    if not SLOWEST_HZ <= rate_hz < FASTEST_HZ:
        hint = "; is this the seconds of a frame?" if 0 < rate_hz < SLOWEST_HZ else ""
        raise SourceError(f"{what} has {rate_hz:.4g} frames a second, expected {SLOWEST_HZ:g} to {FASTEST_HZ:g}{hint}")


def check_height(where: str, height: float) -> None:
    """Raise `SourceError`, which guesses the unit, unless `height` is that of a person in metres."""
    low, high = STATURE_RANGE_M
    if low <= height <= high:
        return
    guesses = guessed_units(height)
    hint = f"it looks like {guesses[0]}: multiply by {METRES_PER_UNIT[guesses[0]]:.4g}" if guesses else "scale them"
    raise SourceError(
        f"{where} would be {height:.3g} m tall, expected {low}-{high} m; positions must be in metres, {hint}"
    )


def guessed_units(height: float) -> list[str]:
    """Units in which this number is the height of a person, the likeliest first."""
    usual = [unit for unit, m in METRES_PER_UNIT.items() if _USUAL_RANGE_M[0] <= height * m <= _USUAL_RANGE_M[1]]
    possible = [unit for unit, m in METRES_PER_UNIT.items() if STATURE_RANGE_M[0] <= height * m <= STATURE_RANGE_M[1]]
    return usual + [unit for unit in possible if unit not in usual]


def check_up(where: str, up: np.ndarray, expected: str = "y") -> None:  # [T, 3] from the feet to the head
    """Raise `SourceError` where people stand along another axis than `expected`, or upside down along it.

    People who bend, lie or do a handstand now and then pass, because most frames must agree on the other axis.
    """
    direction = unit_vectors(up)
    for axis in range(3):
        for sign in (1, -1):
            name = ("" if sign > 0 else "-") + _AXES[axis]
            if name != expected and (sign * direction[:, axis] > _ALONG_AXIS).mean() > _STANDING_SHARE:
                raise SourceError(f"{where} stand along {name}, expected up to be {expected}; swap or turn the axes")


def check_sides(where: str, left: np.ndarray, ahead: np.ndarray) -> None:  # [T, 3] each
    """Raise `SourceError` where left is on the right of people who stand along y and whose feet point ahead."""
    wrong = (np.cross(left, [0.0, 1.0, 0.0]) * ahead).sum(axis=-1) < 0
    if wrong.mean() > _STANDING_SHARE:
        raise SourceError(
            f"{where} have left and right exchanged in {100 * wrong.mean():.0f} % of the frames; x and z "
            "are swapped, an axis is mirrored (negate z), or the sides' joints are swapped"
        )


def read_text(path: str | Path) -> str:
    """The file as text. `SourceError` where it is missing or not text."""
    try:
        # Some exporters write a byte order mark first.
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read ({error}); give a text file of a recording") from error


def read_rows(path: str | Path, width: int, meaning: str) -> np.ndarray:  # [lines, width] float64
    """The numbers of a text file, a row a line, between spaces or commas.

    `SourceError` where a line has another count than `width`, whose `meaning` it names, or something that is no number.
    """
    rows = [line.replace(",", " ").split() for line in read_text(path).splitlines() if line.strip()]
    wrong = next((n for n, row in enumerate(rows) if len(row) != width), None)
    if wrong is not None:
        raise SourceError(f"{path}, line {wrong + 1} has {len(rows[wrong])} numbers, expected {width}: {meaning}")
    try:
        return np.array(rows, np.float64).reshape(-1, width)
    except ValueError as error:
        raise SourceError(f"{path} holds something that is no number ({error})") from error
