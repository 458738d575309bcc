"""Session: some networks beside the simple methods, on files of motion capture and on videos, one after the other.

session = Session([("image-n10", load_model("image-n10"))])
for path, name, result in session.on_files([Path("clips.npz")]):
    print(methods_table(result))
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mixsynth_stream.data.mocap import load_clips, unique_names
from mixsynth_stream.evaluate.baselines import tuned
from mixsynth_stream.evaluate.coverage import CoverageRow, coverage, every_second
from mixsynth_stream.evaluate.mocap import evaluate_mocap
from mixsynth_stream.evaluate.ridge import Ridge, checkout_ridge, fit_ridge
from mixsynth_stream.evaluate.scores import Evaluation
from mixsynth_stream.evaluate.video import DensePoses, dense_poses, evaluate_videos, save_dense, video_name
from mixsynth_stream.weights import Model

logger = logging.getLogger(__name__)


class Session:
    """Networks under their names, each beside a ridge regression. Each result comes as soon as it is ready."""

    def __init__(
        self,
        models: Sequence[tuple[str, Model]],
        *,
        train_data: Sequence[str | Path] = (),
        seed: int = 0,
        progress: Callable[[str], None] = logger.info,
    ) -> None:
        """`train_data`: files to fit ridge regression to. Without them the checkout's own fits are taken.

        `progress` takes a line of text before each longer piece of work. Raises `SourceError` for unreadable files.
        """
        self._models, self._seed, self._progress = list(models), seed, progress
        self._ridges = {name: self._ridge(name, model, train_data) for name, model in models}

    def on_files(self, paths: Sequence[Path]) -> Iterator[tuple[Path, str, Evaluation]]:
        """(file, network, result) for every file of motion capture and network. Files are never pooled.

        Raises `SourceError` and `ModelError`.
        """
        for path, data in zip(paths, unique_names(paths, [path.name for path in paths]), strict=True):
            for name, model in self._models:
                self._progress(f"evaluating {name} on {data}")
                ridge = self._ridges[name]
                yield path, name, evaluate_mocap(path, name, model, data=data, seed=self._seed, ridge=ridge)

    def coverage(self, path: Path, name: str) -> list[CoverageRow]:
        """How often the bounds of a network hold on the clips of a file that did not set their level."""
        model = dict(self._models)[name]
        return coverage(model, every_second(load_clips(path)), data=path.stem, name=name, seed=self._seed)

    def look(self, videos: Sequence[str], keep: Path | None = None) -> list[DensePoses]:
        """The estimator on every frame of the videos; `keep` is a folder for its poses. Raises `SourceError`."""
        clips = []
        for path, clip in zip(videos, unique_names(videos, [video_name(path) for path in videos]), strict=True):
            self._progress(f"looking at every frame of {path}")
            clips.append(dense_poses(path, name=clip))
            if keep:
                save_dense(keep, clips[-1])
        return clips

    def on_videos(self, clips: Sequence[DensePoses]) -> Iterator[tuple[Evaluation, list[Evaluation]]]:
        """For each network the result on all videos together, and on each by itself. Raises `ModelError`."""
        for name, model in self._models if clips else []:
            yield evaluate_videos(clips, name, model, seed=self._seed, ridge=self._ridges[name])

    def _ridge(self, name: str, model: Model, files: Sequence[str | Path]) -> Ridge | None:
        if not files:
            return checkout_ridge(model)
        self._progress(f"fitting ridge regression beside {name} on {', '.join(Path(path).name for path in files)}")
        return fit_ridge(files, model, tuned(model.info.space, model.config.sample_interval).ridge_strength)
