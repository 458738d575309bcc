"""What a recording keeps of its stream's arguments, and the arguments that make the same stream again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixsynth_stream.console import shown
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import ASSETS, file_sha256, output_errors
from mixsynth_stream.pipeline.estimators.choose import is_pose_model
from mixsynth_stream.pipeline.estimators.estimator import follows
from mixsynth_stream.pipeline.sources.journal import Journal
from mixsynth_stream.pipeline.sources.recording.recorder import RecordingJournal
from mixsynth_stream.pipeline.sources.recording.replay import ReplayJournal
from mixsynth_stream.weights import Model, load_model, weights_path

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.engine import Engine
    from mixsynth_stream.pipeline.estimators.supervised import SupervisedEstimator
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.motion import Motion


def begin_recording(
    journal: Journal,
    models: Sequence[Model],
    supervisor: SupervisedEstimator,
    choice: Any,
    arguments: Mapping[str, Any],
    *,
    is_led: bool,
) -> None:
    """Keep what a stream starts with, if it is recorded: `choice` is the estimator that its user named.

    `is_led`: whether it is one of several. Weight files of the user's own are copied. ValueError where a network is in
    no file; OutputError.
    """
    if not isinstance(journal, RecordingJournal):
        return
    names = [model.name for model in models]
    if None in names:
        raise ValueError("only networks from weight files can be recorded: give models by load_model")
    weights = [_kept(journal.folder, str(name), number) for number, name in enumerate(names)]
    estimator = supervisor.estimator
    named = choice is None or isinstance(choice, str | Path)
    facts = {
        "choice": (None if choice is None else str(choice)) if named else type(choice).__name__,
        "is_pose_model": is_pose_model(choice),
        "skeleton": estimator.skeleton,
        "follows": follows(estimator),
        "spacing_s": getattr(estimator, "spacing_s", None),
    }
    stream = {**arguments, "backend": models[0].backend}
    journal.begin({"stream": stream, "weights": weights, "estimator": facts, "is_led": is_led})


def go_on(engine: Engine, journal: Journal, frame: Frame | None) -> list[Motion]:
    """`engine.go_on`; or what a recorded stream did in this turn, where others decided when."""
    if not isinstance(journal, ReplayJournal):
        return engine.go_on(frame)
    if journal.is_idle:
        return []
    return engine.repeat(journal.kind, frame) if journal.is_led else engine.go_on(frame)


def replay_arguments(folder: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the Stream that a recording is of. `SourceError` where its weights are others here."""
    arguments = dict(header["stream"])
    paths = [folder / one["file"] if one["file"] else weights_path(one["name"]) for one in header["weights"]]
    for one, path in zip(header["weights"], paths, strict=True):
        if not path.is_file() or file_sha256(path) != one["sha256"]:
            raise SourceError(
                f"{shown(folder)} was recorded with other weights than {shown(path)}: copy the whole recording, and "
                "replay it with the version of mixsynth-stream that made it"
            )
    return arguments | {"models": [load_model(path, arguments["backend"]) for path in paths]}


def _kept(folder: Path, name: str, number: int) -> dict[str, Any]:
    """What is kept of weights: the name, a copy of what does not ship, and a digest."""
    path, file = weights_path(name), None
    if path.parent != ASSETS:
        file = f"weights-{number}.safetensors"
        with output_errors(folder / file):
            shutil.copyfile(path, folder / file)
    return {"name": name, "file": file, "sha256": file_sha256(path)}
