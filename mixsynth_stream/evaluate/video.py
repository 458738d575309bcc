"""Evaluation on videos: the estimator on every frame is the reference, every Nth of the same poses is the input.

Each person that the reference follows without a break is streamed once for every frame that could have been the first
keyframe, through the same MotionWindow and by the same time rule as a real stream. Frames off the keyframes are judged
against the reference at their own time. Joints that the reference itself doubts are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.errors import SourceError
from mixsynth_stream.evaluate.baselines import Baseline, tuned, tuned_baselines
from mixsynth_stream.evaluate.breakdown import rows_of_parts
from mixsynth_stream.evaluate.mocap import parameters
from mixsynth_stream.evaluate.questions import Judged, score_question
from mixsynth_stream.evaluate.ridge import Ridge
from mixsynth_stream.evaluate.scores import HORIZONS_MS, NETWORK, RIDGE, Case, Cost, Evaluation, Scores
from mixsynth_stream.files import make_folder, write_arrays
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.keyframes import KeyframeClock
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.skeleton import CORE_17, CORE_FROM_BLAZEPOSE
from mixsynth_stream.spaces import scale_floor
from mixsynth_stream.weights import Model

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.estimators.estimator import Estimator

_CORE = list(CORE_FROM_BLAZEPOSE)
# The reference has changed to another person, or lost this one, when half of the joints move faster than this.
_JUMP_TORSO_PER_S = 15.0
# A joint that the reference scores lower is not judged; a person is followed well when half of the scores are higher.
_LEAST_SCORE = 0.5
# What is kept of every frame.
_ARRAYS: dict[str, tuple[int, ...]] = {"time_s": (), "poses": (33, 2), "world": (33, 3), "scores": (33,)}
# Of a smaller person the reference's own error is a large share of any error.
_LEAST_TORSO_PX = 40.0


@dataclass(frozen=True, kw_only=True)
class DensePoses:
    """One person (the estimator's first) in every frame of a video; NaN where nobody was found."""

    name: str
    time_s: np.ndarray  # [F]
    poses: np.ndarray  # [F, 33, 2] pixels
    world: np.ndarray  # [F, 33, 3] metres
    scores: np.ndarray  # [F, 33]
    height_px: int

    def part(self, first: int, last: int) -> DensePoses:
        """Frames first .. last - 1."""
        cut = slice(first, last)
        return replace(
            self, time_s=self.time_s[cut], poses=self.poses[cut], world=self.world[cut], scores=self.scores[cut]
        )


def video_name(path: str | Path) -> str:
    """What a video is called in the tables: its folder and its file."""
    path = Path(path)
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def dense_poses(path: str | Path, estimator: Estimator | None = None, name: str | None = None) -> DensePoses:
    """Run the estimator (MediaPipe in the pipeline's default mode) on every frame, or read what it said before.

    A video is called `name`, or else by `video_name`. Raises `SourceError`.
    """
    if Path(path).suffix == ".npz":
        return load_dense(path)
    from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
    from mixsynth_stream.pipeline.motion import Person
    from mixsynth_stream.pipeline.sources.video import VideoReader

    nobody = Person(np.full((33, 2), np.nan), np.full((33, 3), np.nan), np.full(33, np.nan))
    own = MediaPipeEstimator(max_people=1) if estimator is None else None
    people, times, height_px = [], [], 0
    try:
        with VideoReader(path) as reader:
            for frame in reader:
                found = (estimator or own)(frame.rgb, frame.time_s)  # type: ignore[misc]
                people.append(found[0] if found else nobody)
                times.append(frame.time_s)
                height_px = frame.height
    finally:
        if own is not None:
            own.close()
    return DensePoses(
        name=name or video_name(path),
        time_s=np.array(times),
        poses=np.array([person.pose for person in people]).reshape(-1, 33, 2),
        world=np.array([person.world for person in people]).reshape(-1, 33, 3),
        scores=np.array([person.scores for person in people]).reshape(-1, 33),
        height_px=height_px,
    )


def save_dense(folder: Path, dense: DensePoses) -> Path:
    """Keep the poses as FOLDER/NAME.npz, which stands for the video from then on. Raises `OutputError`."""
    path = folder / (dense.name.replace("/", "_") + ".npz")
    arrays = {key: getattr(dense, key) for key in _ARRAYS}
    facts = {"name": dense.name, "height_px": dense.height_px, "time_s": arrays.pop("time_s")}
    make_folder(path)
    write_arrays(path, facts | {key: values.astype(np.float32) for key, values in arrays.items()})
    return path


def load_dense(path: str | Path) -> DensePoses:
    """What `save_dense` kept. Raises `SourceError`."""
    found = load_arrays(path, ("name", "height_px", *_ARRAYS))
    frames, name, height_px = len(found["time_s"].reshape(-1)), found["name"], found["height_px"]
    wrong = [
        f"{key} is {list(found[key].shape)} of {found[key].dtype}, expected {[frames, *shape]} of float"
        for key, shape in _ARRAYS.items()
        if found[key].shape != (frames, *shape) or found[key].dtype.kind != "f"
    ]
    if not wrong and not (np.isfinite(found["time_s"]).all() and (np.diff(found["time_s"]) > 0).all()):
        wrong.append("time_s must be seconds that grow from frame to frame")
    if name.ndim or name.dtype.kind != "U":
        wrong.append(f"name is {list(name.shape)} of {name.dtype}, expected one text")
    if height_px.ndim or height_px.dtype.kind not in "iu" or height_px < 1:
        wrong.append(f"height_px is {height_px.tolist()}, expected the height of the frames, a whole number")
    if wrong:
        raise SourceError(f"{path}: {wrong[0]}; give poses that evaluate --keep-dense wrote")
    return DensePoses(name=name.item(), height_px=height_px.item(), time_s=found["time_s"],
                      poses=found["poses"], world=found["world"], scores=found["scores"])  # fmt: skip


def tracks(dense: DensePoses, least_s: float) -> list[DensePoses]:
    """The pieces in which the reference follows one large person: nobody lost, no jump, at least `least_s` long."""
    seen = np.isfinite(dense.poses).all((1, 2))
    if not seen.any():
        return []
    core = dense.poses[:, _CORE]
    scale = np.maximum(scale_of(core), scale_floor("image", dense.height_px))
    moved = np.median(np.linalg.norm(np.diff(core, axis=0), axis=-1), axis=-1) / scale[:-1]
    with np.errstate(invalid="ignore"):
        together = seen[:-1] & seen[1:] & (moved / np.diff(dense.time_s) <= _JUMP_TORSO_PER_S)
    borders = [0, *(np.flatnonzero(~together) + 1), len(seen)]
    pieces = [dense.part(a, b) for a, b in pairwise(borders) if seen[a]]
    return [
        piece
        for piece in pieces
        if piece.time_s[-1] - piece.time_s[0] >= least_s
        and np.median(piece.scores[:, _CORE]) >= _LEAST_SCORE
        and np.median(scale_of(piece.poses[:, _CORE])) >= _LEAST_TORSO_PX
    ]


def evaluate_videos(
    clips: Sequence[DensePoses], name: str, model: Model, *, seed: int = 0, ridge: Ridge | None = None
) -> tuple[Evaluation, list[Evaluation]]:
    """All clips together, each counting the same, and each by itself. Raises `ModelError` for other skeletons."""
    model.expect(CORE_17, model.info.space)
    config, rate_hz = model.config, model.info.rate_hz
    # Long enough for one full window and the frames up to the next keyframe.
    least_s = (config.newest + config.sample_interval / 2) / rate_hz
    together, together_detail, each, judged, left_out = Scores(), Scores(), [], [], []
    for number, clip in enumerate(clips):
        alone, detail = Scores(), Scores()
        people = tracks(clip, least_s)
        for person in people:
            case = Case(data=clip.name, model=name, question="", target="dense", horizon_ms=None, metric="", unit="")
            for first in range(_frames_of_first_interval(person, config.sample_interval / rate_hz)):
                start = person.part(first, len(person.time_s))
                _score_stream(alone, detail, case, model, start, number, ridge)
        if people:
            parts = rows_of_parts(detail.rows(seed))
            each.append(Evaluation(clip.name, alone.rows(seed), parts, _cost(model, [clip])))
            judged.append(clip)
            together.include(alone, "videos")
            together_detail.include(detail, "videos")
        else:
            left_out.append(clip.name)
    missing = f"; left out, as nobody was followed well for {least_s:.1f} s: {', '.join(left_out)}" if left_out else ""
    title = (
        f"{len(each)} of {len(clips)} videos, {name}: mean error against the estimator on every frame (its own is 0), "
        f"in {'torso lengths' if model.info.space == 'image' else 'mm'}, clips counting the same{missing}\n"
        f"{parameters(tuned(model.info.space, config.sample_interval), ridge)}"
    )
    parts = rows_of_parts(together_detail.rows(seed, equal_groups=True))
    return Evaluation(title, together.rows(seed, equal_groups=True), parts, _cost(model, judged)), each


def _cost(model: Model, clips: Sequence[DensePoses]) -> Cost:
    interval_s = model.config.sample_interval / model.info.rate_hz
    rates_hz = [1 / np.median(np.diff(clip.time_s)) for clip in clips]
    return Cost(calls_hz=1 / interval_s, filled_lag_s=interval_s,
                dense_calls_hz=float(np.mean(rates_hz or [model.info.rate_hz])))  # fmt: skip


def _frames_of_first_interval(person: DensePoses, interval_s: float) -> int:
    return int(np.searchsorted(person.time_s, person.time_s[0] + interval_s - 1e-3))


def _score_stream(
    scores: Scores, detail: Scores, case: Case, model: Model, person: DensePoses, group: int, ridge: Ridge | None
) -> None:
    """Stream one person from the first frame on, and score what is known after every keyframe but the first.

    Joint groups and speed bands go to `detail`.
    """
    config, space, rate_hz = model.config, model.info.space, model.info.rate_hz
    clock, keyframes = KeyframeClock(config.sample_interval), []
    for frame, time_s in enumerate(person.time_s):
        if clock.is_due(time_s):
            clock.tick(time_s)
            keyframes.append(frame)
    poses = person.poses if space == "image" else person.world
    min_scale = scale_floor(space, person.height_px)
    window = MotionWindow(model, min_scale=min_scale)
    truth = np.where((person.scores[:, _CORE] >= _LEAST_SCORE)[..., None], poses[:, _CORE], np.nan)
    torso = max(float(np.median(scale_of(poses[:, _CORE]))), min_scale)
    speed = _speed(truth, person.time_s, 1 / rate_hz) / torso
    methods: dict[str, Baseline] = tuned_baselines(space, config.sample_interval)
    if ridge is not None:
        methods[RIDGE] = replace(ridge, min_scale=min_scale)
    for k, newest in enumerate(keyframes):
        window.push(poses[newest], person.scores[newest], float(person.time_s[newest]))
        if k == 0:
            continue
        frames = asked_frames(person.time_s, [*keyframes[: k + 1]], keyframes[k + 1 : k + 2], warm=k >= config.step)
        if not frames:
            continue
        seen = keyframes[max(0, k - config.step) : k + 1]
        # From the frame before the newest interval (for its corner) or earlier, to the last one asked or the keyframe.
        first = min([max(keyframes[k - 1] - 1, 0), *(asked[0] for asked in frames.values())])
        last = max([newest, *(asked[-1] for asked in frames.values())])
        last = min(last + 1, len(person.time_s) - 1)
        times = person.time_s[first : last + 1]
        said = {NETWORK: window.at(times).poses[:, _CORE]}
        for name, method in methods.items():
            said[name] = _simple(method, poses[seen][:, _CORE], person.time_s[seen], times, model)
        judged = Judged(poses={m: p[None] for m, p in said.items()}, truth=truth[None, first : last + 1],
                        torso=np.array([torso]), clip=np.array([group]), space=space)  # fmt: skip
        for (question, horizon_ms), asked in frames.items():
            about = replace(case, question=question, horizon_ms=horizon_ms)
            score_question(scores, about, judged, asked - first, detail, speed[None, first : last + 1])


def _speed(
    truth: np.ndarray,  # [F, 17, D]
    time_s: np.ndarray,  # [F]
    reach_s: float,
) -> np.ndarray:  # [F, 17] of the truth's unit a second
    """Over a step of the grid to either side: from frame to frame the reference trembles more than people move."""
    before, after = np.maximum(time_s - reach_s, time_s[0]), np.minimum(time_s + reach_s, time_s[-1])
    path = truth.reshape(len(truth), -1).T
    moved = np.stack([np.interp(after, time_s, x) - np.interp(before, time_s, x) for x in path], axis=-1)
    return np.asarray(np.linalg.norm(moved.reshape(truth.shape), axis=-1) / (after - before)[:, None])


def asked_frames(
    time_s: np.ndarray,  # [F]
    keyframes: Sequence[int],  # up to the newest
    following: Sequence[int],  # the next keyframe, if there is one
    warm: bool,
) -> dict[tuple[str, int | None], np.ndarray]:
    """Frames of each question once the newest of `keyframes` is known. Never a keyframe of the input itself."""
    newest = keyframes[-1]
    end = following[0] if following else len(time_s)
    filled, now = np.arange(keyframes[-2] + 1, newest), np.arange(newest + 1, end)
    frames: dict[tuple[str, int | None], np.ndarray]
    if not warm:
        frames = {("filled_cold", None): filled, ("now_cold", None): now}
    else:
        frames = {("filled", None): filled, ("now", None): now}
        if len(keyframes) > 2:
            frames["filled_later", None] = np.arange(keyframes[-3] + 1, keyframes[-2])
        half_s = float(np.median(np.diff(time_s))) / 2 + 1e-3
        for horizon_ms in HORIZONS_MS:
            at_s = time_s[newest] + horizon_ms / 1000
            nearest = int(np.argmin(np.abs(time_s - at_s)))
            if nearest > newest and abs(time_s[nearest] - at_s) <= half_s:
                frames["ahead", horizon_ms] = np.array([nearest])
                frames["ahead_mean", horizon_ms] = np.arange(newest + 1, nearest + 1)
    return {key: asked for key, asked in frames.items() if len(asked)}


def _simple(
    method: Baseline,
    keyframes: np.ndarray,  # [K, 17, D]
    key_time_s: np.ndarray,  # [K]
    times_s: np.ndarray,  # [M]
    model: Model,
) -> np.ndarray:  # [M, 17, D]
    """A simple method at real times, by the rule of the grid: keyframes on its steps, the grid's rate beyond."""
    n = model.config.sample_interval
    steps = np.interp(times_s, key_time_s, np.arange(len(key_time_s)) * n)
    steps += np.maximum(times_s - key_time_s[-1], 0) * model.info.rate_hz
    return method(keyframes[None], n, steps)[0]
