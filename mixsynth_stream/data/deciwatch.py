"""DeciWatch folders (SmoothNet's too): an estimator's poses beside the ground truth, sequence by sequence.

    FOLDER/groundtruth_poses/SET/SET_gt_SPLIT.npz
    FOLDER/detected_poses/SET/ESTIMATOR/SET_ESTIMATOR_SPLIT.npz        SPLIT: train or test

Keys: imgname (names of the frames, sequence by sequence), joints_2d (pixels), joints_3d (metres), pose (SMPL, 72
axis-angle numbers), shape; Sub-JHMDB also imgshape (height, width) and bbox (left, top, right, bottom) in the truth.
Each is an array of sequences, of [frames, numbers]. 3DPW has 17 joints, the left side first, of which 14 are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np

from mixsynth_stream.data.object_arrays import load_arrays, pieces
from mixsynth_stream.data.sequences import guessed_units
from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import axis_angle_to_6d, geodesic_error, matrix_from_6d

SPLITS = ("train", "test")
# The 14 joints of J14 among the 17 of the 3DPW files (pelvis, left leg, right leg, spine, neck, head, top of the head,
# left arm, right arm).
J14_FROM_PW3D = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
# Poses with a larger median error, relative to the size of a person, are no estimates of this truth.
_FAR_OFF = 0.8
# Shares of the frame that people fill.
_SMALLEST_PERSON, _LARGEST_PERSON = 0.02, 5.0
# A longer axis-angle vector is not in radians.
_LARGEST_ANGLE = 4 * np.pi
# Estimates are in reverse if reading them backwards takes their error below this share. For people who stand still the
# error changes by a few hundredths only. So many frames of a sequence are compared.
_NEARER, _FRAMES_COMPARED = 0.8, 50
# Outside these heights a sequence is in another unit than the rest of its file, however poor its estimates are.
_SHORTEST_M, _TALLEST_M = 0.6, 4.0
_J14_ROOT, _J14_LEG, _H36M_LEG = (2, 3), (2, 1, 0), (4, 5, 6)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One data set: its folder, its estimator, what a pose is, and how many joints the files hold."""

    folder: str
    estimator: str
    kind: str  # "2d", "3d" or "smpl"
    joints: int
    # The joints to keep, in this order; empty: all of them.
    selection: tuple[int, ...] = ()
    # Joints whose middle is the origin of every frame, and those of a leg, numbered after the selection.
    root: tuple[int, ...] = ()
    leg: tuple[int, int, int] = (0, 0, 0)

    @property
    def key(self) -> str:
        """The array of the files that holds the poses."""
        return {"2d": "joints_2d", "3d": "joints_3d", "smpl": "pose"}[self.kind]


def _pw3d(estimator: str) -> Layout:
    return Layout(
        folder="pw3d",
        estimator=estimator,
        kind="3d",
        joints=17,
        selection=J14_FROM_PW3D,
        root=_J14_ROOT,
        leg=_J14_LEG,
    )


