"""Clips that try an eye: people with the truth of their joints, shrunk, boxed, looped, made to cross, or not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from mixsynth_stream.data.camera_truth import LIMB_MARKERS, limbs_in_picture, read_camera
from mixsynth_stream.data.trc import read_trc

YARD = (1080, 1920)
KEYFRAMES_OF_SMALL = 20
KEYFRAMES_OF_CROSSING = 24
# The limbs of a standing person, from the shoulders to the ankles, are so much of the whole height.
LIMBS_OF_HEIGHT = 0.82
JOINTS = list(LIMB_MARKERS.values())
SIDES = ("left", "right")
_OTHER = {"left": "right", "right": "left"}
MIRROR = [JOINTS.index("_".join([_OTHER[side], joint])) for side, joint in (name.split("_") for name in JOINTS)]
# Half widths of limbs that hold flesh and clothes, in heights of the limbs in the picture.
_LIMBS = {("shoulder", "elbow"): 0.05, ("elbow", "wrist"): 0.045, ("hip", "knee"): 0.07, ("knee", "ankle"): 0.05}
_TRUNK = 0.1
# The head ends so far above the shoulders, in torsos.
_HEAD = 0.55
_FLOOR_Y = 1000
# Two who cross are so high, in shares of the picture, and walk between these places.
_CROSSING_HEIGHT, _CROSSING_X = 0.55, (500, 1450)


@dataclass
class Clip:
    """Pictures [H, W, 3] with the truth of each, if there is one: [F, 12, 2] pixels."""

    times_s: list[float]
    pictures: list[np.ndarray]
    truth: np.ndarray | None = None

    @property
    def rate_hz(self) -> float:
        return (len(self.times_s) - 1) / (self.times_s[-1] - self.times_s[0])

    @property
    def torso_px(self) -> float:
        return float(torso_of(self.truth).mean())


def torso_of(truth: np.ndarray) -> np.ndarray:  # [..., 12, 2] -> [...]
    """The length of the torso in each frame, in pixels."""
    shoulders, hips = (_middle(truth, joint) for joint in ("shoulder", "hip"))
    return np.linalg.norm(shoulders - hips, axis=-1)


def _middle(truth: np.ndarray, joint: str) -> np.ndarray:  # [..., 12, 2] -> [..., 2]
    return truth[..., [JOINTS.index(f"{side}_{joint}") for side in SIDES], :].mean(axis=-2)


def read_clip(videos: Path, truth: Path, camera: str) -> Clip:
    """One view of the person with the triangulated truth in its pixels."""
    clip = read_pictures(videos / f"{camera}.mp4")
    calibrated = read_camera(truth / "calibration_qualisys.toml", camera.replace("cam", "cam_"))
    limbs = limbs_in_picture(read_trc(truth / "single_raw.trc"), calibrated)
    frames = min(len(clip.pictures), len(limbs))
    return Clip(clip.times_s[:frames], clip.pictures[:frames], limbs[:frames])


def read_pictures(path: Path) -> Clip:
    """A clip without truth."""
    with av.open(str(path)) as container:
        frames = [(frame.time or 0.0, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return Clip([time_s for time_s, _ in frames], [np.ascontiguousarray(rgb) for _, rgb in frames])


def resized(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray(format="rgb24")


def empty_view(clip: Clip) -> np.ndarray:
    """The median of a clip whose camera stands still: everybody who moves is gone."""
    step = max(1, len(clip.pictures) // 40)
    return np.median(clip.pictures[::step], axis=0).astype(np.uint8)


def looped(clip: Clip, frames: int) -> Clip:
    """So many frames, forwards and backwards."""
    rows = _there_and_back(clip)
    rows = [rows[k % len(rows)] for k in range(frames)]
    truth = None if clip.truth is None else clip.truth[rows]
    return Clip([k / clip.rate_hz for k in range(frames)], [clip.pictures[row] for row in rows], truth)


def _there_and_back(clip: Clip) -> list[int]:
    return [*range(len(clip.pictures)), *range(len(clip.pictures) - 2, 0, -1)]


def boxed(clip: Clip) -> Clip:
    """An upright clip between black bars in a picture that lies."""
    scale = YARD[0] / clip.pictures[0].shape[0]
    width = round(clip.pictures[0].shape[1] * scale)
    x = (YARD[1] - width) // 2
    pictures = [np.zeros((*YARD, 3), np.uint8) for _ in clip.pictures]
    for picture, inner in zip(pictures, clip.pictures, strict=True):
        picture[:, x : x + width] = resized(inner, YARD[0], width)
    return Clip(clip.times_s, pictures, None if clip.truth is None else clip.truth * scale + [x, 0])


def cut_off(clip: Clip, side: str) -> Clip:
    """The `side` ("left", "right", "upper", "lower") part of the picture, from the middle of the person on."""
    x, y = (round(at) for at in clip.truth.mean(axis=(0, 1)))
    height, width = clip.pictures[0].shape[:2]
    left, right = {"left": (0, x), "right": (x, width)}.get(side, (0, width))
    top, bottom = {"upper": (0, y), "lower": (y, height)}.get(side, (0, height))
    pictures = [np.ascontiguousarray(picture[top:bottom, left:right]) for picture in clip.pictures]
    return Clip(clip.times_s, pictures, clip.truth - [left, top])


def mirrored(clip: Clip) -> Clip:
    """Left is right."""
    width = clip.pictures[0].shape[1]
    pictures = [np.ascontiguousarray(picture[:, ::-1]) for picture in clip.pictures]
    return Clip(clip.times_s, pictures, clip.truth[:, MIRROR] * [-1, 1] + [width - 1, 0])


def shrunk(clip: Clip, yard: np.ndarray, part: float, frames_a_keyframe: int) -> Clip:
    """The person at `part` of the yard's height, on its grass, forwards and backwards, a picture a keyframe."""
    limbs_px = np.median(np.ptp(clip.truth[..., 1], axis=1))
    scale = part * YARD[0] * LIMBS_OF_HEIGHT / limbs_px
    height, width = (round(side * scale) for side in clip.pictures[0].shape[:2])
    x, y = 900, YARD[0] - height - 60
    there_and_back = _there_and_back(clip)
    rows = [there_and_back[k * frames_a_keyframe % len(there_and_back)] for k in range(KEYFRAMES_OF_SMALL)]
    pictures = []
    for row in rows:
        picture = yard.copy()
        picture[y : y + height, x : x + width] = resized(clip.pictures[row], height, width)
        pictures.append(picture)
    return Clip([k / 3 for k in range(len(rows))], pictures, clip.truth[rows] * scale + [x, y])


