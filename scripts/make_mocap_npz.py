#!/usr/bin/env python3
"""Make the training npz from public motion capture; docs/data.md says where to get it.

    python scripts/make_mocap_npz.py --asf-amc CMU/subjects --out cmu.npz
    python scripts/make_mocap_npz.py --bvh cmu-bvh --unit cmu --out cmu.npz
    python scripts/make_mocap_npz.py --c3d recordings --out markers.npz
    python scripts/make_mocap_npz.py --ui-prmd "Segmented Movements/Vicon/Positions" --out ui.npz

ASF/AMC: every .amc beside its subject's .asf (CMU's own layout: subjects/07/07.asf, subjects/07/07_01.amc). BVH and
C3D: a file's name begins with the person, up to its first _. Files that do not fit are named and left out; with
--strict the first one ends the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mixsynth_stream.data.asf_amc import read_asf_amc
from mixsynth_stream.data.bvh import read_bvh
from mixsynth_stream.data.c3d import read_c3d
from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.data.recordings import (
    BODY_MARKERS,
    clip_of,
    mocap_from_asf,
    mocap_from_bvh,
    mocap_from_markers,
    read_ui_prmd,
    save_clips,
    upright,
)
from mixsynth_stream.data.sequences import METRES_PER_UNIT
from mixsynth_stream.errors import ModelError, OutputError, SourceError

# Endings of the files of each kind.
ENDINGS = {"asf_amc": ".amc", "bvh": ".bvh", "c3d": ".c3d", "ui_prmd": ".txt"}
# A marker moves nearly along a line while it is lost for so short a time.
LONGEST_GAP_S = 0.1


def sources(folder: Path, kind: str) -> list[Path]:
    """Files to read, in a fixed order."""
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ENDINGS[kind])
    if kind == "ui_prmd":
        files = [path for path in files if "_positions" in path.stem]
    if not files:
        pattern = "*_positions*.txt" if kind == "ui_prmd" else f"*{ENDINGS[kind]}"
        raise SourceError(f"{folder} and the folders in it hold no {pattern}")
    return files


def read_clip(path: Path, kind: str, args: argparse.Namespace) -> Clip:
    """One file as a clip at 30 Hz."""
    subject = path.stem.split("_")[0]
    if kind == "asf_amc":
        skeletons = [file for file in sorted(path.parent.iterdir()) if file.suffix.lower() == ".asf"]
        if len(skeletons) != 1:
            raise SourceError(f"{path.parent} holds {len(skeletons)} .asf files, expected the one of its subject")
        return clip_of(mocap_from_asf(read_asf_amc(skeletons[0], path, args.rate_hz)), "asf")
    if kind == "bvh":
        return clip_of(upright(mocap_from_bvh(read_bvh(path, args.unit, subject)), args.up or "y"), "bvh")
    if kind == "c3d":
        markers = read_c3d(path, BODY_MARKERS, subject, longest_gap_s=LONGEST_GAP_S)
        return clip_of(upright(mocap_from_markers(markers), args.up or "z"), "c3d")
    return clip_of(mocap_from_markers(read_ui_prmd(path)), "uiprmd")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with `kind` for the folder among them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = parser.add_mutually_exclusive_group(required=True)
    for kind in ENDINGS:
        folder.add_argument(f"--{kind.replace('_', '-')}", type=Path, metavar="DIR")
    parser.add_argument("--unit", choices=list(METRES_PER_UNIT), default="cmu", help="of BVH files (default: cmu)")
    parser.add_argument(
        "--up", choices=("y", "z"), help="axis that points up (default: y in BVH files, z in C3D files)"
    )
    parser.add_argument("--rate-hz", type=float, default=120.0, help="of AMC files, which do not say (default: 120)")
    parser.add_argument("--subjects", nargs="+", metavar="NAME", help="keep these only, for a split by people")
    parser.add_argument("--licence", default="not stated", help="kept in the file")
    parser.add_argument("--strict", action="store_true", help="end at the first file that does not fit")
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ")
    args = parser.parse_args(words)
    kind = next(kind for kind in ENDINGS if getattr(args, kind))
    if args.up and kind not in ("bvh", "c3d"):
        parser.error("--up goes with --bvh and --c3d; in the other formats it is known")
    if args.out.suffix != ".npz":
        parser.error(f"--out must end in .npz, found {args.out}")
    if not args.out.absolute().parent.is_dir():
        parser.error(f"--out: there is no folder {args.out.parent}")
    return argparse.Namespace(**vars(args), kind=kind)


def read_clips(args: argparse.Namespace) -> tuple[list[Clip], int]:
    """The clips of the people in `args.subjects` or of all people, and the number of files that were left out."""
    clips, left_out = [], 0
    for path in sources(getattr(args, args.kind), args.kind):
        try:
            clips.append(read_clip(path, args.kind, args))
        except SourceError as error:
            if args.strict:
                raise
            left_out += 1
            print(f"left out: {error}", file=sys.stderr)
    if not clips:
        raise SourceError(f"no clip was found; {left_out} files were left out")
    people = sorted({clip.subject for clip in clips})
    selection = [clip for clip in clips if not args.subjects or clip.subject in args.subjects]
    if not selection:
        raise SourceError(f"nobody is called {' or '.join(args.subjects)}; the files are of {', '.join(people)}")
    return selection, left_out


def main(words: Sequence[str] | None = None) -> int:
    args = arguments(words)
    try:
        clips, left_out = read_clips(args)
        save_clips(args.out, clips, args.licence)
    except (SourceError, ModelError, OutputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return {SourceError: 3, ModelError: 4, OutputError: 1}[type(error)]
    minutes = sum(len(c.positions) / c.rate_hz for c in clips) / 60
    print(
        f"{args.out}: {len(clips)} clips of {len({c.subject for c in clips})} people, {minutes:.1f} minutes; "
        f"{left_out} files left out"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
