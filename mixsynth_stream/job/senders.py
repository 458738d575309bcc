"""Senders of a job: the programs that get its poses as they come, and those that watch over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixsynth_stream.console import say
from mixsynth_stream.job.options import JobOptions

if TYPE_CHECKING:
    from mixsynth_stream.export import Sink
    from mixsynth_stream.export.header import Header
    from mixsynth_stream.pipeline.stream import Stream
    from mixsynth_stream.send.poses import PoseChannel


def open_senders(stream: Stream, header: Header, options: JobOptions) -> list[Any]:
    """The sinks of `--send` and `--metrics`, which the caller closes. Raises `OutputError` and `ValueError`."""
    sinks: list[Any] = []
    try:
        for text in options.send:
            sinks.append(_sender(stream, header, text, options))  # noqa: PERF401  those before an error are closed
        if options.metrics_at is not None:
            sinks.append(_metrics(stream, options.metrics_at))
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise
    return sinks


def pose_channel(stream: Stream, header: Header, options: JobOptions) -> PoseChannel:
    """What programs read at the address of a page, too."""
    from mixsynth_stream.send.poses import PoseChannel

    return PoseChannel(header, live=stream.live, write_forecast=options.write_forecast)


def _sender(stream: Stream, header: Header, text: str, options: JobOptions) -> Sink:
    from mixsynth_stream.send.targets import Target

    target = Target.of(text)
    if target.scheme == "ws":
        from mixsynth_stream.send.poses import PoseServer

        server = PoseServer(target, pose_channel(stream, header, options))
        say(f"poses: {server.url}")
        return server
    from mixsynth_stream.skeleton import BLAZEPOSE_33

    if header.is_smpl:
        raise ValueError(f"{target} takes landmarks, and this stream has rotations of {stream.skeleton}: send to ws://")
    if header.skeleton != BLAZEPOSE_33:
        raise ValueError(
            f"{target} takes hands, feet and face of {BLAZEPOSE_33.name} in metres, and this stream has "
            f"{stream.skeleton}: send to ws://, or use an estimator of {BLAZEPOSE_33.name}"
        )
    from mixsynth_stream.send.osc import OscSink

    return OscSink(target, stream.stats)


def _metrics(stream: Stream, text: str) -> Sink:
    from mixsynth_stream.send.metrics import MetricsServer
    from mixsynth_stream.viewer.web.access import Address

    server = MetricsServer(stream, Address.of(text))
    say(f"metrics: {server.url}")
    return server
