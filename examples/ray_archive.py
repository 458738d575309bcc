"""An archive through Ray Data, for a pipeline of your own: a row a frame and person, written as Parquet.

    pip install 'mixsynth-stream[ray,arrow]' pandas
    python examples/ray_archive.py poses clip1.mp4 clip2.mp4

Each clip is a task, and each actor loads the networks once. `mixsynth-stream run --engine ray` needs none of this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mixsynth_stream import Stream, load_model
from mixsynth_stream.files import ASSETS
from mixsynth_stream.telemetry import import_ray, keep_ray_at_home


class Poses:
    """What an actor does with the name of a clip."""

    def __init__(self) -> None:
        self.models = load_model("image-n10"), load_model("world-n10")

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with Stream(row["source"], models=self.models, pictures=False) as stream:
            for motion in stream:
                for person, pose, origin in zip(motion.ids, motion.poses, motion.origin, strict=True):
                    frame = {"frame": motion.index, "time_s": motion.time_s, "person": int(person)}
                    yield row | frame | {"x_px": pose[:, 0], "y_px": pose[:, 1], "origin": origin}


if __name__ == "__main__":
    out, *clips = sys.argv[1:] or ["poses", str(ASSETS / "demo.mp4"), str(ASSETS / "demo_hard.mp4")]
    keep_ray_at_home()  # on a cluster leave this out, and give ray.init its address
    ray = import_ray()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning")
    rows = ray.data.from_items([{"source": clip} for clip in clips], override_num_blocks=len(clips))
    actors = ray.data.ActorPoolStrategy(min_size=1, max_size=2)
    rows.flat_map(Poses, compute=actors, num_cpus=1).write_parquet(out)
    print(f"{ray.data.read_parquet(out).count()} rows in {out}")
