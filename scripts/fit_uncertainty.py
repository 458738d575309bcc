#!/usr/bin/env python3
"""Give a weight file its uncertainty table, and print how often the table's bounds hold on other clips.

    python scripts/fit_uncertainty.py WEIGHTS.safetensors --data TRAIN.npz [TRAIN.npz ...] [--out FILE]
    python scripts/fit_uncertainty.py WEIGHTS.safetensors --check VALIDATION.npz [VALIDATION.npz ...]

Both options together fit first and check afterwards. The same seed gives the same table. A fit takes half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.fit_uncertainty import coverage, coverage_table, with_uncertainty
from mixsynth_stream.weights import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS.safetensors")
    parser.add_argument("--data", nargs="+", type=Path, default=[], metavar="NPZ", help="clips to fit on")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: over the weights)")
    parser.add_argument("--check", nargs="+", type=Path, default=[], metavar="NPZ", help="clips to check on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.data and not args.check:
        parser.error("give --data to fit a table, --check to check the one that is there, or both")
    path = args.weights
    if args.data:
        path = with_uncertainty(path, [load_clips(file) for file in args.data], args.out, seed=args.seed)
        print(f"{path} has its uncertainty table")
    if args.check:
        model = load_model(path)
        for file in args.check:
            print(coverage_table(coverage(model, load_clips(file), data=file.stem, name=path.stem, seed=args.seed)))


if __name__ == "__main__":
    main()
