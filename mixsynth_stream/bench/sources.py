"""`bench live-sources`: several live sources of 480p in one process, with a stand-in for the estimator.

A clip is recorded once: MediaPipe's poses of every third frame, and the clip itself, there and back, as H.264 of 480
lines at 30 Hz with the number of each frame drawn into a corner. Each source then plays it at its own speed, and is
decoded as a camera is. The stand-in reads the number, waits as long as a look may take, and gives what was recorded.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from mixsynth_stream.files import ASSETS
from mixsynth_stream.memory import rare_collections
from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.estimators.choose import pose_estimator
from mixsynth_stream.pipeline.motion import Motion, Person
from mixsynth_stream.pipeline.several.streams import Streams
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.pixels.converter import converted
from mixsynth_stream.pipeline.sources.video import VideoReader
from mixsynth_stream.presets import AUTO, AUTO_EVERY, shipped_name
from mixsynth_stream.reports import processor, table, write_json
from mixsynth_stream.skeleton import BLAZEPOSE_33
from mixsynth_stream.spaces import GRID_HZ, LANDMARK_SPACES, SPACES
from mixsynth_stream.weights import Model, load_model

_CORE = SPACES["image"].core
_LINES = 480
# The number of a frame stands in the upper left corner: black and white blocks, one a bit.
_BITS, _BLOCK = 10, 16
_EVERY = 3  # frames are looked at for the recording
_START_S = 2.0  # before anything is measured
# At keyframes the pose shown lies within so many body scales of the recorded one, or no speed is printed.
_GATE = 0.1


@dataclass(frozen=True)
class Recording:
    """A clip of K frames, and the people in each."""

    path: Path
    people: list[Person]  # K

    def at(self, rgb: np.ndarray) -> Person:  # [H, W, 3] uint8
        """The person of the frame whose number is drawn into this picture."""
        return self.people[number_in(rgb)]


class Counter:
    """Counts the calls of a network."""

    def __init__(self, model: Model) -> None:
        self._forward = model._forward
        self.calls = 0
        self.model = replace(model, _forward=self)

    def __call__(self, keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        self.calls += 1
        return self._forward(keyframes)


def main(args: argparse.Namespace) -> int:
    """Run and print; 1 where the poses shown are not those recorded."""
    if min(args.sources) < 1 or args.seconds <= 0 or args.estimator_ms < 0:
        raise ValueError("--sources must be 1 or more, --seconds above 0, and --estimator-ms 0 or more")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recording = record(Path(args.clip or ASSETS / "demo_hard.mp4"), Path(folder) / "clip.mp4", args.seconds)
        for sources in args.sources:
            row = measured(recording, sources, args.seconds, args.estimator_ms / 1e3, glance=not args.no_glance)
            if row["error_scales"] > _GATE:
                print(f"{sources} sources: gate RED: the poses shown are {row['error_scales']:.2f} body scales off")
                return 1
            rows.append(row)
    print(f"{processor()}, {os.cpu_count()} cores; a look takes {args.estimator_ms:g} ms")
    print(table([list(_COLUMNS), *([text(row) for text in _COLUMNS.values()] for row in rows)]))
    if args.json is not None:
        write_json(args.json, rows)
    return 0


_COLUMNS: dict[str, Any] = {
    "sources": lambda row: str(row["sources"]),
    "fps (least, median)": lambda row: f"{row['fps_least']:.1f} {row['fps_median']:.1f}",
    "looks/s (least, median)": lambda row: f"{row['looks_hz_least']:.1f} {row['looks_hz_median']:.1f}",
    "latency ms (p50, p99)": lambda row: f"{row['latency_p50_ms']:.0f} {row['latency_p99_ms']:.0f}",
    "keyframes a network call": lambda row: f"{row['keyframes_a_call']:.2f}",
    "cores": lambda row: f"{row['cores']:.2f}",
    "of them the loop": lambda row: f"{row['loop_cores']:.2f}",
}


def record(clip: Path, path: Path, seconds: float) -> Recording:
    """The clip as `path`, long enough for a measurement of so many seconds, and the person in each of its frames."""
    pictures, people = [], []
    with VideoReader(str(clip)) as reader, pose_estimator() as estimator:
        for frame in reader:
            width = round(_LINES * frame.width / frame.height / 2) * 2
            pictures.append(converted(av.VideoFrame.from_ndarray(frame.rgb), width, _LINES, "rgb24").to_ndarray())
            if frame.index % _EVERY == 0:
                people += [estimator(pictures[-1], frame.time_s)]
            if len(pictures) == 1 << (_BITS - 1):
                break
    if not any(people):
        raise ValueError(f"nobody is seen in {clip}: give a video of one person")
    poses = _filled([seen[0] if seen else None for seen in people], len(pictures))
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    length = int((seconds + _START_S + 2.0) * GRID_HZ)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "h264", rate=int(GRID_HZ), options={"preset": "veryfast", "tune": "zerolatency"}
        )
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], _LINES, "yuv420p"
        for index in range(length):
            number = order[index % len(order)]
            picture = av.VideoFrame.from_ndarray(numbered(pictures[number], number))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return Recording(path, poses)


def _filled(people: Sequence[Person | None], frames: int) -> list[Person]:
    """A person for each frame, linearly between those recorded."""
    known = [(_EVERY * k, person) for k, person in enumerate(people) if person is not None]
    times = np.array([number for number, _ in known], float)

    def rows(arrays: list[np.ndarray]) -> np.ndarray:
        flat = np.array([array.ravel() for array in arrays])
        filled = np.array([np.interp(np.arange(frames), times, column) for column in flat.T]).T
        return filled.reshape(frames, *arrays[0].shape)

    columns = [rows([getattr(person, name) for _, person in known]) for name in ("pose", "world", "scores")]
    return [Person(*values) for values in zip(*columns, strict=True)]


def numbered(rgb: np.ndarray, number: int) -> np.ndarray:  # [H, W, 3] uint8
    """The picture with a number in its corner."""
    rgb = rgb.copy()
    for bit in range(_BITS):
        rgb[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 235 if number >> bit & 1 else 20
    return rgb


def number_in(rgb: np.ndarray) -> int:
    """The number in the corner of a picture."""
    blocks = rgb[4 : _BLOCK - 4, : _BITS * _BLOCK, 1].reshape(_BLOCK - 8, _BITS, _BLOCK)[:, :, 4:-4].mean(axis=(0, 2))
    return sum(1 << bit for bit, level in enumerate(blocks) if level > 128)


class StandIn:
    """An estimator that waits, and gives the recorded person."""

    skeleton = BLAZEPOSE_33.name

    def __init__(self, recording: Recording, seconds: float) -> None:
        self._recording, self._seconds = recording, seconds

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:
        time.sleep(self._seconds)
        return [self._recording.at(rgb)]


def measured(recording: Recording, sources: int, seconds: float, look_s: float, *, glance: bool) -> dict[str, Any]:
    """One row: so many sources for so many seconds, after a start that does not count."""
    counters = [Counter(load_model(shipped_name(space, AUTO_EVERY))) for space in LANDMARK_SPACES]
    options: dict[str, Any] = {"every": AUTO} if glance else {"every": AUTO_EVERY, "glance": False}
    streams = Streams(
        [str(recording.path)] * sources,
        estimator=StandIn(recording, look_s),
        models=[counter.model for counter in counters],
        max_people=1,
        pictures=False,
        open_with=partial(LiveReader, request=LiveRequest(is_paced=True, threads=1)),
        **options,
    )
    errors: list[float] = []
    end_s = math.inf
    marks: list[Mark] = []
    with streams, rare_collections():
        for _, motion in streams:
            now_s = time.perf_counter()
            if end_s == math.inf and all(streams.streams):
                end_s = now_s + _START_S
            if now_s > end_s:
                marks.append(Mark.now(streams, counters[0]))
                end_s = now_s + seconds
                if len(marks) == 2:
                    break
            if motion.keyframe and not motion.final:
                errors.append(_error(recording, motion))
        totals = [one.stats.ledger.percentiles()["total_s"] for one in streams.streams if one is not None]
    if len(marks) < 2:
        raise ValueError("the clip has ended before enough was measured: give fewer --seconds")
    return _row(*marks) | {
        "latency_p50_ms": 1e3 * float(np.median([total[0] for total in totals])),
        "latency_p99_ms": 1e3 * max(total[-1] for total in totals),
        "error_scales": float(np.median(errors)),
    }


@dataclass(frozen=True)
class Mark:
    """Where all counts and clocks stand at one moment."""

    time_s: float
    frames: np.ndarray  # [S] those that have come out
    keyframes: np.ndarray  # [S]
    calls: int  # of one network
    cpu_s: float
    loop_s: float

    @classmethod
    def now(cls, streams: Streams, counter: Counter) -> Mark:
        """This moment."""
        stats = [one.stats for one in streams.streams if one is not None]
        return cls(
            time.perf_counter(),
            np.array([one.frames for one in stats]),
            np.array([one.keyframes for one in stats]),
            counter.calls,
            time.process_time(),
            time.thread_time(),
        )


def _row(begun: Mark, ended: Mark) -> dict[str, Any]:
    elapsed_s = ended.time_s - begun.time_s
    fps = (ended.frames - begun.frames) / elapsed_s
    looks = ended.keyframes - begun.keyframes
    return {
        "sources": len(fps),
        "fps_least": float(fps.min()),
        "fps_median": float(np.median(fps)),
        "looks_hz_least": float(looks.min() / elapsed_s),
        "looks_hz_median": float(np.median(looks) / elapsed_s),
        "keyframes_a_call": float(looks.sum() / max(1, ended.calls - begun.calls)),
        "cores": (ended.cpu_s - begun.cpu_s) / elapsed_s,
        "loop_cores": (ended.loop_s - begun.loop_s) / elapsed_s,
    }


def _error(recording: Recording, motion: Motion) -> float:
    """How far the pose shown lies from the recorded one, in body scales; infinite where nobody is shown."""
    if not len(motion.ids) or motion.frame is None:
        return float("inf")
    person = recording.at(motion.frame.rgb)
    return float(distance_in_scales(motion.poses[0][_CORE], person.pose[_CORE], min_scale=1.0))
