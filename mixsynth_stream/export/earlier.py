"""Earlier results: what an earlier run of ours has left in a folder, known by its name and its contents together.

A file of the user's own with the name of a result is none of ours: it is neither removed nor written over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import av
import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.draw.png import SOFTWARE_KEY
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export.csv_long import FORECAST_KEYS, KEYS
from mixsynth_stream.export.header import FORMAT, PROGRAM
from mixsynth_stream.export.npz import is_array_folder
from mixsynth_stream.export.parquet import is_parquet_folder, is_parquet_result
from mixsynth_stream.files import output_error, part_path, remove_part
from mixsynth_stream.skeleton import LANDMARKS

_RESULT = re.compile(
    r"poses\.(?:jsonl|csv|npz|parquet)|poses_forecast\.(?:csv|parquet)|poses_person\d+\.trc|overlay\.mp4|plot\.png"
)
_HEAD_BYTES = 4096


def results_in(folder: Path) -> list[Path]:
    """The results of earlier runs in a folder, and what runs that were killed have left of theirs (`.part`)."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if _RESULT.fullmatch(path.name.removesuffix(".part")) and is_result(path)]


def is_result(path: Path) -> bool:
    """Whether the contents of a file with the name of a result are those of one. A part may break off anywhere."""
    name, is_part = path.name.removesuffix(".part"), path.name.endswith(".part")
    try:
        if path.is_dir():
            folders = {".npz": is_array_folder, ".parquet": is_parquet_folder}
            return is_part and folders[Path(name).suffix](path)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if is_part and not head:
            return True
        return _KINDS[Path(name).suffix](path, head)
    except Exception:  # a file of somebody else may hold anything, and its readers may raise anything
        return False


def clear(folder: Path, keep: Collection[Path]) -> None:
    """Remove the results of earlier runs, but for `keep`. Raises `OutputError` after all others are gone."""
    first_error = None
    for path in results_in(folder):
        if path not in keep:
            try:
                _remove(path)
            except OSError as error:
                first_error = first_error or output_error(path, error, "it is of an earlier run: remove it")
    if first_error is not None:
        raise first_error


def refuse_strangers(folder: Path, formats: Sequence[str], *, overlay: bool, plot: bool) -> None:
    """`OutputError` where a run of these outputs would write over a file that is none of ours."""
    names = [f"poses.{name}" for name in formats if name != "trc"]
    names += [f"poses_forecast.{name}" for name in ("csv", "parquet") if name in formats]
    names += ["overlay.mp4"] * overlay + ["plot.png"] * plot
    paths = [folder / name for name in names] + (sorted(folder.glob("poses_person*.trc")) if "trc" in formats else [])
    for path in paths + [part_path(path) for path in paths]:
        # A folder with the name of a result is refused where the result is opened.
        is_in_the_way = path.is_symlink() or (path.exists() and (path.suffix == ".part" or not path.is_dir()))
        if is_in_the_way and _RESULT.fullmatch(path.name.removesuffix(".part")) and not is_result(path):
            raise OutputError(
                f"{shown(path)} would be written over, and it is no result of mixsynth-stream: move it away, "
                "or give another folder (--out)"
            )


def _remove(path: Path) -> None:
    if path.suffix == ".part":
        remove_part(path.with_suffix(""))
    else:
        path.unlink()


def _is_jsonl(_: Path, head: bytes) -> bool:
    start = json.dumps({"format": FORMAT}, separators=(",", ":"))[:-1].encode()
    return head.startswith(start)


def _is_csv(_: Path, head: bytes) -> bool:
    columns = head.split(b"\n")[0].decode("ascii").split(",")
    return any(columns[: len(keys)] == list(keys) for keys in (KEYS, FORECAST_KEYS)) and "origin" in columns


def _is_trc(_: Path, head: bytes) -> bool:
    lines = head.decode("utf-8", "replace").split("\n")
    names = ["\t\t\t".join(skeleton.joints) for skeleton in LANDMARKS]
    return lines[0].startswith("PathFileType\t4\t") and lines[3] in [f"Frame#\tTime\t{row}\t\t" for row in names]


def _is_npz(path: Path, _: bytes) -> bool:
    with np.load(path, allow_pickle=False) as arrays:
        return "header" in arrays and json.loads(str(arrays["header"])).get("format") == FORMAT


def _is_parquet(path: Path, _: bytes) -> bool:
    return is_parquet_result(path)


def _is_png(_: Path, head: bytes) -> bool:
    return SOFTWARE_KEY + PROGRAM.encode() in head


def _is_mp4(path: Path, head: bytes) -> bool:
    if path.suffix == ".part" and path.stat().st_size < _HEAD_BYTES and b"moov" not in head and b"mdat" not in head:
        return head[4:8] == b"ftyp"  # the first second of a video: nothing is in it yet
    with av.open(f"file:{path}") as container:
        return container.metadata.get("comment", "").startswith(f"made by {PROGRAM}")


_KINDS = {
    ".jsonl": _is_jsonl,
    ".csv": _is_csv,
    ".trc": _is_trc,
    ".npz": _is_npz,
    ".parquet": _is_parquet,
    ".png": _is_png,
    ".mp4": _is_mp4,
}
