"""JobOptions: how one source is processed and what is written of it, for scripts as for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The defaults are those of `run`; its options of the same names say more."""

    # How the source is read.
    track: int | None = None  # a video track of a file or stream, counted from 0; None: the one that players show
    rate_hz: float | None = None  # of pictures, which have no times (None: 30), and of cameras, which offer several
    size: tuple[int, int] | None = None  # width and height of a camera's pictures, of those that it offers
    mirror: bool = False  # show a camera's pictures as a mirror does
    wait: bool = False  # for a camera or stream that is not there yet
    timeout_s: float = 10.0  # so long a camera or stream may be silent
    live: bool = False  # play a file as if it were live
    record: Path | None = None  # a new folder for all that comes of live sources, to replay them
    spool: bool = False  # copy a pipe or a file on a web server into a temporary file first
    # How motion is made.
    every: int | str | None = None  # keyframe spacing in steps of 1/30 s, or "auto"; None: that of the weights, or 10
    budget: str | None = None  # for "auto": estimator calls a second, or a share of a core such as 25%
    lag: int | None = None  # None: 1 for files, 0 for cameras
    horizon_s: float = 0.4
    max_people: int = 4
    glance: str = "auto"  # on, off, or auto: for live sources, and where pictures are drawn
    pose_model: str | None = None  # a name, or a .task or .onnx file; None: full
    eye: str | None = None  # follow or keyframe: how the pose model looks; None: follow
    estimates: str | None = None  # a file or folder of recorded estimates, instead of a pose model
    skeleton: str | None = None  # of estimates that name none
    weights: tuple[str, ...] = ()  # one or two names or files; none: the networks that ship
    backend: str = "auto"
    cuts: bool = True  # whether people end where the video cuts to another scene
    limit_frames: int | None = None
    # Where it goes.
    formats: tuple[str, ...] = ("jsonl",)
    overlay: bool = False
    plot: bool = False
    write_forecast: bool = False  # of every frame, not of keyframes only
    view: str | None = None  # show the frames as they come: "window", or "web" for a page in a browser
    view_at: str | None = None  # where the page is served: PORT, HOST or HOST:PORT; None: a port of loopback
    send: tuple[str, ...] = ()  # programs that get the poses of now: ws://, vmc:// and vrchat:// addresses
    metrics_at: str | None = None  # where metrics and health are served: PORT, HOST or HOST:PORT
    progress: bool = True  # a line about it on standard error
