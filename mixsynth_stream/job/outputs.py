"""Outputs of a job: the sinks of its results, the folder that they fill, and a folder for each source."""

from __future__ import annotations

import contextlib
import itertools
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mixsynth_stream.console import say, shown
from mixsynth_stream.files import part_path
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.patterns import stem_of
from mixsynth_stream.job.senders import Senders, pose_channel
from mixsynth_stream.presets import shipped_name
from mixsynth_stream.redact import redacted
from mixsynth_stream.spaces import LANDMARK_SPACES

if TYPE_CHECKING:
    from mixsynth_stream.export import Header, Sink
    from mixsynth_stream.pipeline.frame import SourceEvent
    from mixsynth_stream.pipeline.motion import Motion
    from mixsynth_stream.pipeline.stream import Stream
    from mixsynth_stream.viewer.web.view import WebView


# Bytes of a folder's name: disks take 255, and a number may follow.
_LONGEST_NAME = 248


class ViewClosed(Exception):
    """The user has closed the view, which ends the job as its end does."""


@runtime_checkable
class Waits(Protocol):
    """A sink that does something while nothing comes, such as a window, which takes keys."""

    def wait(self) -> None: ...


@runtime_checkable
class TakesEvents(Protocol):
    """A sink that has a place for what happens to a live source."""

    def tell(self, event: SourceEvent) -> None: ...


class Outputs:
    """The sinks of a run: `with Outputs(sinks, folder, interrupt) as outputs:`, `outputs.write(motion)`.

    At the end all files are finished, then an earlier run's results in the folder are removed, then the files get their
    names: a run that is killed leaves the earlier results whole, and so does one that fails before its first Motion.
    """

    def __init__(self, sinks: Sequence[Sink], folder: Path | None, interrupt: Interrupt) -> None:
        self.sinks = sinks
        self._folder = folder
        self._interrupt = interrupt
        self._has_motions = False

    def write(self, motion: Motion) -> None:
        """Give a Motion to every sink. The first signal waits for the end."""
        with self._interrupt.held():
            for sink in self.sinks:
                sink.write(motion)
            self._has_motions = True

    def tell(self, event: SourceEvent) -> None:
        """Give what has happened to a live source to the sinks that have a place for it."""
        with self._interrupt.held():
            for sink in self.sinks:
                if isinstance(sink, TakesEvents):
                    sink.tell(event)

    def wait(self) -> None:
        """Nothing comes from the source: a view shows so, and may be closed. Raises `ViewClosed`."""
        with self._interrupt.held():
            for sink in self.sinks:
                if isinstance(sink, Waits):
                    sink.wait()
        if self.has_closed_view:
            raise ViewClosed

    @property
    def has_closed_view(self) -> bool:
        """Whether the user has closed the window."""
        return any(getattr(sink, "closed", False) for sink in self.sinks)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # This may take long, and the first signal does not cut it short. The stack runs backwards, errors or not.
        with self._interrupt.held(), contextlib.ExitStack() as steps:
            if kind is not None and not self._has_motions:
                for sink in self.sinks:
                    steps.callback(sink.discard)
                return
            for sink in self.sinks:
                steps.callback(sink.close)
            steps.callback(self._clear_folder)
            for sink in self.sinks:
                steps.callback(sink.finish)

    def _clear_folder(self) -> None:
        if self._folder is not None:
            from mixsynth_stream.export.earlier import clear

            clear(self._folder, keep={part_path(path) for sink in self.sinks for path in sink.paths})


def check_folder(source: str, folder: Path, options: JobOptions) -> None:
    """Refuse a folder where this run would write over something that is no earlier result, or over what it reads.

    Raises `ValueError` and `OutputError`.
    """
    from mixsynth_stream.export.earlier import refuse_strangers, results_in
    from mixsynth_stream.pipeline.sources.media.names import pictures_behind

    endangered = results_in(folder) + ([folder / "overlay.mp4"] if options.overlay else [])
    inputs = (source, *pictures_behind(source), options.estimates, options.pose_model, *options.weights)
    for name in (name for name in inputs if name and os.path.exists(name)):
        for path in endangered:
            if path.exists() and path.samefile(name):
                role = "is the source itself" if name == source else "is read by this run"
                raise ValueError(f"{shown(path)} {role} and would be overwritten: give another folder (--out)")
    refuse_strangers(folder, options.formats, overlay=options.overlay, plot=options.plot)


def open_page(
    source: str, options: JobOptions, others: Sequence[str] = ()
) -> contextlib.AbstractContextManager[WebView | None]:
    """The page of `--view web`, which is there while its sources are being opened; else nothing."""
    return _page(source, options, others) if options.view == "web" else contextlib.nullcontext()


