"""A program for Debian's Python: an RTSP camera whose pictures show when they were taken.

    /usr/bin/python3 stamped_camera.py ENCODER PORT USER:PASSWORD

It serves rtsp://127.0.0.1:PORT/camera, and prints its port once it listens.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

WIDTH, HEIGHT, RATE_HZ = 640, 480, 30
BITS, SIDE = 32, 16  # of the clock that is drawn into each picture, in microseconds


def _picture(number: int, noise: bytes) -> bytes:
    """A moving picture with a clock, as I420."""
    taken_us = time.monotonic_ns() // 1000 % (1 << BITS)
    clock = b"".join(bytes([220 if taken_us >> bit & 1 else 30]) * SIDE for bit in range(BITS))
    rows = (clock + bytes([128]) * (WIDTH - len(clock))) * SIDE
    place = number * 977 % (len(noise) // 2)
    moving = noise[place : place + WIDTH * 100]
    flat = bytes([100 + number % 50]) * (WIDTH * HEIGHT - len(rows) - len(moving))
    return rows + moving + flat + bytes([128]) * (WIDTH * HEIGHT // 2)


def _serve(encoder: str, port: str, user: str) -> None:
    import gi  # type: ignore[import-not-found]

    for module in ("Gst", "GstRtspServer"):
        gi.require_version(module, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]

    Gst.init(None)
    noise = random.Random(0).randbytes(WIDTH * 400)
    caps = f"video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={RATE_HZ}/1"
    source = f"appsrc name=source is-live=true format=time do-timestamp=true caps={caps}"

    def configure(_: Any, media: Any) -> None:
        element, start_s, number = media.get_element().get_by_name("source"), time.monotonic(), 0

        def push() -> bool:
            nonlocal number
            if element.emit("push-buffer", Gst.Buffer.new_wrapped(_picture(number, noise))) == Gst.FlowReturn.OK:
                number += 1
                rest_s = start_s + number / RATE_HZ - time.monotonic()
                GLib.timeout_add(max(0, int(1000 * rest_s)), push)
            return False

        GLib.timeout_add(0, push)

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {source} ! queue max-size-buffers=2 leaky=downstream ! {encoder} )")
    factory.set_shared(True)
    factory.set_latency(0)
    factory.connect("media-configure", configure)
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    server.set_address("127.0.0.1")
    if user:
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*user.split(":")), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("user", right, True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
