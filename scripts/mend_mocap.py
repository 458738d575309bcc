#!/usr/bin/env python3
"""Mend motion capture for training: joints where BlazePose has them, by the source of each clip (data/mending.py).

    python scripts/mend_mocap.py cmu_train.npz extra_train.npz --licence "CMU free for any use" --out data
    python scripts/mend_mocap.py snu_val.npz --sources snu_basket --minutes 4 --name basket_val --out benchmarks/mocap
    python scripts/mend_mocap.py mine.npz --rig uiprmd --out data

DIR/NAME.npz has the network's 17 joints, rounded to 1/4096 m. Left out are clips without a bone of the spine, and
those of dmtxt whose trial another clip of the files has with all bones. Where clips do not say their source, or it is
not known, --rig names one whose joints are in the same places.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mixsynth_stream.data.mending import RATIOS, RIGS, mended, ratios
from mixsynth_stream.data.mocap import Clip, load_clips
from mixsynth_stream.data.recordings import rounded, save_clips
from mixsynth_stream.data.sources import source_rows
from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.files import make_folder
from mixsynth_stream.reports import table

# An excerpt is made of pieces this long: each as long as some windows, and so many that all motion is in it.
PIECE_S = 15.0
# The end of the names of trials in files of simplified figures.
SIMPLIFIED = "_dm"


def whole_figures(files: Sequence[Sequence[Clip]]) -> list[list[Clip]]:
    """The files without simplified figures of trials that one of them has with all bones."""
    trials = {clip.name.partition("#")[0] for clips in files for clip in clips if clip.source != "dmtxt"}
    return [
        [c for c in clips if c.source != "dmtxt" or c.name.partition("#")[0].removesuffix(SIMPLIFIED) not in trials]
        for clips in files
    ]


def excerpt(clips: Sequence[Clip], minutes: float) -> list[Clip]:
    """Every k-th piece of PIECE_S of all clips, so that about so many minutes are left."""
    pieces = []
    for clip in clips:
        size = round(PIECE_S * clip.rate_hz)
        for start in range(0, len(clip.positions), size):
            # The rest of a clip is a piece, too, where it is half as long.
            if len(clip.positions) - start >= min(size / 2, len(clip.positions)):
                name = clip.name if len(clip.positions) <= size else f"{clip.name}@{start / clip.rate_hz:g}s"
                pieces.append(replace(clip, name=name, positions=clip.positions[start : start + size]))
    total = sum(len(piece.positions) / piece.rate_hz for piece in pieces) / 60
    count = min(len(pieces), max(1, round(len(pieces) * minutes / total)))
    return [pieces[number] for number in np.linspace(0, len(pieces) - 1, count).round().astype(int)]


def ratio_rows(recorded: Sequence[Clip], result: Sequence[Clip]) -> list[list[str]]:
    """Medians of the proportions of every source, as recorded and mended, beside those of people."""
    rows = [["", *(name.replace("_", " ") for name in RATIOS)], ["people", *(f"{v:.2f}" for v in RATIOS.values())]]
    for source in sorted({clip.source for clip in result}):
        for label, clips in (("as recorded", recorded), ("mended", result)):
            values = ratios(np.concatenate([clip.core for clip in clips if clip.source == source]))
            rows.append([f"{source}, {label}", *(f"{values[name]:.2f}" for name in RATIOS)])
    return rows


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--name", help="of the result, where one file is given (default: the file's)")
    parser.add_argument("--sources", nargs="+", metavar="SOURCE", help="keep clips of these only")
    parser.add_argument("--minutes", type=float, help="keep about so many of each file, spread over all of its clips")
    parser.add_argument("--rig", choices=RIGS, default="", help="where the joints are (default: by the clips' source)")
    parser.add_argument("--ratios", action="store_true", help="print the proportions of each source, before and after")
    parser.add_argument("--licence", default="not stated", help="of clips that state none")
    args = parser.parse_args(words)
    if args.name and len(args.files) > 1:
        parser.error("--name goes with one file; several keep their names")
    if args.minutes is not None and not args.minutes > 0:
        parser.error(f"--minutes must be positive, found {args.minutes:g}")
    targets = [args.out / f"{args.name or path.stem}.npz" for path in args.files]
    for path, target in zip(args.files, targets, strict=True):
        if target.resolve() == path.resolve() or targets.count(target) > 1:
            parser.error(f"{target} would be written over or twice; give another --out, or the files one by one")
    return argparse.Namespace(**vars(args), targets=targets)


def mend(args: argparse.Namespace) -> None:
    files = whole_figures([load_clips(path) for path in args.files])
    results, recorded, everything = [], [], []
    for path, clips in zip(args.files, files, strict=True):
        selection = [clip for clip in clips if not args.sources or clip.source in args.sources]
        if not selection:
            sources = ", ".join(sorted({clip.source for clip in clips}))
            raise SourceError(f"{path} has no clips of {' or '.join(args.sources)}; its sources are {sources}")
        result, left_out = mended(selection, args.rig)
        if left_out:
            print(f"left out {len(left_out)} of {len(selection)} clips of {path}: {left_out[0]}", file=sys.stderr)
        if not result:
            raise SourceError(f"{path} has no whole clip left; look at its joints")
        result = excerpt(result, args.minutes) if args.minutes else result
        results.append([replace(c, positions=rounded(c.positions), licence=c.licence or args.licence) for c in result])
        recorded += selection
        everything += results[-1]
    for target, result in zip(args.targets, results, strict=True):
        make_folder(target)
        save_clips(target, result, args.licence)
        print(f"{target}: {len(result)} clips, {target.stat().st_size / 1e6:.2f} MB")
    print(table(source_rows(everything)))
    if args.ratios:
        print(table(ratio_rows(recorded, everything)))


def main(words: Sequence[str] | None = None) -> int:
    args = arguments(words)
    try:
        mend(args)
    except (SourceError, OutputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, SourceError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
