"""Check the files of `mixsynth-stream demo`: python scripts/check_demo.py DIR. A mistake ends with a sentence, code 1.

It reads the files as their users would and compares them with the bundled clip; it does not trust the summary.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import av
import numpy as np

from mixsynth_stream.files import ASSETS
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline import MediaPipeEstimator
from mixsynth_stream.spaces import SPACES

CLIP = ASSETS / "demo.mp4"
# The man is in every frame of the clip; MediaPipe may need a moment.
MIN_SHARE_WITH_PERSON = 0.95
MIN_CHANGED_NEAR = 3.0
MAX_OFF = 0.25  # torso lengths, median over frames; about 0.1 is usual in the gaps


def main(folder: Path) -> None:
    times_s, clip = read_video(Path(str(CLIP)))
    frames = check_poses(folder / "poses.jsonl", times_s)
    check_overlay(folder / "overlay.mp4", times_s, clip, frames)
    check_on_person(folder / "poses.jsonl", clip, frames)
    check_arrays(folder / "poses.npz", frames)
    check_csv(folder / "poses.csv", frames)
    check_plot(folder / "plot.png")
    print(f"{folder} holds a whole demo: {len(frames)} frames, overlay, poses in three formats, plot")


def read_video(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times, and every frame as [H, W, 3] uint8."""
    with av.open(str(path)) as container:
        pairs = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return [time_s for time_s, _ in pairs], [rgb for _, rgb in pairs]


def check_poses(path: Path, times_s: list[float]) -> list[dict]:
    """Every frame once, in order, at its own time; a person in almost all frames; few of them keyframes."""
    header, *frames = [json.loads(line) for line in path.read_text().splitlines()]
    require(header["skeleton"] == "BlazePose-33", f"{path}: header {header}")
    require([f["index"] for f in frames] == list(range(len(times_s))), f"{path}: not the clip's {len(times_s)} frames")
    worst = max(abs(f["time_s"] - t) for f, t in zip(frames, times_s, strict=True))
    require(worst < 1e-3, f"{path}: a time is off by {worst} s")
    share = np.mean([bool(f["people"]) for f in frames])
    require(share >= MIN_SHARE_WITH_PERSON, f"{path}: people in {share:.0%} of the frames only")
    keyframes = sum(f["keyframe"] for f in frames)
    require(keyframes < len(frames) / 8, f"{path}: {keyframes} keyframes in {len(frames)} frames")
    return frames


def check_overlay(path: Path, times_s: list[float], clip: list[np.ndarray], frames: list[dict]) -> None:
    """As many frames at the same times, the same size, and something drawn along the limbs in each."""
    overlay_s, overlay = read_video(path)
    require(len(overlay) == len(clip), f"{path}: {len(overlay)} frames, the clip has {len(clip)}")
    require(np.allclose(overlay_s, times_s, atol=2e-3), f"{path}: other times than the clip's")
    require(overlay[0].shape == clip[0].shape, f"{path}: size {overlay[0].shape}, the clip's is {clip[0].shape}")
    for number, (before, after) in enumerate(zip(clip, overlay, strict=True)):
        for person in frames[number]["people"]:
            pose = np.array(person["pose_px"], float)
            knees = (pose[[23, 24]] + pose[[25, 26]]) / 2  # halfway down the thighs: a bone runs there
            x, y = np.clip(np.round(knees).astype(int), 2, np.array(before.shape[1::-1]) - 3).T
            changed = np.abs(after[y, x].astype(int) - before[y, x]).mean()
            require(changed > MIN_CHANGED_NEAR, f"{path}: nothing is drawn on the thighs in frame {number}")


def check_on_person(path: Path, clip: list[np.ndarray], frames: list[dict]) -> None:
    """A fresh estimator has to see the person in the same place, in frames between keyframes."""
    core = SPACES["image"].core
    errors = []
    with MediaPipeEstimator("full-official", mode="image") as estimator:
        for frame in [f for f in frames if not f["keyframe"]][7::17]:
            people = estimator(clip[frame["index"]], frame["time_s"])
            if people and frame["people"]:
                pose = np.array(frame["people"][0]["pose_px"], float)[core]
                distance = np.linalg.norm(pose - people[0].pose[core], axis=1).mean()
                errors.append(distance / scale_of(people[0].pose[core]))
    require(len(errors) >= 5, f"{path}: a fresh estimator found somebody in {len(errors)} frames only")
    require(np.median(errors) < MAX_OFF, f"{path}: poses lie {np.median(errors):.2f} torso lengths off the person")


def check_arrays(path: Path, frames: list[dict]) -> None:
    """A time for every frame, in arrays that can all be read."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    require(len(arrays["time_s"]) == len(frames), f"{path}: {len(arrays['time_s'])} frames")


def check_csv(path: Path, frames: list[dict]) -> None:
    """A row for every joint of every pose."""
    with path.open(newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    people = sum(len(f["people"]) for f in frames)
    require(rows >= 33 * people, f"{path}: {rows} rows for {people} poses of 33 joints")


def check_plot(path: Path) -> None:
    """A picture that an image reader opens, large enough to read, and not blank."""
    require(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG")
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    height, width = picture.shape[:2]
    require(width >= 600 and height >= 300, f"{path}: only {width} x {height}")
    require(len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, f"{path} is blank")


def require(good: bool, message: str) -> None:
    if not good:
        sys.exit(message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
