#!/usr/bin/env python3
"""Make the training npz from public motion capture; docs/data.md says where to get it.

    python scripts/make_mocap_npz.py --asf-amc CMU/subjects --out cmu.npz
    python scripts/make_mocap_npz.py --bvh cmu-bvh --unit cmu --out cmu.npz
    python scripts/make_mocap_npz.py --ui-prmd "Segmented Movements/Vicon/Positions" --out ui.npz

ASF/AMC: every .amc beside its subject's .asf (CMU's own layout: subjects/07/07.asf, subjects/07/07_01.amc). Files that
do not fit are named and left out; with --strict the first one ends the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from mixsynth_stream.data.asf_amc import read_asf_amc
from mixsynth_stream.data.bvh import read_bvh
from mixsynth_stream.data.mocap import Clip
from mixsynth_stream.data.mocap_sources import (
    clip_of,
    mocap_from_asf,
    mocap_from_bvh,
    mocap_from_markers,
    read_ui_prmd,
    save_clips,
)
from mixsynth_stream.data.sequences import METRES_PER_UNIT
from mixsynth_stream.errors import SourceError


def sources(args: argparse.Namespace) -> Iterator[Path]:
    """Files to read, in a fixed order."""
    if args.asf_amc:
        yield from sorted(args.asf_amc.rglob("*.amc"))
    elif args.bvh:
        yield from sorted(args.bvh.rglob("*.bvh"))
    else:
        yield from sorted(args.ui_prmd.rglob("*_positions*.txt"))


def clip(path: Path, args: argparse.Namespace) -> Clip:
    """One file as a clip at 30 Hz."""
    if args.asf_amc:
        skeletons = sorted(path.parent.glob("*.asf"))
        if len(skeletons) != 1:
            raise SourceError(f"{path.parent} holds {len(skeletons)} .asf files, expected the one of its subject")
        return clip_of(mocap_from_asf(read_asf_amc(skeletons[0], path, args.rate_hz)), "asf")
    if args.bvh:
        # CMU's trials are named SUBJECT_TRIAL.bvh.
        subject = path.stem.split("_")[0]
        return clip_of(mocap_from_bvh(read_bvh(path, args.unit, subject)), "bvh")
    return clip_of(mocap_from_markers(read_ui_prmd(path)), "uiprmd")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--asf-amc", type=Path, metavar="DIR")
    given.add_argument("--bvh", type=Path, metavar="DIR")
    given.add_argument("--ui-prmd", type=Path, metavar="DIR")
    parser.add_argument("--unit", choices=list(METRES_PER_UNIT), default="cmu", help="of BVH files (default: cmu)")
    parser.add_argument("--rate-hz", type=float, default=120.0, help="of AMC files, which do not say (default: 120)")
    parser.add_argument("--subjects", nargs="+", metavar="NAME", help="keep these only, for a split by people")
    parser.add_argument("--licence", default="not stated", help="kept in the file")
    parser.add_argument("--strict", action="store_true", help="end at the first file that does not fit")
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ")
    args = parser.parse_args()
    clips, left_out = [], 0
    for path in sources(args):
        try:
            one = clip(path, args)
        except SourceError as error:
            if args.strict:
                print(error, file=sys.stderr)
                return 3
            left_out += 1
            print(f"left out: {error}", file=sys.stderr)
            continue
        if not args.subjects or one.subject in args.subjects:
            clips.append(one)
    if not clips:
        print(f"no clip was found; {left_out} files were left out", file=sys.stderr)
        return 3
    save_clips(args.out, clips, args.licence)
    minutes = sum(len(c.positions) / c.rate_hz for c in clips) / 60
    print(f"{args.out}: {len(clips)} clips of {len({c.subject for c in clips})} people, {minutes:.1f} minutes; "
          f"{left_out} files left out")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
