"""Small data sets in the exact folders, keys and shapes of the published ones, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# fmt: off
# Joints of a pose that looks like a person, by data set: J14 for AIST++, 17 with the left side first for 3DPW and
# Human3.6M. Metres, y down, as estimators give them.
_J14 = [(-0.1, 0.86, 0), (-0.1, 0.44, 0), (-0.1, 0, 0), (0.1, 0, 0), (0.1, 0.44, 0), (0.1, 0.86, 0), (-0.3, 0.05, 0),
        (-0.25, -0.2, 0), (-0.18, -0.48, 0), (0.18, -0.48, 0), (0.25, -0.2, 0), (0.3, 0.05, 0), (0, -0.52, 0),
        (0, -0.78, 0)]
_H17 = [(0, 0, 0), (0.1, 0, 0), (0.1, 0.44, 0), (0.1, 0.86, 0), (-0.1, 0, 0), (-0.1, 0.44, 0), (-0.1, 0.86, 0),
        (0, -0.25, 0), (0, -0.5, 0), (0, -0.6, 0), (0, -0.75, 0), (0.18, -0.48, 0), (0.25, -0.2, 0), (0.3, 0.05, 0),
        (-0.18, -0.48, 0), (-0.25, -0.2, 0), (-0.3, 0.05, 0)]
SETS = {"jhmdb": ("jhmdb", "simplepose"), "h36m": ("h36m", "fcn"), "3dpw-spin": ("pw3d", "spin"),
        "3dpw-eft": ("pw3d", "eft"), "3dpw-pare": ("pw3d", "pare"), "3dpw-smpl-pare": ("pw3d", "pare"),
        "aist": ("aist", "spin"), "aist-smpl": ("aist", "spin")}
# fmt: on


def objects(parts: list[np.ndarray]) -> np.ndarray:
    """An array of arrays, as the published files hold sequences of different lengths."""
    array = np.empty(len(parts), object)
    array[:] = parts
    return array


def sequence(preset: str, frames: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One sequence: slow waves around a standing pose, all keys of the truth file."""
    time = np.arange(frames)[:, None]
    place, _ = SETS[preset]
    content = {"imgname": np.array([f"{place}_{rng.integers(100)}/image_{n:05d}.jpg" for n in range(frames)])}
    count = {"jhmdb": 15, "aist": 14}.get(place, 17)
    wave = np.sin(time * rng.uniform(0.05, 0.15) + rng.uniform(0, 6, count * 3))
    if place == "jhmdb":
        rest = rng.uniform([100, 60], [220, 180], (15, 2)).ravel()
        content["joints_2d"] = rest + 8 * wave[:, :30]
        content["imgshape"] = np.array([240, 320, 3])
        content["bbox"] = np.tile([90, 50, 230, 190], (frames, 1))
        return content
    content["joints_3d"] = np.array(_J14 if place == "aist" else _H17).ravel() + 0.1 * wave + rng.uniform(-1, 1)
    content["pose"] = 0.3 * np.sin(time * 0.1 + rng.uniform(0, 6, 72)) + np.pi * (np.arange(72) == 0)
    content["shape"] = np.zeros((frames, 10))
    return content


def write_folder(folder: Path, preset: str, lengths: tuple[int, ...] = (130, 150, 40), seed: int = 0) -> Path:
    """Both splits of truth and estimates: the estimate is the truth with noise."""
    rng = np.random.default_rng(seed)
    place, estimator = SETS[preset]
    for split in ("train", "test"):
        truth = [sequence(preset, frames, rng) for frames in lengths]
        detected = []
        for one in truth:
            noisy = {key: value for key, value in one.items() if key not in ("bbox", "imgshape")}
            for key, size in (("joints_2d", 2.0), ("joints_3d", 0.02), ("pose", 0.03)):
                if key in noisy:
                    noisy[key] = noisy[key] + size * rng.normal(size=noisy[key].shape)
            detected.append(noisy)
        for sequences, path in (
            (truth, folder / "groundtruth_poses" / place / f"{place}_gt_{split}.npz"),
            (detected, folder / "detected_poses" / place / estimator / f"{place}_{estimator}_{split}.npz"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = {key: objects([one[key] for one in sequences]) for key in sequences[0]}
            np.savez(path, **columns)  # type: ignore[arg-type]
    return folder


def write_expmaps(folder: Path, frames: int = 120, seed: int = 0) -> Path:
    """`h3.6m/dataset/S*/*.txt`: every subject, two files each, slow waves of all rotations."""
    rng = np.random.default_rng(seed)
    for subject in (1, 5, 6, 7, 8, 9, 11):
        for action in ("walking_1", "eating_2"):
            numbers = 0.4 * np.sin(0.06 * np.arange(frames)[:, None] + rng.uniform(0, 6, 99))
            numbers[:, :3] *= 1000
            path = folder / "h3.6m" / "dataset" / f"S{subject}" / f"{action}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, numbers, fmt="%.7f", delimiter=",")
    return folder
