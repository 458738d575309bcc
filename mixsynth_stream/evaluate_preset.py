"""`evaluate --preset`: a network on the test split of its published recipe, beside what it is compared with there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mixsynth_stream.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mixsynth_stream.evaluate_score import Row
    from mixsynth_stream.train_preset_score import MoreErrors
    from mixsynth_stream.weights import Model

# Options of `evaluate` that mean nothing with a preset.
_FOREIGN = ("model", "video", "keep_dense", "train_data", "detail", "coverage", "plot", "seed")
_QUESTIONS = {
    "sequence": "every frame of the test sequences, put together from windows that overlap",
    "ahead": "the pose at the horizon, counted from the newest keyframe",
    "ahead_mean": "the mean over all steps past the newest keyframe up to the horizon",
}
_CONVENTIONS = {"at": "ahead", "to": "ahead_mean"}
# Names in the score -> metric and unit of a row.
_METRICS = {
    "geodesic_deg": ("geodesic", "degrees"), "mpjpe_mm": ("mpjpe", "mm"), "mpvpe_mm": ("mpvpe", "mm"),
    "accel_mm": ("accel_error", "mm/frame^2"), "pck_20": ("pck_20", "share"), "pck_10": ("pck_10", "share"),
    "pck_05": ("pck_05", "share"),
}  # fmt: skip


def check(args: argparse.Namespace) -> None:
    """Refuse options of `evaluate` that do not go together."""
    if args.preset is None:
        for name in ("weights", "smpl_model"):
            if getattr(args, name) is not None:
                raise ValueError(f"{_option(name)} goes with --preset only; without it --model names the networks")
        return
    foreign = [_option(name) for name in _FOREIGN if getattr(args, name)]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} does not go with --preset, which takes --data, --weights, "
                         "--smpl-model, --backend and --json")  # fmt: skip
    if len(args.data or ()) != 1 or args.weights is None:
        raise ValueError("--preset takes --data FOLDER (docs/data.md says what lies there) and --weights FILE, which "
                         "`train --preset` or `convert` wrote")  # fmt: skip
    if args.smpl_model is not None and "smpl" not in args.preset:
        raise ValueError(f"--smpl-model is for rotations of SMPL, and {args.preset} has none")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def main(args: argparse.Namespace) -> int:
    """Print the table, write the rows where asked."""
    from mixsynth_stream import evaluate_report as report
    from mixsynth_stream.train_preset_score import open_score
    from mixsynth_stream.weights import load_model

    model = load_model(args.weights, args.backend)
    check_fits(model, args.preset, args.weights)
    folder = Path(args.data[0])
    more = _body_errors(folder, args.preset, args.smpl_model) if args.smpl_model else None
    print(f"evaluating {args.weights} on {args.preset}", file=sys.stderr)
    score = open_score(args.preset, folder, model.config, more)
    rows = rows_of(score.measure(model), args.preset, str(args.weights), score.counts)
    about = protocol(args.preset, model)
    report.write_text(table(rows, f"{args.preset}: {args.weights}{about}"))
    if args.json:
        report.write_json(args.json, rows, {name: f"{text}{about}" for name, text in _QUESTIONS.items()})
    return 0


def protocol(preset: str, model: Model) -> str:
    """What figures of short-term prediction differ by from paper to paper; nothing for the other recipes."""
    from mixsynth_stream.data import h36m

    if preset != "h36m-prediction":
        return ""
    return (
        f"; {model.config.num_keyframes} frames seen at {h36m.PROTOCOL_RATE_HZ:g} Hz, mean over "
        f"{len(h36m.JOINTS_32)} joints, position and rotation of the root zeroed"
    )


def check_fits(model: Model, preset: str, weights: str | Path) -> None:
    """Raise `ModelError` unless these weights take the preset's joints, as its data hold them."""
    from mixsynth_stream.convert_presets import PREDICTION, PRESETS

    wanted = PRESETS.get(preset, PREDICTION)
    info, config = model.info, model.config
    if (info.skeleton_joints, info.space) != (wanted.skeleton.joints, wanted.space):
        raise ModelError(f"{weights} is for {info.skeleton} in {info.space} space, but {preset} has "
                         f"{wanted.skeleton.name} in {wanted.space} space; use weights of that preset")  # fmt: skip
    if info.normalisation != wanted.normalisation:
        raise ModelError(f"{weights} wants its input normalised as {info.normalisation}, but the data of {preset} are "
                         f"taken as they are ({wanted.normalisation}); use weights of that preset")  # fmt: skip
    if info.rate_hz != wanted.rate_hz:
        raise ModelError(f"{weights} is for {info.rate_hz:g} frames a second, but {preset} has {wanted.rate_hz:g}: its "
                         "windows would last another time; use weights of that preset")  # fmt: skip
    if wanted is PREDICTION and (config.sample_interval != 1 or config.horizon < 10):
        raise ModelError(f"{weights} has N = {config.sample_interval} and H = {config.horizon}, but {preset} asks for "
                         "every frame (N = 1) and at least 10 frames ahead; use weights of that preset")  # fmt: skip


def rows_of(
    values: Mapping[str, float],  # "method/metric", or "split/method_at_MS" and "split/method_to_MS" of a prediction
    preset: str,
    weights: str,
    counts: Mapping[str, tuple[int, int]],
) -> list[Row]:
    """The score's numbers as rows, like those of every other evaluation."""
    from mixsynth_stream.evaluate_score import Row

    found = []
    for name, value in values.items():
        split, method = name.split("/")
        question, horizon_ms, metric, unit = "sequence", None, "mpjpe", "mm"
        if split in counts:
            method, convention, milliseconds = method.rsplit("_", 2)
            question, horizon_ms = _CONVENTIONS[convention], int(milliseconds)
        else:
            split, method, (metric, unit) = "test", split, _METRICS[method]
        poses, clips = counts[split]
        found.append(Row(data=f"{preset} {split}", model=weights, question=question, target="clean", method=method,
                         horizon_ms=horizon_ms, metric=metric, unit=unit, value=value, interval=None, poses=poses,
                         clips=clips))  # fmt: skip
    return sorted(found, key=lambda row: list(counts).index(row.data.rpartition(" ")[2]))


def table(rows: Sequence[Row], title: str) -> str:
    """A line a method, a column an error; of a prediction, both conventions and both sets."""
    from mixsynth_stream import evaluate_report as report

    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        line = row.method if row.horizon_ms is None else f"{row.data.rpartition(' ')[2]}, {row.method}"
        word = "at" if row.question == _CONVENTIONS["at"] else "to"
        column = f"{row.metric}, {row.unit}" if row.horizon_ms is None else f"{word} {row.horizon_ms} ms"
        lines.setdefault(line, {})[column] = f"{row.value:.{3 if row.value < 10 else 1}f}"
    columns = list(dict.fromkeys(column for cells in lines.values() for column in cells))
    body = [[line, *(cells.get(column, "-") for column in columns)] for line, cells in lines.items()]
    both = " (mm at the horizon, and averaged to it)" if rows[0].horizon_ms else ""
    return f"{title}{both}\n" + report.aligned([["", *columns], *body])


def _body_errors(folder: Path, preset: str, smpl_model: Path) -> MoreErrors:
    from mixsynth_stream.data.deciwatch import load_pairs, load_shapes
    from mixsynth_stream.evaluate_smpl import BodyErrors, SmplBody

    body = SmplBody(smpl_model)
    return BodyErrors(body, load_pairs(folder, preset, "test"), load_shapes(folder, preset, "test"))
