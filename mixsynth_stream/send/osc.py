"""OscSink: the pose of now to another program, as one bundle of OSC messages a frame, over UDP."""

from __future__ import annotations

import importlib.util
import logging
import socket
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.pipeline.stats import StreamStats
from mixsynth_stream.send.body import Body, BodyPose
from mixsynth_stream.send.vmc import VmcLayout
from mixsynth_stream.send.vrchat import VrchatLayout
from mixsynth_stream.skeleton import BLAZEPOSE_33

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.send.targets import Target

log = logging.getLogger(__name__)

OscMessage = tuple[str, tuple[Any, ...]]  # an address, and strings, ints and floats
FAILURES = "sends_failed"
_KINDS = {str: "s", int: "i", float: "f"}
_HIPS = [BLAZEPOSE_33.index("left_hip"), BLAZEPOSE_33.index("right_hip")]


class Layout(Protocol):
    """Which messages a program expects."""

    def messages(self, pose: BodyPose | None, time_s: float) -> list[OscMessage]: ...


def osc_possible() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("pythonosc") is not None


class OscSink(SinkBase):
    """Sends each frame once, as soon as it is known. What cannot be sent is counted, and the stream goes on.

    One person is sent: whoever is largest at first, for as long as they are followed.
    """

    def __init__(self, target: Target) -> None:
        """Raises `ModelError` where the library is missing, and `OutputError` where nobody knows the host."""
        super().__init__(None)
        if not osc_possible():
            raise ModelError(
                f"--send {target} needs the package python-osc, which is not installed: "
                "pip install 'mixsynth-stream[osc]', or leave --send out"
            )
        self._target = target
        self._stats = StreamStats()
        self._layout = self._new_layout()
        self._body = Body()
        self._person: int | None = None
        self._newest = -1
        self._socket, self._place = _socket_to(target)

    def watch(self, stats: StreamStats) -> None:
        """The source is open: failures are counted in its statistics."""
        self._stats = stats

    def write(self, motion: Motion) -> None:
        """Send a frame when it first comes; its final is no news."""
        if motion.index <= self._newest:
            return
        self._newest = motion.index
        messages = self._layout.messages(self._pose(motion), motion.time_s)
        if not messages:
            return
        try:
            self._socket.sendto(bundle(messages), self._place)
        except OSError as error:
            if FAILURES not in self._stats.counters:
                log.warning("a pose cannot be sent to %s (%s): going on", self._target, error.strerror or error)
            self._stats.count(FAILURES)

    def _new_layout(self) -> Layout:
        return VmcLayout() if self._target.scheme == "vmc" else VrchatLayout()

    def _pose(self, motion: Motion) -> BodyPose | None:
        rows = np.flatnonzero(motion.ids == self._person)
        if not len(rows):
            if not len(motion.ids):
                return None
            spans = np.nan_to_num(np.ptp(np.nan_to_num(motion.poses), axis=1)).prod(axis=1)
            rows = np.array([spans.argmax()])
            self._person = int(motion.ids[rows[0]])
            self._body, self._layout = Body(), self._new_layout()
        p = int(rows[0])
        return self._body.pose(motion.world[p], motion.scores[p], _aside_m(motion, p))

    def _finish(self) -> None:
        self._socket.close()


def bundle(messages: list[OscMessage]) -> bytes:
    """The packet of a frame, to be acted on at once."""
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    builder = OscBundleBuilder(IMMEDIATELY)
    for address, values in messages:
        message = OscMessageBuilder(address)
        for value in values:
            message.add_arg(value, _KINDS[type(value)])
        builder.add_content(message.build())
    return builder.build().dgram


def _aside_m(motion: Motion, p: int) -> float:
    """How far right of the picture's middle somebody stands, in metres at their own distance."""
    image, world = motion.poses[p], motion.world[p, :, :2]
    known = np.isfinite(image).all(axis=1) & np.isfinite(world).all(axis=1)
    if motion.frame is None or not known[_HIPS].all():
        return 0.0
    pixels, metres = (points[known] - points[known].mean(axis=0) for points in (image, world))
    size_px = float(np.square(pixels).sum())
    scale = np.sqrt(np.square(metres).sum() / size_px) if size_px > 0 else 0.0
    return float(scale * (image[_HIPS, 0].mean() - motion.frame.width / 2))


def _socket_to(target: Target) -> tuple[socket.socket, Any]:
    """A socket that waits for nobody, and the address of the host, which is looked up once."""
    host, port = target.address.host, target.address.port
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        sender = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"nothing can be sent to {target}, because its host is not known ({reason}): check the name"
        ) from error
    sender.setblocking(False)
    return sender, place
