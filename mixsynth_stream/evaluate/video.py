"""Video: evaluation on videos. The estimator on every frame is the reference, every Nth of the same poses is the input.

Each person that the reference follows without a break is streamed once from every frame that could be the first
keyframe, through the same MotionWindow and by the same time rule as a real stream. The frames between keyframes are
judged against the reference at their own time, without the joints that the reference itself doubts.
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
from mixsynth_stream.evaluate.breakdown import detail_rows
from mixsynth_stream.evaluate.mocap import parameters
from mixsynth_stream.evaluate.questions import Comparison, score_question
from mixsynth_stream.evaluate.ridge import Ridge
from mixsynth_stream.evaluate.scores import HORIZONS_MS, NETWORK, RIDGE, Case, Cost, Evaluation, Scores
from mixsynth_stream.files import make_folder, write_arrays
from mixsynth_stream.normalise import scale_of
from mixsynth_stream.pipeline.keyframes import KeyframeClock
from mixsynth_stream.pipeline.window import MotionWindow
from mixsynth_stream.skeleton import CORE_17, LANDMARKS, named_skeleton
from mixsynth_stream.spaces import SPACES, scale_floor
from mixsynth_stream.weights import Model

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.estimators.estimator import Estimator

_CORE = SPACES["image"].core
# Where half of the joints move faster than this, the reference has changed to another person, or lost this one.
_JUMP_TORSO_PER_S = 15.0
# Joints with a lower score are not judged, and people only where half of their scores are higher.
LEAST_SCORE = 0.5
# The arrays of a file of dense poses, with their shapes for one frame.
_ARRAYS: dict[str, tuple[int, ...]] = {"time_s": (), "poses": (33, 2), "world": (33, 3), "scores": (33,)}
# In a smaller person the reference's own error would be a large share of any error.
_LEAST_TORSO_PX = 40.0


@dataclass(frozen=True, kw_only=True)
class DensePoses:
    """One person (the estimator's first) in every frame of a video; NaN where the estimator sees nobody."""

    name: str
    time_s: np.ndarray  # [F]
    poses: np.ndarray  # [F, 33, 2] pixels
    world: np.ndarray  # [F, 33, 3] metres
    scores: np.ndarray  # [F, 33]
    height_px: int

    def part(self, first: int, last: int) -> DensePoses:
        """Frames first .. last - 1."""
        frames = slice(first, last)
        return replace(
            self,
            time_s=self.time_s[frames],
            poses=self.poses[frames],
            world=self.world[frames],
            scores=self.scores[frames],
        )


def video_name(path: str | Path) -> str:
    """The name of a video in tables: its folder and its file."""
    path = Path(path)
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def dense_poses(path: str | Path, estimator: Estimator | None = None, name: str | None = None) -> DensePoses:
    """Run the estimator (by default MediaPipe as published) on every frame, or read the poses of such a run.

    `name` takes the place of `video_name`. Raises `SourceError`.
    """
    if Path(path).suffix == ".npz":
        return load_dense(path)
    from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, official
    from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
    from mixsynth_stream.pipeline.motion import Person
    from mixsynth_stream.pipeline.sources.video import VideoReader

    own = MediaPipeEstimator(official(DEFAULT_MODEL)) if estimator is None else None
    joints = len(named_skeleton((estimator or own).skeleton, LANDMARKS))  # type: ignore[union-attr]
    nobody = Person(np.full((joints, 2), np.nan), np.full((joints, 3), np.nan), np.full(joints, np.nan))
    people, times, height_px = [], [], 0
    try:
        with VideoReader(path) as reader:
            for frame in reader:
                detections = (estimator or own)(frame.rgb, frame.time_s)  # type: ignore[misc]
                people.append(detections[0] if detections else nobody)
                times.append(frame.time_s)
                height_px = frame.height
    finally:
        if own is not None:
            own.close()
    return DensePoses(
        name=name or video_name(path),
        time_s=np.array(times),
        poses=np.array([person.pose for person in people]).reshape(-1, joints, 2),
        world=np.array([person.world for person in people]).reshape(-1, joints, 3),
        scores=np.array([person.scores for person in people]).reshape(-1, joints),
        height_px=height_px,
    )


def save_dense(folder: Path, dense: DensePoses) -> Path:
    """Write the poses to FOLDER/NAME.npz, which `dense_poses` takes in place of the video. Raises `OutputError`."""
    path = folder / (dense.name.replace("/", "_") + ".npz")
    arrays = {key: getattr(dense, key) for key in _ARRAYS}
    facts = {"name": dense.name, "height_px": dense.height_px, "time_s": arrays.pop("time_s")}
    make_folder(path)
    write_arrays(path, facts | {key: values.astype(np.float32) for key, values in arrays.items()})
    return path


def load_dense(path: str | Path) -> DensePoses:
    """The poses that `save_dense` wrote. Raises `SourceError`."""
    arrays = load_arrays(path, ("name", "height_px", *_ARRAYS))
    time_s, name, height_px = arrays["time_s"], arrays["name"], arrays["height_px"]
    frames = len(time_s.reshape(-1))
    wrong = [
        f"{key} is {list(arrays[key].shape)} of {arrays[key].dtype}, expected {[frames, *shape]} of float"
        for key, shape in _ARRAYS.items()
        if arrays[key].shape != (frames, *shape) or arrays[key].dtype.kind != "f"
    ]
    if not wrong and not (np.isfinite(time_s).all() and (np.diff(time_s) > 0).all()):
        wrong.append("time_s must be seconds that grow from frame to frame")
    if name.ndim or name.dtype.kind != "U":
        wrong.append(f"name is {list(name.shape)} of {name.dtype}, expected one text")
    if height_px.ndim or height_px.dtype.kind not in "iu" or height_px < 1:
        wrong.append(f"height_px is {height_px.tolist()}, expected the height of the frames, a whole number")
    if wrong:
        raise SourceError(f"{path}: {wrong[0]}; give poses that evaluate --keep-dense wrote")
    return DensePoses(name=name.item(), height_px=height_px.item(), **{key: arrays[key] for key in _ARRAYS})


def tracks(dense: DensePoses, least_s: float) -> list[DensePoses]:
    """The pieces of at least `least_s` in which the reference follows one large person, without a loss or a jump."""
    seen = np.isfinite(dense.poses).all((1, 2))
    if not seen.any():
        return []
    core = dense.poses[:, _CORE]
    scale = np.maximum(scale_of(core), scale_floor("image", dense.height_px))
    movement = np.median(np.linalg.norm(np.diff(core, axis=0), axis=-1), axis=-1) / scale[:-1]
    with np.errstate(invalid="ignore"):
        is_followed = seen[:-1] & seen[1:] & (movement / np.diff(dense.time_s) <= _JUMP_TORSO_PER_S)
    borders = [0, *(np.flatnonzero(~is_followed) + 1), len(seen)]
    pieces = [dense.part(a, b) for a, b in pairwise(borders) if seen[a]]
    return [
        piece
        for piece in pieces
        if piece.time_s[-1] - piece.time_s[0] >= least_s
        and np.median(piece.scores[:, _CORE]) >= LEAST_SCORE
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
    scores, detail = Scores(), Scores()
    by_clip, clips_with_people, names_without = [], [], []
    for number, clip in enumerate(clips):
        clip_scores, clip_detail = Scores(), Scores()
        people = tracks(clip, least_s)
        for person in people:
            case = Case(data=clip.name, model=name, question="", target="dense", horizon_ms=None, metric="", unit="")
            for first in range(_frames_of_first_interval(person, config.sample_interval / rate_hz)):
                stream = person.part(first, len(person.time_s))
                _score_stream(clip_scores, clip_detail, case, model, stream, number, ridge)
        if people:
            parts = detail_rows(clip_detail.rows(seed))
            by_clip.append(Evaluation(clip.name, clip_scores.rows(seed), parts, _cost(model, [clip])))
            clips_with_people.append(clip)
            scores.include(clip_scores, "videos")
            detail.include(clip_detail, "videos")
        else:
            names_without.append(clip.name)
    missing = f"; left out, as nobody was followed well for {least_s:.1f} s: " if names_without else ""
    title = (
        f"{len(by_clip)} of {len(clips)} videos, {name}: mean error against the estimator on every frame (its own is "
        f"0), in {'torso lengths' if model.info.space == 'image' else 'mm'}, clips counting the same{missing}"
        f"{', '.join(names_without)}\n{parameters(tuned(model.info.space, config.sample_interval), ridge)}"
    )
    parts = detail_rows(detail.rows(seed, equal_groups=True))
    return Evaluation(title, scores.rows(seed, equal_groups=True), parts, _cost(model, clips_with_people)), by_clip


def _cost(model: Model, clips: Sequence[DensePoses]) -> Cost:
    interval_s = model.config.sample_interval / model.info.rate_hz
    rates_hz = [1 / np.median(np.diff(clip.time_s)) for clip in clips] or [model.info.rate_hz]
    return Cost(calls_hz=1 / interval_s, filled_lag_s=interval_s, dense_calls_hz=float(np.mean(rates_hz)))


def _frames_of_first_interval(person: DensePoses, interval_s: float) -> int:
    return int(np.searchsorted(person.time_s, person.time_s[0] + interval_s - 1e-3))


def _score_stream(
    scores: Scores, detail: Scores, case: Case, model: Model, person: DensePoses, group: int, ridge: Ridge | None
) -> None:
    """Stream one person from the first frame on, and add scores after every keyframe but the first.

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
    truth = np.where((person.scores[:, _CORE] >= LEAST_SCORE)[..., None], poses[:, _CORE], np.nan)
    torso = max(float(np.median(scale_of(poses[:, _CORE]))), min_scale)
    speed = _speed_at_frames(truth, person.time_s, 1 / rate_hz) / torso
    methods: dict[str, Baseline] = tuned_baselines(space, config.sample_interval)
    if ridge is not None:
        methods[RIDGE] = replace(ridge, min_scale=min_scale)
    for k, newest in enumerate(keyframes):
        window.push(poses[newest], person.scores[newest], float(person.time_s[newest]))
        if k == 0:
            continue
        questions = question_frames(
            person.time_s, keyframes[: k + 1], keyframes[k + 1 : k + 2], is_warm=k >= config.step
        )
        if not questions:
            continue
        in_window = keyframes[max(0, k - config.step) : k + 1]
        # The stretch begins a frame before the newest interval (for its corner) or earlier, and ends one past the last
        # frame of any question.
        first = min([max(keyframes[k - 1] - 1, 0), *(frames[0] for frames in questions.values())])
        last = max([newest, *(frames[-1] for frames in questions.values())])
        stretch = slice(first, min(last + 1, len(person.time_s) - 1) + 1)
        times_s = person.time_s[stretch]
        by_method = {NETWORK: window.at(times_s).poses[:, _CORE][None]}
        for name, method in methods.items():
            by_method[name] = _poses_at(times_s, method, poses[in_window][:, _CORE], person.time_s[in_window], model)
        comparison = Comparison(
            poses=by_method, truth=truth[None, stretch], torso=np.array([torso]), clip=np.array([group]), space=space
        )
        for (question, horizon_ms), frames in questions.items():
            about = replace(case, question=question, horizon_ms=horizon_ms)
            score_question(scores, about, comparison, frames - first, detail, speed[None, stretch])


def _speed_at_frames(
    truth: np.ndarray,  # [F, 17, D]
    time_s: np.ndarray,  # [F]
    reach_s: float,
) -> np.ndarray:  # [F, 17] of the truth's unit a second
    """Speed over a grid step to either side: from frame to frame the reference trembles more than people move."""
    before, after = np.maximum(time_s - reach_s, time_s[0]), np.minimum(time_s + reach_s, time_s[-1])
    path = truth.reshape(len(truth), -1).T
    movement = np.stack([np.interp(after, time_s, x) - np.interp(before, time_s, x) for x in path], axis=-1)
    return np.asarray(np.linalg.norm(movement.reshape(truth.shape), axis=-1) / (after - before)[:, None])


def question_frames(
    time_s: np.ndarray,  # [F]
    keyframes: Sequence[int],  # up to the newest
    following: Sequence[int],  # the next keyframe, if there is one
    is_warm: bool,  # the window is full
) -> dict[tuple[str, int | None], np.ndarray]:
    """Frames of each question once the newest of `keyframes` is known, without the keyframes themselves."""
    newest = keyframes[-1]
    end = following[0] if following else len(time_s)
    filled, now = np.arange(keyframes[-2] + 1, newest), np.arange(newest + 1, end)
    frames: dict[tuple[str, int | None], np.ndarray]
    if not is_warm:
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
    return {question: numbers for question, numbers in frames.items() if len(numbers)}


def _poses_at(
    times_s: np.ndarray,  # [M]
    method: Baseline,
    keyframes: np.ndarray,  # [K, 17, D]
    key_time_s: np.ndarray,  # [K]
    model: Model,
) -> np.ndarray:  # [1, M, 17, D]
    """Poses of a simple method at real times: keyframes lie on the grid's steps, and the steps beyond have its rate."""
    n = model.config.sample_interval
    steps = np.interp(times_s, key_time_s, np.arange(len(key_time_s)) * n)
    steps += np.maximum(times_s - key_time_s[-1], 0) * model.info.rate_hz
    return method(keyframes[None], n, steps)
