"""Senders of a job: the programs that get its poses as they come, and those that watch over it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mixsynth_stream.console import say, source_names
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.skeleton import BLAZEPOSE_33

if TYPE_CHECKING:
    from mixsynth_stream.export.header import Header
    from mixsynth_stream.pipeline.stream import Stream
    from mixsynth_stream.send.metrics import MetricsServer
    from mixsynth_stream.send.osc import OscSink
    from mixsynth_stream.send.poses import PoseChannel
    from mixsynth_stream.send.targets import Target


class Senders:
    """What `--send` and `--metrics` open, for all sources of a job: there before these are, until the block ends."""

    def __init__(self, sources: Sequence[str], options: JobOptions) -> None:
        """Raises `OutputError` and `ValueError`."""
        self._sources = sources
        self._names = source_names(sources)
        self._ended: set[int] = set()
        self._channels: list[PoseChannel] = []
        self._oscs: list[tuple[Target, OscSink]] = []
        self._metrics: MetricsServer | None = None
        with contextlib.ExitStack() as stack:
            for text in options.send:
                self._open_sender(text, options, stack)
            if options.metrics_at is not None:
                self._metrics = _metrics(self._names, options.metrics_at)
                stack.callback(self._metrics.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sinks(self, number: int, stream: Stream, header: Header) -> list[Any]:
        """The sinks of a source that is open. `ValueError` where it has nothing that a program could take."""
        sinks: list[Any] = [channel.sink(number, stream, header) for channel in self._channels]
        for target, sink in self._oscs if number == 0 else ():
            if header.is_smpl:
                raise ValueError(
                    f"{target} takes landmarks, and this stream has rotations of {stream.skeleton}: send to ws://"
                )
            if header.skeleton != BLAZEPOSE_33:
                raise ValueError(
                    f"{target} takes hands, feet and face of {BLAZEPOSE_33.name} in metres, and this stream has "
                    f"{stream.skeleton}: send to ws://, or use an estimator of {BLAZEPOSE_33.name}"
                )
            sink.watch(stream.stats)
            sinks.append(sink)
        if self._metrics is not None:
            metrics = self._metrics.sources[number]
            metrics.watch(stream)
            sinks.append(metrics)
        return sinks

    def not_open(self, source: str, reason: str) -> None:
        """A source cannot be opened yet, and is waited for."""
        for number, name in enumerate(self._sources):
            if name == source and self._metrics is not None:
                self._metrics.sources[number].not_open(reason)

    def end(self, number: int, error: Exception | None) -> None:
        """A source has ended, or could not be opened. What is told first holds: results that fail end it, too."""
        if number in self._ended:
            return
        self._ended.add(number)
        reason = None if error is None else str(error)
        for channel in self._channels:
            channel.end(number, reason)
        if self._metrics is not None:
            self._metrics.sources[number].end(reason)

    def _open_sender(self, text: str, options: JobOptions, stack: contextlib.ExitStack) -> None:
        from mixsynth_stream.send.targets import Target

        target = Target.of(text)
        if target.scheme == "ws":
            from mixsynth_stream.send.poses import PoseServer

            channel = pose_channel(self._names, options)
            server = PoseServer(target, channel)
            stack.callback(server.close)
            self._channels.append(channel)
            say(f"poses: {server.url}")
            return
        from mixsynth_stream.send.osc import OscSink

        sink = OscSink(target)
        stack.callback(sink.close)
        self._oscs.append((target, sink))
        if len(self._names) > 1:
            say(f"{target} gets the first of {len(self._names)} sources, because it takes one person")


def pose_channel(names: Sequence[str], options: JobOptions) -> PoseChannel:
    """What programs read of these sources."""
    from mixsynth_stream.send.poses import PoseChannel

    return PoseChannel(names, write_forecast=options.write_forecast)


def _metrics(names: Sequence[str], text: str) -> MetricsServer:
    from mixsynth_stream.send.metrics import MetricsServer
    from mixsynth_stream.viewer.web.access import Address

    server = MetricsServer(names, Address.of(text))
    say(f"metrics: {server.url}")
    return server