def crossing(front: Clip, back: Clip, yard: np.ndarray, frames_a_keyframe: int) -> tuple[Clip, np.ndarray]:
    """Two cut-out people who walk past each other, a picture a keyframe: `front` to the right, `back` mirrored.

    The clip's truth is that of the one in front; also returned: the truth of the other, [F, 12, 2] pixels.
    """
    pictures, truths = [], []
    for k in range(KEYFRAMES_OF_CROSSING):
        at = k / (KEYFRAMES_OF_CROSSING - 1)
        picture = yard.copy()
        start, end = _CROSSING_X
        # The other is not at the same phase of the motion.
        behind = _pasted(picture, back, k * frames_a_keyframe + 37, end + (start - end) * at, is_mirrored=True)
        ahead = _pasted(picture, front, k * frames_a_keyframe, start + (end - start) * at, is_mirrored=False)
        pictures.append(picture)
        truths.append((ahead, behind))
    ahead, behind = (np.array(truth) for truth in zip(*truths, strict=True))
    return Clip([k / 3 for k in range(len(pictures))], pictures, ahead), behind


def _pasted(picture: np.ndarray, clip: Clip, frame: int, x: float, *, is_mirrored: bool) -> np.ndarray:
    """Paste the person of a frame with their hips at x, and return their joints [12, 2]."""
    rows = _there_and_back(clip)
    row = rows[frame % len(rows)]
    heights = np.ptp(clip.truth[..., 1], axis=1) / LIMBS_OF_HEIGHT
    scale = _CROSSING_HEIGHT * picture.shape[0] / np.median(heights)
    joints = clip.truth[row] * scale
    height, width = (round(side * scale) for side in clip.pictures[row].shape[:2])
    person = resized(clip.pictures[row], height, width)
    is_body = _body(joints, (height, width))
    if is_mirrored:
        person, is_body = person[:, ::-1], is_body[:, ::-1]
        joints = joints[MIRROR] * [-1, 1] + [width - 1, 0]
    left, top = round(x - _middle(joints, "hip")[0]), round(_FLOOR_Y - joints[:, 1].max())
    rows_in = slice(max(0, top), min(picture.shape[0], top + height))
    columns_in = slice(max(0, left), min(picture.shape[1], left + width))
    inside = slice(rows_in.start - top, rows_in.stop - top), slice(columns_in.start - left, columns_in.stop - left)
    picture[rows_in, columns_in][is_body[inside]] = person[inside][is_body[inside]]
    return joints + np.array([left, top])


def _body(joints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which pixels [H, W] belong to limbs, trunk and head."""
    at = {name: joints[k] for k, name in enumerate(JOINTS)}
    unit = float(np.ptp(joints[:, 1]))
    bones = [(at[f"{side}_{a}"], at[f"{side}_{b}"], half) for side in SIDES for (a, b), half in _LIMBS.items()]
    shoulders, hips = ([at[f"{side}_{joint}"] for side in SIDES] for joint in ("shoulder", "hip"))
    bones += [(shoulder, hip, _TRUNK) for shoulder in shoulders for hip in hips]
    neck, root = _middle(joints, "shoulder"), _middle(joints, "hip")
    bones.append((neck, neck + (neck - root) * _HEAD, _TRUNK))
    return np.any([_is_along(size, start, end, half * unit) for start, end, half in bones], axis=0)


def _is_along(size: tuple[int, int], start: np.ndarray, end: np.ndarray, reach: float) -> np.ndarray:
    """Which pixels lie within `reach` of a line from start to end."""
    y, x = np.mgrid[: size[0], : size[1]]
    along = end - start
    share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max((along**2).sum(), 1e-6), 0, 1)
    return np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1]) < reach