LAYOUTS = {
    "jhmdb": Layout(folder="jhmdb", estimator="simplepose", kind="2d", joints=15),
    "h36m": Layout(folder="h36m", estimator="fcn", kind="3d", joints=17, root=(0,), leg=_H36M_LEG),
    "3dpw-spin": _pw3d("spin"),
    "3dpw-eft": _pw3d("eft"),
    "3dpw-pare": _pw3d("pare"),
    "3dpw-smpl-pare": Layout(folder="pw3d", estimator="pare", kind="smpl", joints=24),
    "aist": Layout(folder="aist", estimator="spin", kind="3d", joints=14, root=_J14_ROOT, leg=_J14_LEG),
    "aist-smpl": Layout(folder="aist", estimator="spin", kind="smpl", joints=24),
}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One sequence as the network sees it: fractions of the frame (2d), metres from the root (3d), or 6D rotations."""

    name: str
    estimates: np.ndarray  # [T, J, axes]
    truth: np.ndarray  # [T, J, axes]
    # 2d: the larger side of the person's box, and the frame's width and height, in pixels.
    size_px: np.ndarray | None = None  # [T]
    frame_px: np.ndarray | None = None  # [2]


def load_pairs(folder: str | Path, preset: str, split: str) -> list[Pair]:
    """All sequences of one split. `SourceError` says which file, key and sequence do not fit."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, found {split!r}")
    layout = LAYOUTS[preset]
    truth_path, detected_path = _paths(folder, layout, split)
    extra = ("imgshape", "bbox") if layout.kind == "2d" else ()
    truth = _columns(truth_path, ("imgname", layout.key, *extra))
    detected = _columns(detected_path, ("imgname", layout.key))
    if len(truth["imgname"]) != len(detected["imgname"]):
        raise SourceError(
            f"{detected_path} has {len(detected['imgname'])} sequences, {truth_path} has "
            f"{len(truth['imgname'])}; they must be of the same download"
        )
    pairs = []
    for number, names in enumerate(truth["imgname"]):
        sequence, count = f"sequence {number}", len(names)
        if count < 2:
            raise SourceError(f"{truth_path}: {sequence} has {count} frames; motion takes two at least, leave it out")
        frame_px = _frame_size(truth_path, sequence, truth["imgshape"][number]) if layout.kind == "2d" else None
        size_px = _box_size(truth_path, sequence, truth["bbox"][number], count) if layout.kind == "2d" else None
        name = str(names.reshape(-1)[0]).rpartition("/")[0] or sequence
        true_poses = _network_poses(truth_path, sequence, truth[layout.key][number], count, layout, frame_px)
        estimates = _network_poses(detected_path, sequence, detected[layout.key][number], count, layout, frame_px)
        pairs.append(Pair(name=name, truth=true_poses, estimates=estimates, size_px=size_px, frame_px=frame_px))
    if not pairs:
        raise SourceError(f"{truth_path} holds no sequences")
    if layout.kind == "3d":
        _check_metres(truth_path, [pair.truth for pair in pairs], layout)
        _check_metres(detected_path, [pair.estimates for pair in pairs], layout)
    if layout.kind == "2d":
        _check_pixels(truth_path, [pair.truth for pair in pairs])
        _check_pixels(detected_path, [pair.estimates for pair in pairs])
    if layout.kind != "smpl":
        _check_axes(detected_path, pairs)
    _check_time(detected_path, pairs, layout)
    return pairs


