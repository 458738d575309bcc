"""Published: a network on a published recipe's test split, beside the methods of its score (`evaluate --preset`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mixsynth_stream.evaluate.preset_score import MoreErrors
    from mixsynth_stream.evaluate.scores import Row
    from mixsynth_stream.weights import Model

_QUESTIONS = {
    "sequence": "every frame of the test sequences, put together from windows that overlap",
    "ahead": "the pose at the horizon, counted from the newest keyframe",
    "ahead_mean": "the mean over all steps past the newest keyframe up to the horizon",
}
_CONVENTIONS = {"at": "ahead", "to": "ahead_mean"}
# From the names of a score to metric and unit of a row.
_METRICS = {
    "geodesic_deg": ("geodesic", "degrees"),
    "mpjpe_mm": ("mpjpe", "mm"),
    "mpvpe_mm": ("mpvpe", "mm"),
    "accel_mm": ("accel_error", "mm/frame^2"),
    "pck_20": ("pck_20", "share"),
    "pck_10": ("pck_10", "share"),
    "pck_05": ("pck_05", "share"),
}


def score_published(
    preset: str, folder: Path, weights: str, backend: str, smpl_model: Path | None = None
) -> tuple[list[Row], str]:
    """The rows of a network on the preset's test split in `folder`, and the words of its protocol.

    `smpl_model`: the body model, for errors of joints and vertices beside those of rotations. Raises `ModelError` where
    the weights are not for this preset, `SourceError` where the data cannot be read.
    """
    from mixsynth_stream.evaluate.preset_score import open_score
    from mixsynth_stream.weights import load_model

    model = load_model(weights, backend)
    check_weights_fit(model, preset, weights)
    more = _body_errors(folder, preset, smpl_model) if smpl_model else None
    score = open_score(preset, folder, model.config, more)
    return score_rows(score.measure(model), preset, weights, score.counts), protocol(preset, model)


def questions(protocol: str) -> dict[str, str]:
    """The questions of the rows in words, for the file of results."""
    return {name: f"{text}{protocol}" for name, text in _QUESTIONS.items()}


def protocol(preset: str, model: Model) -> str:
    """The choices by which papers on short-term prediction differ, in words; empty for the other recipes."""
    from mixsynth_stream.data import h36m
    from mixsynth_stream.presets import PREDICTIONS

    if preset not in PREDICTIONS:
        return ""
    return (
        f"; {model.config.num_keyframes} frames seen at {h36m.PROTOCOL_RATE_HZ:g} Hz, mean over "
        f"{len(h36m.JOINTS_32)} joints, position and rotation of the root zeroed"
    )


def check_weights_fit(model: Model, preset: str, weights: str | Path) -> None:
    """Raise `ModelError` unless these weights take the preset's joints, as its data hold them."""
    from mixsynth_stream.presets import PREDICTIONS, named_preset

    required = named_preset(preset)
    info, config, wrong = model.info, model.config, ""
    if (info.skeleton_joints, info.space) != (required.skeleton.joints, required.space):
        wrong = (
            f"is for {info.skeleton} in {info.space} space, but {preset} has {required.skeleton.name} in "
            f"{required.space} space"
        )
    elif info.normalisation != required.normalisation:
        wrong = (
            f"wants its input normalised as {info.normalisation}, but the data of {preset} are taken as they are "
            f"({required.normalisation})"
        )
    elif info.rate_hz != required.rate_hz:
        wrong = (
            f"is for {info.rate_hz:g} frames a second, but {preset} has {required.rate_hz:g}: its windows would last "
            "another time"
        )
    elif preset in PREDICTIONS and config.num_keyframes != required.step + 1:
        wrong = f"sees {config.num_keyframes} frames, but {preset} has {required.step + 1}"
    elif preset in PREDICTIONS and (config.sample_interval != 1 or config.horizon < 10):
        wrong = (
            f"has N = {config.sample_interval} and H = {config.horizon}, but {preset} asks for every frame (N = 1) and "
            "at least 10 frames ahead"
        )
    if wrong:
        raise ModelError(f"{weights} {wrong}; use weights of that preset")


def score_rows(
    errors: Mapping[str, float],  # "method/metric", or "split/method_at_MS" and "split/method_to_MS" of a prediction
    preset: str,
    weights: str,
    counts: Mapping[str, tuple[int, int]],
) -> list[Row]:
    """The errors of a score as rows, like those of every other evaluation."""
    from mixsynth_stream.evaluate.scores import Row

    rows = []
    for name, value in errors.items():
        split, method = name.split("/")
        question, horizon_ms, metric, unit = "sequence", None, "mpjpe", "mm"
        if split in counts:
            method, convention, milliseconds = method.rsplit("_", 2)
            question, horizon_ms = _CONVENTIONS[convention], int(milliseconds)
        else:
            split, method, (metric, unit) = "test", split, _METRICS[method]
        poses, clips = counts[split]
        row = Row(
            data=f"{preset} {split}",
            model=weights,
            question=question,
            target="clean",
            method=method,
            horizon_ms=horizon_ms,
            metric=metric,
            unit=unit,
            value=value,
            interval=None,
            poses=poses,
            clips=clips,
        )
        rows.append(row)
    return sorted(rows, key=lambda row: list(counts).index(row.data.rpartition(" ")[2]))


def published_table(rows: Sequence[Row], title: str) -> str:
    """A line for each method and a column for each error; for a prediction, both conventions and both sets."""
    from mixsynth_stream.evaluate.report import error_text
    from mixsynth_stream.reports import table

    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        line = row.method if row.horizon_ms is None else f"{row.data.rpartition(' ')[2]}, {row.method}"
        word = "at" if row.question == _CONVENTIONS["at"] else "to"
        column = f"{row.metric}, {row.unit}" if row.horizon_ms is None else f"{word} {row.horizon_ms} ms"
        lines.setdefault(line, {})[column] = error_text(row.value)
    columns = list(dict.fromkeys(column for cells in lines.values() for column in cells))
    body = [[line, *(cells.get(column, "-") for column in columns)] for line, cells in lines.items()]
    conventions = " (mm at the horizon, and averaged to it)" if rows[0].horizon_ms else ""
    return f"{title}{conventions}\n" + table([["", *columns], *body]) + "\n"


def _body_errors(folder: Path, preset: str, smpl_model: Path) -> MoreErrors:
    from mixsynth_stream.data.deciwatch import load_pairs, load_shapes
    from mixsynth_stream.evaluate.smpl import BodyErrors, SmplBody

    body = SmplBody(smpl_model)
    return BodyErrors(body, load_pairs(folder, preset, "test"), load_shapes(folder, preset, "test"))
