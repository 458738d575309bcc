"""`forecast_recording`: a recording of poses through windows, into files with what comes next, and how true it came.

In a script: `forecast_recording(Path("poses.npz"), Path("out"), JobOptions(horizon_s=0.9, formats=("npz",)))`.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.errors import ModelError
from mixsynth_stream.evaluate.scores import Evaluation
from mixsynth_stream.export import Settings, open_sinks
from mixsynth_stream.forecast.ahead import Moment, fitting_every, moments
from mixsynth_stream.forecast.plot import HorizonPlot
from mixsynth_stream.forecast.reading import poses_in, read_recording
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.forecast.score import HorizonScore
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.lock import FolderLock
from mixsynth_stream.job.models import load_models
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.outputs import Outputs, check_folder
from mixsynth_stream.job.progress import Progress
from mixsynth_stream.pipeline.arguments import networks
from mixsynth_stream.pipeline.motion import Forecast, Motion, Origin
from mixsynth_stream.pipeline.people import Scene
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.presets import DEFAULT_EVERY, shipped_name
from mixsynth_stream.spaces import GRID_HZ
from mixsynth_stream.weights import Model


@dataclass(frozen=True)
class ForecastResult:
    """A recording after its job."""

    recording: Recording
    every: int  # N of the networks
    evaluations: list[Evaluation]  # for each space in which there are poses
    frames: int
    people: int
    seconds: float


def forecast_recording(path: Path, folder: Path | None, options: JobOptions) -> ForecastResult:
    """Forecast at every pose of a recording, into `folder` (with `plot.png` if `options.plot`) or standard output.

    Of the options those count that say so in `mixsynth-stream forecast --help`. Raises `SourceError`, `ModelError`,
    `OutputError` and `ValueError`; what was written before an error stays readable.
    """
    start_s = time.perf_counter()
    path = poses_in(path)
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        if folder is not None:
            stack.enter_context(FolderLock(folder))
            check_folder(str(path), folder, options)
        pair = _given(options) or _shipped(DEFAULT_EVERY, options)
        recording = read_recording(
            path, pair, skeleton=options.skeleton, rate_hz=options.rate_hz, max_people=options.max_people
        )
        if not options.weights:
            pair = _shipped(int(options.every or fitting_every(recording.spacing_s)), options)
        models = {model.info.space: model for model in pair}
        score = HorizonScore(recording, models, options.horizon_s)
        sinks = _sinks(recording, pair, folder, options, score)
        outputs = stack.enter_context(Outputs(sinks, folder, interrupt))
        progress = stack.enter_context(Progress(recording.name, None, shown=options.progress))
        stats = StreamStats()
        people: set[int] = set()
        for moment in moments(recording, models):
            motion = _motion(recording, moment, options.horizon_s)
            outputs.write(motion)
            score.take(moment)
            people.update(moment.people)
            stats.frames += 1
            progress.update(motion, stats)
    every = pair[0].config.sample_interval
    seconds = time.perf_counter() - start_s
    return ForecastResult(recording, every, score.evaluations(), stats.frames, len(people), seconds)


def _given(options: JobOptions) -> tuple[Model, Model] | None:
    """The networks that the options name."""
    if not options.weights:
        return None
    pair = load_models(options)
    if len(pair) != 2:
        raise ModelError("--weights are for rotations, and forecast takes poses in pixels or metres: give others")
    return pair


def _shipped(every: int, options: JobOptions) -> tuple[Model, Model]:
    image, world = networks(None, every, options.backend)
    return image, world


def _sinks(
    recording: Recording, pair: tuple[Model, Model], folder: Path | None, options: JobOptions, score: HorizonScore
) -> list[Any]:
    spacing = pair[0].config.sample_interval
    settings = Settings(
        every=spacing,
        horizon_s=options.horizon_s,
        estimator=f"recorded in {recording.name}",
        weights=options.weights or tuple(shipped_name(model.info.space, spacing) for model in pair),
        backend=pair[0].backend,
        skeleton=recording.skeleton.name,
        sigma_tables=(pair[0].sigma_table, pair[1].sigma_table),
    )
    sinks = open_sinks(folder, None, formats=options.formats, settings=settings) if options.formats else []
    if folder is not None and options.plot:
        sinks.append(HorizonPlot(folder / "plot.png", score, recording.name))
    return sinks


def _motion(recording: Recording, moment: Moment, horizon_s: float) -> Motion:
    """The recorded poses of one time, and what is forecast from them, as a stream of every frame would give it."""
    people = list(moment.people.values())
    poses, world = np.array([one.pose for one in people]), np.array([one.world for one in people])
    is_known = np.isfinite(poses).all(axis=-1) | np.isfinite(world).all(axis=-1)
    times_s = moment.time_s + np.arange(1, round(horizon_s * GRID_HZ) + 1) / GRID_HZ
    return Motion(
        index=int(recording.numbers[moment.index]),
        time_s=moment.time_s,
        final=True,
        keyframe=True,
        ids=np.array(list(moment.people), np.int64),
        poses=poses,
        world=world,
        scores=np.array([one.scores for one in people]),
        origin=np.where(is_known, np.uint8(Origin.MEASURED), np.uint8(Origin.MISSING)),
        measured=tuple(people),
        skeleton=recording.skeleton,
        _forecaster=partial(_forecast, moment.scene, times_s),
    )


def _forecast(scene: Scene, times_s: np.ndarray) -> Forecast:  # [F] seconds
    return Forecast(time_s=times_s, **scene.at(times_s).arrays())
