"""Make the picture of the live view in docs/: the bundled clip, paced as a camera, in a real Chromium.

    python scripts/picture_view.py docs/live-view.png        # needs the extra [view], and Debian's chromium

A loop of the clip is followed by MediaPipe for some seconds, so that the charts have something to show.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path

import av

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.browser import Browser  # noqa: E402

from mixsynth_stream.files import ASSETS  # noqa: E402
from mixsynth_stream.pipeline.sources.capture import LiveReader  # noqa: E402
from mixsynth_stream.pipeline.stream import Stream  # noqa: E402
from mixsynth_stream.viewer.web.access import Address  # noqa: E402
from mixsynth_stream.viewer.web.view import WebView  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--clip", type=Path, default=ASSETS / "demo.mp4", help="the video (default: the bundled one)")
    parser.add_argument("--after", type=float, default=25.0, metavar="S", help="seconds to watch before (default: 25)")
    args = parser.parse_args()

    def camera() -> av.container.InputContainer:
        return av.open(f"movie={args.clip}:loop=0,setpts=N/FRAME_RATE/TB,realtime", format="lavfi")

    with Stream(LiveReader("camera", opener=camera)) as stream, WebView(stream, Address(port=0)) as view:
        has_ended = threading.Event()

        def follow() -> None:
            for motion in stream:
                view.write(motion)
                if has_ended.is_set():
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        try:
            with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
                page = browser.open(view.url)
                page.wait_for("Number(document.body.dataset.people) > 0", 30)
                has_ended.wait(args.after)
                page.screenshot(args.out)
        finally:
            has_ended.set()
            follower.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
