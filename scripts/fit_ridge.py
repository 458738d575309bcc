#!/usr/bin/env python3
"""Fit the ridge regressions that `evaluate` compares with, and write them into benchmarks/ridge.

    python scripts/fit_ridge.py TRAIN.npz [TRAIN.npz ...]

They are fitted to the training windows of the shipped weights. With them `evaluate` needs no training clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.evaluate.baselines import tuned
from mixsynth_stream.evaluate.ridge import RIDGE_FOLDER, ridge_sums, save_ridge
from mixsynth_stream.presets import SHIPPED_INTERVALS, shipped_config, shipped_name
from mixsynth_stream.spaces import LANDMARK_SPACES, SPACES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="TRAIN.npz")
    parser.add_argument("--every", type=int, nargs="+", default=SHIPPED_INTERVALS, metavar="N")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / RIDGE_FOLDER, metavar="DIR")
    args = parser.parse_args()
    clips = [clip for path in args.files for clip in load_clips(path)]
    args.out.mkdir(parents=True, exist_ok=True)
    for every in args.every:
        for space in LANDMARK_SPACES:
            sums = ridge_sums(clips, shipped_config(space, every), space, SPACES[space].normalisation)
            path = args.out / f"{shipped_name(space, every)}.npz"
            save_ridge(path, sums.fit(tuned(space, every).ridge_strength))
            print(path)


if __name__ == "__main__":
    main()
