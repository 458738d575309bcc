#!/usr/bin/env python3
"""Give a weight file its uncertainty table, and print how often the table's bounds hold on other clips.

    python scripts/fit_uncertainty.py WEIGHTS --data TRAIN.npz ... [--unseen VALIDATION.npz ...] [--out FILE]
    python scripts/fit_uncertainty.py WEIGHTS --check VALIDATION.npz ...

The network knows its training clips a little better than others. So every second clip of --unseen is fitted, too, and
sets the level of the table; a file that is also in --check is checked on the clips between. The same seed gives the
same table. A fit takes half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.evaluate.coverage import coverage, coverage_summary, coverage_table, every_second
from mixsynth_stream.evaluate.sigma_fit import with_uncertainty
from mixsynth_stream.weights import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS.safetensors")
    parser.add_argument("--data", nargs="+", type=Path, default=[], metavar="NPZ", help="clips to fit on")
    parser.add_argument("--unseen", nargs="+", type=Path, default=[], metavar="NPZ", help="clips to set the level by")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: over the weights)")
    parser.add_argument("--check", nargs="+", type=Path, default=[], metavar="NPZ", help="clips to check on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.data and not args.check:
        parser.error("give --data to fit a table, --check to check the one that is there, or both")
    path = args.weights
    if args.data:
        files, unseen = [load_clips(file) for file in args.data], [load_clips(file)[::2] for file in args.unseen]
        path = with_uncertainty(path, files, args.out, unseen=unseen, seed=args.seed)
        print(f"{path} has its uncertainty table")
    if args.check:
        model = load_model(path)
        by_file = []
        for file in args.check:
            clips = every_second(load_clips(file)) if file in args.unseen else load_clips(file)
            by_file.append(coverage(model, clips, data=file.stem, name=path.stem, seed=args.seed))
            print(coverage_table(by_file[-1]))
        print(coverage_summary(by_file))


if __name__ == "__main__":
    main()
