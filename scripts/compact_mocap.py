#!/usr/bin/env python3
"""Make a motion-capture file small enough to keep in a repository: positions rounded to 1/4096 m, then compressed.

    python scripts/compact_mocap.py FILE.npz OUT.npz

The result has the keys and types of the input; rounding moves a joint by at most 0.12 mm along an axis. The bytes
depend on the input only (zip times are fixed), so anybody can repeat them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mixsynth_stream.data.recordings import rounded
from mixsynth_stream.files import write_arrays


def compact(source: Path, target: Path) -> float:
    """Write `target` and return the largest change of a coordinate in metres."""
    with np.load(source, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    exact = arrays["positions"]
    arrays["positions"] = rounded(exact)
    write_arrays(target, arrays)
    return float(np.abs(arrays["positions"] - exact).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="FILE.npz")
    parser.add_argument("target", type=Path, metavar="OUT.npz")
    args = parser.parse_args()
    change_m = compact(args.source, args.target)
    sizes = [path.stat().st_size / 1e6 for path in (args.source, args.target)]
    print(f"{args.target}: {sizes[0]:.2f} -> {sizes[1]:.2f} MB, coordinates moved by at most {change_m * 1000:.3f} mm")


if __name__ == "__main__":
    main()