def load_shapes(folder: str | Path, preset: str, split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """SMPL shapes (betas) [T, S] of truth and estimate, for every sequence; zeros where a file has none (AIST++)."""
    file_shapes = []
    for path in _paths(folder, LAYOUTS[preset], split):
        columns = _columns(path, ("imgname",), ("shape",))
        lengths = [len(names) for names in columns["imgname"]]
        if "shape" not in columns:
            file_shapes.append([np.zeros((length, 1)) for length in lengths])
            continue
        shapes = [np.atleast_2d(shape).astype(np.float64) for shape in columns["shape"]]
        for number, (shape, length) in enumerate(zip(shapes, lengths, strict=True)):
            if shape.ndim != 2 or len(shape) not in (1, length) or not np.isfinite(shape).all():
                raise SourceError(
                    f"{path}: shape of sequence {number} is {list(shape.shape)}, expected finite numbers "
                    f"for {length} frames, or for all of them"
                )
        file_shapes.append([np.broadcast_to(s, (n, s.shape[1])) for s, n in zip(shapes, lengths, strict=True)])
    return list(zip(*file_shapes, strict=True))


def _paths(folder: str | Path, layout: Layout, split: str) -> tuple[Path, Path]:
    """The files of truth and of estimates."""
    truth, detected = Path(folder, "groundtruth_poses"), Path(folder, "detected_poses")
    paths = (
        truth / layout.folder / f"{layout.folder}_gt_{split}.npz",
        detected / layout.folder / layout.estimator / f"{layout.folder}_{layout.estimator}_{split}.npz",
    )
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise SourceError(
            f"there is no file {missing}; give the folder that holds groundtruth_poses and "
            "detected_poses (docs/data.md has the files of every preset)"
        )
    return paths


def _columns(path: Path, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, list[np.ndarray]]:
    """By key, an array a sequence: the names of its frames for `imgname`, numbers for the other keys."""
    arrays = load_arrays(path, keys, optional)
    columns = {key: list(pieces(path, key, np.atleast_1d(array))) for key, array in arrays.items()}
    for key, column in columns.items():
        for number, piece in enumerate(column):
            if piece.ndim == 0:
                raise SourceError(
                    f"{path}: {key} of sequence {number} is {piece.item()!r}, expected an array; the "
                    "first axis counts sequences, so that a single one is an array of one"
                )
            if key != "imgname" and piece.dtype.kind in "US":
                text = repr(piece.reshape(-1)[0].item()) if piece.size else "none"
                raise SourceError(
                    f"{path}: {key} of sequence {number} holds text ({text}), expected numbers; store "
                    "them as an array of floats"
                )
        if len(column) != len(columns["imgname"]):
            raise SourceError(f"{path} names {len(columns['imgname'])} sequences and has {key} of {len(column)}")
    return columns


def _network_poses(
    path: Path, sequence: str, values: np.ndarray, count: int, layout: Layout, frame_px: np.ndarray | None
) -> np.ndarray:  # [T, J, axes] float32
    axes = 2 if layout.kind == "2d" else 3
    if len(values) != count or values.size != count * layout.joints * axes:
        raise SourceError(
            f"{path}: {layout.key} of {sequence} is {list(values.shape)}, expected {count} frames of "
            f"{layout.joints} joints x {axes}"
        )
    poses = values.astype(np.float64).reshape(count, layout.joints, axes)
    bad = ~np.isfinite(poses).all(axis=(1, 2))
    if bad.any():
        raise SourceError(
            f"{path}: {layout.key} of {sequence} holds NaN or infinite numbers in {bad.sum()} of {count} "
            "frames; leave the sequence out or cut it"
        )
    if layout.kind == "smpl":
        largest = float(np.abs(poses).max())
        if largest > _LARGEST_ANGLE:
            raise SourceError(
                f"{path}: {layout.key} of {sequence} holds rotations of up to {largest:.3g}, expected "
                "radians; are these degrees?"
            )
        return axis_angle_to_6d(poses).astype(np.float32)
    if frame_px is not None:
        return (poses / frame_px).astype(np.float32)
    poses = poses[:, list(layout.selection)] if layout.selection else poses
    return (poses - poses[:, list(layout.root)].mean(axis=1, keepdims=True)).astype(np.float32)


def _frame_size(
    path: Path, sequence: str, shape: np.ndarray
) -> np.ndarray:  # [height, width, ...] -> [2] width, height
    size = shape.reshape(-1)[:2].astype(float)
    if len(size) < 2 or not (np.isfinite(size) & (size > 0)).all():
        raise SourceError(
            f"{path}: imgshape of {sequence} is {shape.reshape(-1)[:3].tolist()}, expected the height and "
            "width of its frames in pixels"
        )
    return size[::-1]


def _box_size(path: Path, sequence: str, box: np.ndarray, count: int) -> np.ndarray:  # [T, 4] -> [T]
    if box.shape != (count, 4):
        raise SourceError(f"{path}: bbox of {sequence} is {list(box.shape)}, expected {count} frames of 4 numbers")
    box = box.astype(float)
    known = np.isfinite(box).all(axis=1)
    # A box that is not known has no size and is refused below.
    corners = np.where(known[:, None], box, 0.0)
    sides = corners[:, 2:] - corners[:, :2]
    bad = (sides.min(axis=1) < 0) | (sides.max(axis=1) <= 0)
    if bad.any():
        first = int(np.argmax(bad))
        raise SourceError(
            f"{path}: bbox of {sequence} is no box in {bad.sum()} of {count} frames, first in frame {first} "
            f"({', '.join(f'{number:g}' for number in box[first])}); expected left, top, right, bottom "
            "in pixels: leave the sequence out or cut it"
        )
    return np.asarray(sides.max(axis=1))


def _check_metres(path: Path, sequences: list[np.ndarray], layout: Layout) -> None:  # [T, J, 3] each
    hip, knee, ankle = layout.leg
    legs = [
        np.median(np.linalg.norm(poses[:, hip] - poses[:, knee], axis=-1))
        + np.median(np.linalg.norm(poses[:, knee] - poses[:, ankle], axis=-1))
        for poses in sequences
    ]
    # A leg from hip to ankle is 0.46 of a person's height.
    heights = np.array(legs) / 0.46
    where, height = "", float(np.median(heights))
    other = np.flatnonzero((heights < _SHORTEST_M) | (heights > _TALLEST_M))
    if 0 < len(other) < len(heights):
        where, height = f"in sequence {other[0]} ", float(heights[other[0]])
    if where or not 1.0 <= height <= 2.6:
        guesses = guessed_units(height)
        hint = f"; it looks like {guesses[0]}" if guesses else "; joints in another order?"
        raise SourceError(f"{path}: {where}people would be {height:.3g} m tall{hint}; these files hold metres")


def _check_pixels(path: Path, sequences: list[np.ndarray]) -> None:  # [T, J, 2] each, as fractions of the frame
    spread = float(np.median([np.median(np.ptp(poses, axis=1).max(axis=-1)) for poses in sequences]))
    if not _SMALLEST_PERSON <= spread <= _LARGEST_PERSON:
        hint = "; it looks like fractions of the frame" if spread < _SMALLEST_PERSON else ""
        raise SourceError(f"{path}: people would fill {spread:.2g} of the frame{hint}; these files hold pixels")


def _check_axes(path: Path, pairs: list[Pair]) -> None:
    """Estimates must be near the truth. If not, the error names an order of the axes that would bring them near."""
    estimates, truth = (
        np.concatenate([getattr(pair, name) * (1 if pair.frame_px is None else pair.frame_px) for pair in pairs])
        for name in ("estimates", "truth")
    )
    middle = truth.mean(axis=1, keepdims=True)
    size = float(np.median(np.linalg.norm(truth - middle, axis=-1)))

    def error(order: tuple[int, ...], signs: tuple[int, ...]) -> float:
        return float(np.median(np.linalg.norm(estimates[..., order] * signs - truth, axis=-1))) / size

    axes = truth.shape[-1]
    current = error(tuple(range(axes)), (1,) * axes)
    if current <= _FAR_OFF:
        return
    orders = [(order, signs) for order in permutations(range(axes)) for signs in product((1, -1), repeat=axes)]
    errors = [error(*turn) for turn in orders]
    best = int(np.argmin(errors))
    names = ", ".join(("" if sign > 0 else "-") + "xyz"[axis] for axis, sign in zip(*orders[best], strict=True))
    hint = f"its axes look like {names}" if errors[best] <= _FAR_OFF else "are the sequences in another order?"
    raise SourceError(f"{path}: estimates are off by {current:.2g} times the size of a person; {hint}")


def _check_time(path: Path, pairs: list[Pair], layout: Layout) -> None:
    """Estimates must not be nearer to the truth when they are read backwards."""
    forward, backward = [], []  # errors of both ways to read them
    for pair in pairs:
        frames = np.unique(np.linspace(0, len(pair.truth) - 1, _FRAMES_COMPARED).astype(int))
        truth = pair.truth[frames]
        forward.append(_joint_distances(pair.estimates[frames], truth, layout).ravel())
        backward.append(_joint_distances(pair.estimates[::-1][frames], truth, layout).ravel())
    forward_error, backward_error = (float(np.median(np.concatenate(parts))) for parts in (forward, backward))
    if backward_error < _NEARER * forward_error:
        share = round(100 * backward_error / forward_error)
        raise SourceError(
            f"{path}: read backwards, estimates are off by {share} % of what they are off by forwards; "
            "their frames are in reverse, turn them round"
        )


def _joint_distances(a: np.ndarray, b: np.ndarray, layout: Layout) -> np.ndarray:  # both [T, J, axes] -> [T, J]
    if layout.kind == "smpl":
        return geodesic_error(matrix_from_6d(a), matrix_from_6d(b))
    return np.asarray(np.linalg.norm(a - b, axis=-1))
