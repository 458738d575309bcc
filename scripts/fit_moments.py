"""Print the table of `mixsynth_stream/normalise.py`: second moments of the network's joints, from motion capture.

python scripts/fit_moments.py ../shared/data/cmu_train.npz ../shared/data/extra_train.npz
"""

from __future__ import annotations

import sys

import numpy as np

from mixsynth_stream.data.mocap import core_from_mocap, load_clips
from mixsynth_stream.normalise import root_of
from mixsynth_stream.skeleton import CORE_17, body_part

# Poses a second: neighbours in time say the same.
_RATE_HZ = 2.0


def main() -> int:
    """Moments about the middle of the hips, the same for a body and its mirror image."""
    poses = []
    for path in sys.argv[1:]:
        for clip in load_clips(path):
            core = core_from_mocap(clip.positions)[:: max(1, int(clip.rate_hz / _RATE_HZ))]
            poses.append(core - root_of(core)[:, None])
    every = np.concatenate(poses)
    moments = np.einsum("bid,bjd->ij", every, every) / len(every)
    mirror = list(CORE_17.mirror)
    moments = (moments + moments[np.ix_(mirror, mirror)]) / 2
    parts = list(dict.fromkeys(body_part(name) for name in CORE_17.joints[1:]))
    left, right = ([CORE_17.index(f"{side}_{part}") for part in parts] for side in ("left", "right"))
    print("nose", f"{moments[0, 0]:.3f}", "with", " ".join(f"{moments[0, j]:.3f}" for j in left))
    for title, columns in (("same side", left), ("other side", right)):
        print(title)
        for k, row in enumerate(left):
            print(" ".join(f"{moments[row, column]:.3f}" for column in columns[: k + 1]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
