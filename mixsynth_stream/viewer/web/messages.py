"""Messages between the page and the server, as docs/live-view.md tells them.

The page asks for each picture that it draws, and gets what is newest: so a slow page gets fewer, and never old ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixsynth_stream.pipeline.motion import Expected, Motion, Origin, Poses
from mixsynth_stream.skeleton import BLAZEPOSE_33, Skeleton

PROTOCOL = 1
# Bytes of a message from the page; larger ones end the connection.
MAX_REQUEST = 1024
MAX_AHEAD_S = 1.0


class RequestError(ValueError):
    """A message that no page of ours sends."""


@dataclass(frozen=True)
class DrawRequest:
    """A page is about to draw: `{"type": "draw", "picture": 41, "final": 37, "ahead_s": 0.02, "of": "now"}`."""

    picture: int = -1  # index of the newest picture that it has
    final: int = -1  # index of the newest final poses that it has
    ahead_s: float = 0.0  # how much later what it draws will be seen
    is_of_picture: bool = False  # whether everybody is shown as of the newest picture, instead of now

    @classmethod
    def of(cls, text: str | bytes) -> DrawRequest:
        """Raises `RequestError`, whose text is short enough to close a connection with."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise RequestError("expected a JSON object") from None
        if not isinstance(message, dict) or message.get("type") != "draw":
            raise RequestError('expected {"type": "draw", ...}')
        numbers = [message.get(name, default) for name, default in (("picture", -1), ("final", -1), ("ahead_s", 0.0))]
        if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
            raise RequestError("picture, final and ahead_s must be numbers")
        if not all(abs(number) < 2**53 for number in numbers) or not 0 <= numbers[2] <= MAX_AHEAD_S:
            raise RequestError(f"ahead_s must be 0 to {MAX_AHEAD_S:g}, indices below 2^53")
        moment = message.get("of", "now")
        if moment not in ("now", "picture"):
            raise RequestError('of must be "now" or "picture"')
        return cls(int(numbers[0]), int(numbers[1]), float(numbers[2]), moment == "picture")


def is_end(text: str | bytes) -> bool:
    """Whether a page wants the stream to end: `{"type": "end"}`."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "end"


def hello(
    sources: Sequence[str],
    number: int = 0,
    *,
    live: bool,
    horizon_s: float,
    may_end: bool = False,
    skeleton: Skeleton = BLAZEPOSE_33,
) -> str:
    """What a page of one of the sources is told first, and once more where its stream has another skeleton."""
    sides = [skeleton.side(j) for j in range(len(skeleton))]
    message = {
        "type": "hello",
        "protocol": PROTOCOL,
        "source": sources[number],
        "sources": list(sources),
        "number": number,
        "live": live,
        "horizon_s": horizon_s,
        "may_end": may_end,
        "joints": skeleton.joints,
        "sides": sides,
        "bones": skeleton.bones,
        "origins": {origin.name.lower(): int(origin) for origin in Origin},
    }
    return json.dumps(message)


def pack(message: dict[str, Any], jpeg: bytes) -> bytes:
    """An answer: the length of its JSON (4 bytes, little-endian), the JSON, and a JPEG picture or nothing."""
    text = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    return len(text).to_bytes(4, "little") + text + jpeg


def people(poses: Motion | Expected | Poses, ids: np.ndarray) -> list[dict[str, Any]]:  # ids: [P]
    """Everybody at one time: `{"id": 3, "joints": [[x, y, score, origin, sigma], null, ...]}`, in pixels.

    A joint that is MISSING is null, and so is the sigma of one without.
    """
    sigma = poses.sigma if poses.sigma is not None else np.full(poses.scores.shape, np.nan)
    columns = [poses.poses, poses.scores[..., None], poses.origin[..., None], sigma[..., None]]
    rows = np.round(np.concatenate(columns, axis=2), 2).tolist()  # [P, J, 5]
    return [
        {"id": int(person), "joints": [_joint(*joint) for joint in joints]}
        for person, joints in zip(ids, rows, strict=True)
        if any(joint[3] != Origin.MISSING for joint in joints)
    ]


def _joint(x: float, y: float, score: float, origin: float, sigma: float) -> list[float | None] | None:
    if origin == Origin.MISSING or not math.isfinite(x + y):
        return None
    return [x, y, score, int(origin), sigma if math.isfinite(sigma) else None]