def _page(source: str, options: JobOptions, others: Sequence[str] = ()) -> WebView:
    """The page, whose address is told, with a channel beside it."""
    from mixsynth_stream.viewer.web.access import Address
    from mixsynth_stream.viewer.web.view import WebView

    page = WebView(
        None,
        Address.of(options.view_at),
        horizon_s=options.horizon_s,
        source=redacted(source),
        others=[redacted(other) for other in others],
    )
    page.add_channel(pose_channel(page.sources, options))
    say(f"view: {page.url}")
    return page


def open_outputs(
    stream: Stream,
    folder: Path | None,
    options: JobOptions,
    *,
    page: WebView | None = None,
    senders: Senders | None = None,
    number: int = 0,
    origin: Mapping[str, Any] = MappingProxyType({}),
) -> list[Any]:
    """The sinks of a stream, which the caller closes: a view, and files in `folder` or lines on standard output.

    `origin` is that of `Settings`.
    Without the `senders` of the job, in which it has its `number`, nothing is sent.
    """
    from mixsynth_stream.export import Header, Settings, open_sinks

    spacing = stream.models[0].config.sample_interval
    settings = Settings(
        every=stream.every,
        budget=stream.budget,
        lag=stream.lag,
        horizon_s=options.horizon_s,
        estimator=estimator_name(stream, options),
        weights=options.weights or tuple(shipped_name(space, spacing) for space in LANDMARK_SPACES),
        backend=stream.models[0].backend,
        glance=stream.has_glance,
        skeleton=stream.skeleton,
        sigma_tables=(stream.models[0].sigma_table, stream.models[-1].sigma_table),
        origin=origin,
    )
    header = Header.of(stream.info, settings)
    sinks: list[Any] = []
    if options.view:
        if header.is_smpl:
            raise ValueError(
                f"{settings.skeleton} has no places in the picture to show: leave --view {options.view} out"
            )
        sinks += _open_view(stream, header, options, page, number)
    try:
        sinks += [] if senders is None else senders.sinks(number, stream, header)
        return sinks + open_sinks(
            folder,
            stream.info,
            formats=options.formats,
            overlay=options.overlay,
            plot=options.plot,
            write_forecast=options.write_forecast,
            settings=settings,
        )
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise


def _open_view(stream: Stream, header: Header, options: JobOptions, page: WebView | None, number: int) -> list[Sink]:
    """A window, or the page, which gets its stream, and the channel beside it."""
    if options.view == "window":
        from mixsynth_stream.viewer.window import Window

        return [Window()] if number == 0 else []
    from mixsynth_stream.send.poses import PoseChannel

    page = page or _page("" if stream.info is None else stream.info.source, options)
    page.watch(stream, number)
    assert isinstance(page.channel, PoseChannel)
    return [page.sink(number) if len(page.sources) > 1 else page, page.channel.sink(number, stream, header)]


def estimator_name(stream: Stream, options: JobOptions) -> str:
    """The estimator's name, for the header of result files."""
    source = stream.info.source if stream.info is not None else ""
    recording = options.estimates or (source if source.endswith(".npz") else "")
    if recording:
        return f"recorded in {Path(recording).name}"
    if options.pose_model is None and source.startswith("synthetic:"):
        return "synthetic"
    from mixsynth_stream.pipeline.estimators.choose import model_title

    return model_title(options.pose_model)


def folders(
    sources: Sequence[str], out: Path | None, known: Mapping[str, str] = MappingProxyType({})
) -> list[Path | None]:
    """A folder for each source: `out` itself for one, and subfolders named after the files for several.

    `known` are the names of folders that other sources of the same run have.
    """
    if out is None or len(sources) + len(known) == 1:
        return [out] * len(sources)
    return list(subfolders(sources, out, known))


def subfolders(sources: Sequence[str], out: Path, known: Mapping[str, str] = MappingProxyType({})) -> list[Path]:
    """A subfolder of `out` for each source, named after its file. One that is there already gets a number.

    `known` are the names of folders that sources have from before: each keeps its own, and nobody else gets it. No two
    differ only in the case of letters or the way that accents are written, because disks take these for one.
    """
    used = {_on_disk(name) for name in known.values()}
    kept = dict(known)
    unique = []
    for source in sources:
        if source in kept:
            unique.append(out / kept.pop(source))
            continue
        stem = _folder_name(source)
        choices = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(choice for choice in choices if _on_disk(choice) not in used)
        used.add(_on_disk(name))
        unique.append(out / name)
    return unique


def _on_disk(name: str) -> str:
    """What a disk may take a name for."""
    return unicodedata.normalize("NFC", name).casefold()


def _folder_name(source: str) -> str:
    """A name for the results of a source, as far as a disk takes it."""
    name = stem_of(source)
    if name == "..":
        name = Path(source).resolve().name or "source"
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[:-1]
    return name
