"""Recordings of people who move evenly, in every form that is read, so that what is ahead of them is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from support.fakes import standing_pose

from mixsynth_stream.export import Settings, open_sinks
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.pipeline.motion import Motion, Origin, Person
from mixsynth_stream.skeleton import BLAZEPOSE_33, COCO_17, Skeleton

SPEED_PX = 90.0  # a second, to the right


def walker(time_s: float, skeleton: Skeleton = BLAZEPOSE_33, *, x_px: float = 300.0) -> Person:
    """Somebody whose arms swing at 0.5 Hz while they go to the right. In metres the hips stay."""
    pose = standing_pose(x_px=x_px + SPEED_PX * time_s)
    swing = 12.0 * np.sin(np.pi * time_s)
    pose[[13, 15, 17, 19, 21], 1] += swing
    pose[[14, 16, 18, 20, 22], 1] -= swing
    hips = pose[23:25].mean(axis=0)
    world = np.concatenate([(pose - hips) / 200.0, 0.1 * np.cos(np.arange(33))[:, None]], axis=1)
    world -= world[23:25].mean(axis=0)
    columns = [BLAZEPOSE_33.index(joint) for joint in skeleton.joints]
    return Person(pose[columns], world[columns], np.full(len(columns), 0.9))


def times_of(count: int, rate_hz: float = 30.0) -> np.ndarray:  # -> [F]
    return np.arange(count) / rate_hz


def recording(time_s: np.ndarray, skeleton: Skeleton = BLAZEPOSE_33, ids: Sequence[int] = (0,)) -> Recording:
    """People 250 pixels apart."""
    people = [{number: walker(t, skeleton, x_px=300.0 + 250 * number) for number in ids} for t in time_s.tolist()]
    return Recording(
        name="walk", skeleton=skeleton, time_s=time_s, people=people, numbers=np.arange(len(time_s)), size=(1280, 720)
    )


def write_results(folder: Path, one: Recording, formats: Sequence[str]) -> None:
    """What `run` writes of a recording. Every second pose counts as filled, and lies elsewhere."""
    with_everything = open_sinks(
        folder, None, formats=formats, settings=Settings(skeleton=one.skeleton.name, every=10, lag=1)
    )
    for index, (time_s, people) in enumerate(zip(one.time_s.tolist(), one.people, strict=True)):
        is_measured = index % 2 == 0
        off = 0.0 if is_measured else 77.0
        motion = Motion(
            index=index,
            time_s=time_s,
            final=True,
            keyframe=is_measured,
            ids=np.array(list(people)),
            poses=np.array([person.pose + off for person in people.values()]),
            world=np.array([person.world for person in people.values()]),
            scores=np.array([person.scores for person in people.values()]),
            origin=np.full(
                (len(people), len(one.skeleton)), Origin.MEASURED if is_measured else Origin.FILLED, np.uint8
            ),
            measured=None,
            skeleton=one.skeleton,
        )
        for sink in with_everything:
            sink.write(motion)
    for sink in with_everything:
        sink.close()


def write_openpose(folder: Path, time_s: np.ndarray, *, people: int = 1) -> Path:
    """A folder of OpenPose's JSON of COCO-17, with people in another order in each frame."""
    folder.mkdir()
    for number, t in enumerate(time_s.tolist()):
        everybody = [walker(t, COCO_17, x_px=300.0 + 250 * p) for p in range(people)]
        rows = [np.column_stack([one.pose, one.scores]).ravel().tolist() for one in everybody]
        record = {"people": [{"pose_keypoints_2d": row} for row in (rows if number % 2 else rows[::-1])]}
        (folder / f"clip_{number:012d}_keypoints.json").write_text(json.dumps(record))
    return folder


def write_markers(path: Path, time_s: np.ndarray, *, unit: str = "mm") -> Path:
    """A TRC file as Pose2Sim writes it: y up, in a room through which the person walks, with OpenPose's names."""
    names = {"Nose": 0, "LShoulder": 11, "RShoulder": 12, "LElbow": 13, "RElbow": 14, "LWrist": 15, "RWrist": 16}
    names |= {
        "LHip": 23,
        "RHip": 24,
        "LKnee": 25,
        "RKnee": 26,
        "LAnkle": 27,
        "RAnkle": 28,
        "LBigToe": 31,
        "RBigToe": 32,
    }
    factor = {"m": 1.0, "mm": 1000.0}[unit]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"30\t30\t{len(time_s)}\t{len(names)}\t{unit}\t30\t1\t{len(time_s)}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{m + 1}" for m in range(len(names)) for axis in "XYZ"),
    ]
    for number, t in enumerate(time_s.tolist()):
        world = walker(t).world[list(names.values())] * [1.0, -1.0, -1.0] + [t, 1.0, 2.0]
        lines.append("\t".join([str(number + 1), f"{t:.6f}", *(f"{value:.6f}" for value in (factor * world).ravel())]))
    path.write_text("\n".join(lines) + "\n")
    return path
