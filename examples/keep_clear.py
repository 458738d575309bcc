"""A robot beside a stream: it slows down where a hand may come into its zone within half a second.

python examples/keep_clear.py [VIDEO]

The robot's loop has a pace of its own and asks the stream what is ahead. The video is played as a camera would give it.
"""

from __future__ import annotations

import sys
import threading
import time
from importlib.resources import files

import numpy as np

from mixsynth_stream import Stream
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.skeleton import BLAZEPOSE_33

SECONDS, STEPS, STEP_S = 3.0, 10, 0.05
WRISTS = [BLAZEPOSE_33.index("left_wrist"), BLAZEPOSE_33.index("right_wrist")]


def main(video: str = str(files("mixsynth_stream") / "assets" / "demo.mp4")) -> None:
    is_over = threading.Event()

    def follow(stream: Stream) -> None:
        for _ in stream:
            if is_over.is_set():
                break

    rounds = slow = 0
    with Stream(open_source(video, request=LiveRequest(is_paced=True))) as stream:
        assert stream.info is not None
        zone_px = 0.75 * stream.info.width  # the robot's part of the picture is right of this
        thread = threading.Thread(target=follow, args=(stream,))
        thread.start()
        end_s = time.perf_counter() + SECONDS
        while thread.is_alive() and time.perf_counter() < end_s:
            ahead = stream.lookahead(STEPS, STEP_S)
            if len(ahead.ids) and ahead.sigma is not None:
                # Two sigma are a wide margin; joints that were measured just now have none.
                reach_px = ahead.poses[:, :, WRISTS, 0] + 2 * np.nan_to_num(ahead.sigma[:, :, WRISTS])
                rounds += 1
                slow += bool((reach_px > zone_px).any())
            time.sleep(0.01)
        is_over.set()
        thread.join()
    print(f"slow in {slow} of {rounds} rounds: a hand might have come within {STEPS * STEP_S:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:2])
