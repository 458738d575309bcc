"""The camera of the soak run as an RTSP server, GStreamer's, in a process of Debian's Python.

    /usr/bin/python3 rtsp_camera.py PORT PACE CLIP.h264...

It serves rtsp://127.0.0.1:PORT/camera, and prints its port once it listens. A line on standard input is a fault, as for
`camera.py`; GStreamer makes the time stamps, so that they cannot jump.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

_RATE_HZ = 30
_DELIMITER = b"\0\0\0\1\x09"  # begins each picture
_KEY = b"\0\0\0\1\x67"  # parameters, which stand before a picture that stands alone


class Clips:
    """The pictures of the present clip, one after the other; a fault changes what comes."""

    def __init__(self, paths: list[str], pace: float) -> None:
        self._clips = [[_DELIMITER + part for part in Path(path).read_bytes().split(_DELIMITER)[1:]] for path in paths]
        self._pace = pace
        self._next = self._shown = self._place = self._damaged = 0

    def command(self, line: str) -> None:
        """Begin a fault."""
        if line == "size":
            self._next += 1
        elif line == "damage":
            self._damaged = round(_RATE_HZ * self._pace)

    def picture(self) -> bytes:
        """The next one."""
        pictures = self._clips[self._shown % len(self._clips)]
        if self._shown != self._next and _KEY in pictures[self._place]:
            self._shown = self._next
            pictures = self._clips[self._shown % len(self._clips)]
        data = pictures[self._place]
        self._place = (self._place + 1) % len(pictures)
        if self._damaged:
            self._damaged -= 1
            data = data[: max(len(data) // 3, 8)]
        return data


def serve(port: str, pace: float, paths: list[str]) -> None:
    """Serve one camera to all who come."""
    import gi  # type: ignore[import-not-found]

    for module in ("Gst", "GstRtspServer"):
        gi.require_version(module, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]

    Gst.init(None)
    clips = Clips(paths, pace)

    def listen() -> None:
        for line in sys.stdin:
            clips.command(line.strip())
        os._exit(0)  # the run has ended

    threading.Thread(target=listen, daemon=True).start()

    def configure(_: Any, media: Any) -> None:
        element, start_s, number = media.get_element().get_by_name("source"), time.monotonic(), 0

        def push() -> bool:
            nonlocal number
            if element.emit("push-buffer", Gst.Buffer.new_wrapped(clips.picture())) == Gst.FlowReturn.OK:
                number += 1
                rest_s = start_s + number / (_RATE_HZ * pace) - time.monotonic()
                GLib.timeout_add(max(0, int(1000 * rest_s)), push)
            return False

        GLib.timeout_add(0, push)

    caps = "video/x-h264,stream-format=byte-stream,alignment=au"
    factory = GstRtspServer.RTSPMediaFactory()
    source = f"appsrc name=source is-live=true format=time do-timestamp=true caps={caps}"
    factory.set_launch(f"( {source} ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )")
    factory.set_shared(True)
    factory.set_latency(0)
    factory.connect("media-configure", configure)
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    server.set_address("127.0.0.1")
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
