"""Poses on a picture: skeletons, ghosts, the legend and the status line, for the overlay file and for live views.

The style shows the origin: measured is solid with white rings around the joints, filled and tracked are solid and thin,
forecast and held are dashed. The ghost is the last pose of the forecast; trails lead to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mixsynth_stream.draw.canvas import Canvas, Casing, Color, Sticker
from mixsynth_stream.draw.capsules import dashes
from mixsynth_stream.draw.font import line_height, text_width
from mixsynth_stream.pipeline.motion import Forecast, Motion, Origin, forecast_of
from mixsynth_stream.skeleton import Skeleton

SIDE_COLORS: dict[str, Color] = {"left": (0, 255, 0), "right": (255, 128, 0), "middle": (51, 153, 255)}
MIN_SCORE = 0.3
WHITE: Color = (255, 255, 255)
_INK: Color = (0, 0, 0)
_DIM: Color = (130, 130, 130)
_GHOST_OPACITY = 0.5
_AHEAD = (Origin.FORECAST, Origin.HELD)
_BETWEEN = "filled or tracked"  # one style, whether a glance saw the joint or not


# Trails lead from these joints to their places in the ghost, where a skeleton has them.
_TRAILS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")


def _pale(colors: np.ndarray) -> np.ndarray:
    return np.asarray(colors + (255 - colors) * 0.3)


@dataclass(frozen=True, eq=False)
class _Body:
    """How a skeleton is drawn."""

    bones: np.ndarray  # [E, 2]
    trails: np.ndarray  # [T]
    joint_colors: np.ndarray  # [J, 3]
    bone_colors: np.ndarray  # [E, 3]
    pale_bone_colors: np.ndarray  # [E, 3]


@lru_cache(maxsize=8)
def _body(skeleton: Skeleton) -> _Body:
    bone_colors = np.array([SIDE_COLORS[_bone_side(skeleton, *bone)] for bone in skeleton.bones])
    return _Body(
        np.array(skeleton.bones),
        np.array([skeleton.index(name) for name in _TRAILS if name in skeleton.joints], int),
        np.array([SIDE_COLORS[skeleton.side(j)] for j in range(len(skeleton))]),
        bone_colors,
        _pale(bone_colors),
    )


def _bone_side(skeleton: Skeleton, start: int, end: int) -> str:
    """The side of a bone: that of its ends; middle, where they lie on both sides or on none."""
    sides = {skeleton.side(start), skeleton.side(end)} - {"middle"}
    return sides.pop() if len(sides) == 1 else "middle"


@dataclass(frozen=True)
class Look:
    """Sizes in pixels, in proportion to the picture. All widths follow from that of a measured bone, `line`."""

    line: float
    text: float

    @classmethod
    def of(cls, width: int, height: int) -> Look:
        side = min(width, height)
        return cls(line=float(np.clip(side / 155, 1.7, 14)), text=float(np.clip(side / 46, 10, 42)))

    @property
    def thin_line(self) -> float:
        """Width of a bone that is not measured."""
        return 0.7 * self.line

    @property
    def dash(self) -> float:
        return 2.2 * self.line

    @property
    def dash_gap(self) -> float:
        return 1.8 * self.line

    @property
    def joint(self) -> float:
        """Diameter of a joint that is not measured."""
        return 1.3 * self.line

    @property
    def ringed_joint(self) -> float:
        """Diameter of a measured joint, without its ring."""
        return 1.9 * self.line

    @property
    def ghost_line(self) -> float:
        return 0.8 * self.line

    @property
    def trail_line(self) -> float:
        return max(0.4 * self.line, 1.2)

    @property
    def casing(self) -> Casing:
        return Casing(max(self.line / 4, 0.8), _INK, 0.45)

    @property
    def ring(self) -> Casing:
        return Casing(max(self.line * 0.36, 1.0), WHITE, 1.0)


def draw_motion(canvas: Canvas, motion: Motion, look: Look, *, ghost: bool = True) -> None:
    """Everybody in a Motion; with `ghost`, also the forecast of each person, underneath."""
    forecast = forecast_of(motion) if ghost else None
    if forecast is not None:
        _draw_ghosts(canvas, motion, forecast, look)
    for p in range(len(motion.ids)):
        _draw_skeleton(canvas, motion.poses[p], motion.scores[p], motion.origin[p], look, _body(motion.skeleton))
    if len(motion.ids) > 1:
        for p, person in enumerate(motion.ids):
            _draw_id(canvas, int(person), motion.poses[p][_shown(motion.poses[p], motion.scores[p])], look)


def _shown(pose: np.ndarray, scores: np.ndarray) -> np.ndarray:  # [J, 2], [J] -> [J] bool
    return np.asarray(np.isfinite(pose).all(1) & (scores >= MIN_SCORE))


def _draw_skeleton(
    canvas: Canvas,
    pose: np.ndarray,  # [J, 2]
    scores: np.ndarray,  # [J]
    origin: np.ndarray,  # [J]
    look: Look,
    body: _Body,
) -> None:
    bones = body.bones
    shown = _shown(pose, scores) & (origin != Origin.MISSING)
    ahead = np.isin(origin, _AHEAD)
    measured = origin == Origin.MEASURED
    drawn = shown[bones].all(1)
    dashed = drawn & ahead[bones].any(1)
    solid = drawn & ~dashed
    start, end = pose[bones[:, 0]], pose[bones[:, 1]]
    width = np.where(measured[bones].all(1), look.line, look.thin_line)

    first, last, bone = dashes(start[dashed], end[dashed], look.dash, look.dash_gap)
    canvas.strokes(
        np.concatenate([start[solid], first]),
        np.concatenate([end[solid], last]),
        np.concatenate([body.bone_colors[solid], body.bone_colors[dashed][bone]]),
        np.concatenate([width[solid], np.full(len(first), look.thin_line)]),
        casing=look.casing,
    )
    plain, ringed = shown & ~measured, shown & measured
    canvas.discs(pose[plain], body.joint_colors[plain], look.joint, casing=look.casing)
    canvas.discs(pose[ringed], body.joint_colors[ringed], look.ringed_joint, casing=look.ring)


def _draw_ghosts(canvas: Canvas, motion: Motion, forecast: Forecast, look: Look) -> None:
    """The ghosts, a translucent layer each: the last pose of the forecast, and trails that grow stronger towards it."""
    body = _body(motion.skeleton)
    bones = body.bones
    for p in range(len(motion.ids)):
        pose, scores = forecast.poses[p, -1], forecast.scores[p, -1]
        shown = _shown(pose, scores) & (forecast.origin[p, -1] != Origin.MISSING)
        drawn = shown[bones].all(1)
        trails = body.trails[shown[body.trails]]
        path = np.concatenate([motion.poses[p][None], forecast.poses[p]])[:, trails]  # [F + 1, J, 2]
        steps = len(path) - 1
        canvas.strokes(
            np.concatenate([pose[bones[drawn, 0]], path[:-1].reshape(-1, 2)]),
            np.concatenate([pose[bones[drawn, 1]], path[1:].reshape(-1, 2)]),
            np.concatenate([body.pale_bone_colors[drawn], np.tile(body.joint_colors[trails], (steps, 1))]),
            np.repeat([look.ghost_line, look.trail_line], [drawn.sum(), steps * len(trails)]),
            opacity=np.concatenate(
                [np.full(drawn.sum(), _GHOST_OPACITY), np.repeat(np.linspace(0.2, 0.8, steps), len(trails))]
            ),
        )


def _draw_id(canvas: Canvas, person: int, joints: np.ndarray, look: Look) -> None:  # joints: [J, 2]
    """The number of a person, above their head, in a small box."""
    if not len(joints):
        return
    (left, top), right = joints.min(0), joints[:, 0].max()
    text = str(person)
    width, height = text_width(text, look.text) + look.text / 2, line_height(look.text)
    x, y = (left + right) / 2, max(top - 1.2 * height, height / 2)
    canvas.box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, _INK, 0.6)
    canvas.text(x, y, text, look.text, WHITE, anchor="middle")


def draw_legend(canvas: Canvas, look: Look, ahead_s: float | None) -> None:
    """The meaning of the styles, in the top left corner, unless it would hide too much of the picture."""
    rows = ("measured", _BETWEEN, "forecast") + ((f"{ahead_s:.1f} s ahead",) if ahead_s else ())
    sticker = _legend(look, rows)
    height, width = sticker.clear.shape[:2]
    margin = round(0.7 * look.text)
    if width + margin <= canvas.width * 0.6 and height + margin <= canvas.height * 0.5:
        canvas.stick(sticker, margin, margin)


@lru_cache(maxsize=4)
def _legend(look: Look, rows: tuple[str, ...]) -> Sticker:
    pad, step, sample = look.text * 0.7, line_height(look.text) * 1.15, look.text * 2.6
    # The samples on the panel do not need the thick lines of a large picture.
    small = Look(min(look.line, 0.35 * look.text), look.text)

    def draw(panel: Canvas) -> None:
        panel.box(0, 0, panel.width, panel.height, _INK, 0.5)
        for number, row in enumerate(rows):
            y = pad * 0.8 + step * (number + 0.5)
            _draw_sample(panel, row, 1.2 * pad, 1.2 * pad + sample, y, small)
            panel.text(2.1 * pad + sample, y, row, look.text, WHITE)

    width = 3.1 * pad + sample + max(text_width(row, look.text) for row in rows)
    return Sticker.of(round(width), round(1.6 * pad + step * len(rows)), draw)


def _draw_sample(canvas: Canvas, kind: str, x0: float, x1: float, y: float, look: Look) -> None:
    start, end = np.array([[x0, y]]), np.array([[x1, y]])
    color = SIDE_COLORS["left"]
    ends = np.concatenate([start, end])
    if kind == "measured":
        canvas.strokes(start, end, color, look.line)
        canvas.discs(ends, color, look.ringed_joint, casing=look.ring)
    elif kind == _BETWEEN:
        canvas.strokes(start, end, color, look.thin_line)
        canvas.discs(ends, color, look.joint)
    elif kind == "forecast":
        first, last, _ = dashes(start, end, look.dash, look.dash_gap)
        canvas.strokes(first, last, color, look.thin_line)
    else:
        pale = _pale(np.array(SIDE_COLORS["left"]))
        canvas.strokes(start, end, pale, look.ghost_line, opacity=_GHOST_OPACITY)


def draw_status(canvas: Canvas, look: Look, motion: Motion, frames: int, calls: int) -> None:
    """One line at the bottom: the frame's time, a mark on keyframes, and the number of estimator calls."""
    parts = [f"{motion.time_s:.3f} s", f"frame {motion.index}"]
    parts.append(f"{calls} estimator call{'s' * (calls != 1)} for {frames} frame{'s' * (frames != 1)}")
    if len(motion.ids) > 1:
        parts.append("people " + ", ".join(map(str, motion.ids)))
    text = "  ·  ".join(parts)
    mark = "keyframe"
    pad, dot = look.text * 0.7, look.text * 0.55
    height, mark_width = line_height(look.text) * 1.3, text_width(mark, look.text)
    width = 3.2 * pad + dot + mark_width + text_width(text, look.text)
    if width + 2 * pad > canvas.width:
        mark, mark_width, text = "", 0, parts[0]
        width = 3.2 * pad + dot + text_width(text, look.text)
    if width + 2 * pad > canvas.width or 4 * height > canvas.height:
        return
    middle = canvas.height - pad - height / 2
    canvas.box(pad, middle - height / 2, pad + width, middle + height / 2, _INK, 0.5)
    color = WHITE if motion.keyframe else _DIM
    canvas.discs(np.array([[1.7 * pad + dot / 2, middle]]), color, dot)
    canvas.text(1.7 * pad + 1.6 * dot, middle, mark, look.text, color)
    canvas.text(2.6 * pad + 1.6 * dot + mark_width, middle, text, look.text, WHITE)
