"""`info`: versions, backends, weights, kernels, pose models and cameras of this machine."""

from __future__ import annotations

import argparse
import importlib
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import TYPE_CHECKING

from mixsynth_stream.console import shown
from mixsynth_stream.reports import PACKAGES

if TYPE_CHECKING:
    from mixsynth_stream.kernels.plan import Plan

# The packages that decide results and speed: first those of the base install, then those of the extras.
_PACKAGES = (*PACKAGES, "safetensors", "torch", "triton")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `info`."""
    parser.add_argument(
        "--cameras", action="store_true", help="the cameras of this machine, with their sizes, rates and pixel formats"
    )


def main(args: argparse.Namespace) -> int:
    """Print the tables."""
    from mixsynth_stream import __version__

    if args.cameras:
        _print_table("cameras", _camera_rows(with_modes=True))
        return 0
    print(f"mixsynth-stream {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print("  " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    _print_table("backends", _backend_rows())
    _print_table("weights", _weight_rows())
    _print_table("encoder", _encoder_rows())
    _print_table("kernels", _kernel_rows())
    _print_table("pose models", _pose_model_rows())
    _print_table("cameras", _camera_rows())
    return 0


def _print_table(title: str, rows: Iterable[tuple[str, ...]]) -> None:
    rows = list(rows)
    # A row of one cell is a remark on the whole table.
    columns = zip(*(row for row in rows if len(row) > 1), strict=True)
    widths = [max(map(len, column)) for column in columns] or [0]
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _backend_rows() -> list[tuple[str, ...]]:
    from mixsynth_stream.backend import available_backends

    rows = available_backends()
    return [(row.name, "ready" if row.ready else "missing", row.device, row.about) for row in rows]


def _weight_rows() -> list[tuple[str, ...]]:
    from mixsynth_stream.files import ASSETS
    from mixsynth_stream.weights import load_weights, shipped_models

    rows: list[tuple[str, ...]] = []
    data: dict[str, None] = {}  # without repeats, in order
    for name in shipped_models():
        state, config, info = load_weights(ASSETS / f"{name}.safetensors")
        numbers = sum(value.size for value in state.values())
        shape = (
            f"N {config.sample_interval}, Q {config.step}, H {config.horizon}, C {config.emb_dim}, "
            f"L {config.num_encoder_layers}"
        )
        about = f"{info.space} space, {info.skeleton}, {info.normalisation} normalisation"
        sigma = "with sigma" if info.uncertainty is not None else "without sigma"
        rows.append((name, about, shape, f"{numbers / 1000:.0f} k parameters", sigma, info.date))
        data[info.data] = None
    return [*rows, *((f"trained on {text}",) for text in data)] if rows else [("none",)]


def _encoder_rows() -> list[tuple[str, ...]]:
    """The table of the README, which `bench encoder` made, and the time of a window on this machine."""
    from mixsynth_stream.files import ASSETS

    lines = (ASSETS / "encoder_speed.tsv").read_text(encoding="utf-8").splitlines()
    rows: list[tuple[str, ...]] = [tuple(line.split("\t")) for line in lines]
    return [*rows, (_measured_speed(),)]


def _measured_speed() -> str:
    """One line on how long a window takes on this machine."""
    import time

    import numpy as np

    from mixsynth_stream.errors import ModelError
    from mixsynth_stream.weights import load_model, shipped_models

    try:
        name = next(iter(shipped_models()))
        model = load_model(name, backend="native")
    except (StopIteration, ModelError, ValueError) as error:
        return f"here: not measured, {error or 'no weights'}"
    keyframes = np.zeros((1, model.config.num_keyframes, model.config.joint_dim), np.float32)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        model(keyframes)
        times.append(time.perf_counter() - start)
    bits = importlib.import_module("mixsynth_stream._C").simd_bits()
    return f"here: {name} takes {1e6 * np.median(times):.0f} µs a window in registers of {bits} bits"


def _kernel_rows() -> list[tuple[str, ...]]:
    """How many launches a forward and a training step take on a card for which the fused kernels are made."""
    from mixsynth_stream.kernels.plan import FUSED_CAPABILITY, FUSED_PROGRAMS, plan_for
    from mixsynth_stream.kernels.training.tile import TrainingTile
    from mixsynth_stream.presets import published_shapes, shipped_shapes

    large_batch = 4096
    shapes = published_shapes() | shipped_shapes()
    groups: dict[tuple[str, str], list[str]] = {}  # shapes with the same plans are one row
    for name, shape in shapes.items():
        sizes = (1, large_batch)
        one, batch = (_forward_launches(plan_for(shape, "bf16", windows, FUSED_PROGRAMS)) for windows in sizes)
        groups.setdefault((one, batch), []).append(name)
    rows: list[tuple[str, ...]] = [
        (", ".join(names), one if one == batch else f"one window: {one}; {large_batch}: {batch}")
        for (one, batch), names in groups.items()
    ]
    capability = ".".join(map(str, FUSED_CAPABILITY))
    tiles = (TrainingTile.of_layer(shape, "bf16") for shape in shapes.values())
    training = " or ".join(sorted({_training_launches(tile.large) for tile in tiles}))
    remarks = (
        f"Triton, bf16, compute capability {capability}; older cards and strict take more launches",
        f"training: {training}; in windows that one program cannot hold, products of both branches by the library",
    )
    return [*rows, *((remark,) for remark in remarks)]


def _forward_launches(plan: Plan) -> str:
    """The launches of one forward, in words."""
    count, layers, windows = len(plan.launches), plan.tile.layers, plan.tile.windows
    if count == 1:
        words = "one launch for the network"
    elif count == layers:
        words = "one launch a layer"
    elif plan.in_blocks:
        words = "4 launches a layer and one for each end"
    else:
        words = f"{count // layers} launches a layer" + (" and one before" if count % layers else "")
    words += f", {count} in all" if count > 1 else ""
    if plan.in_blocks:
        return f"{words}, windows in blocks"
    return f"{words}, {windows} windows in a program" if windows > 1 else words


def _training_launches(large: bool) -> str:
    """The launches of one layer in training, in words."""
    words = "4 launches a layer forward and 8 backwards"
    return words + (", products of both branches by the library" if large else "")


def _pose_model_rows() -> list[tuple[str, ...]]:
    from mixsynth_stream.errors import ModelError
    from mixsynth_stream.pipeline.estimators.bundle import MODELS, bundle_path, official
    from mixsynth_stream.pipeline.estimators.movenet import MOVENETS, movenet_path

    rows: list[tuple[str, ...]] = []
    for model in MODELS:
        try:
            size = f"{bundle_path(model).stat().st_size / 1e6:.1f} MB"
        except ModelError:
            rows.append((model, "not there; scripts/build_pose_bundle.py in a checkout makes it"))
        else:
            rows.append((model, f"{size}, its segmentation head cut"))
            rows.append((official(model), f"{size}, as published: the same numbers, slower"))
    for model in MOVENETS:
        try:
            rows.append((model, f"{movenet_path(model).stat().st_size / 1e6:.1f} MB, COCO-17 without world poses"))
        except ModelError:
            rows.append((model, "not there; scripts/build_movenet.py in a checkout makes it"))
    return rows


def _camera_rows(*, with_modes: bool = False) -> list[tuple[str, ...]]:
    from mixsynth_stream.pipeline.sources.live.cameras import cameras, modes

    rows: list[tuple[str, ...]] = []
    for camera in cameras():
        rows.append((f"{camera.number}", shown(camera.name), camera.path))
        if with_modes:
            rows += [("", shown(mode), "") for mode in modes(camera)]
    return rows or [("none found: connect one",)]
