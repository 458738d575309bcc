"""`replayed`: the options with which the job of a recording is done again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mixsynth_stream.job.options import JobOptions

# Options that say how motion is made, and those on how a source is read: a recording has its own. Each with its word.
_FIXED = {
    "every": "--every",
    "budget": "--budget",
    "lag": "--lag",
    "horizon_s": "--horizon",
    "max_people": "--max-people",
    "glance": "--glance",
    "pose_model": "--model",
    "eye": "--eye",
    "estimates": "--estimates",
    "skeleton": "--skeleton",
    "weights": "--weights",
    "backend": "--backend",
    "cuts": "--no-cuts",
    "track": "--track",
    "rate_hz": "--rate",
    "size": "--size",
    "mirror": "--mirror",
    "wait": "--wait",
    "timeout_s": "--timeout",
    "record": "--record",
    "spool": "--spool",
}
_GLANCE = {None: "auto", True: "on", False: "off"}


def replayed(source: str, options: JobOptions) -> JobOptions:
    """The options, with those that a recording was made with if the source is one.

    `ValueError` where the user gave others; `SourceError` where the recording cannot be replayed.
    """
    from mixsynth_stream.pipeline.sources.recording.header import is_recording, read_header

    if not is_recording(source):
        return options
    for name, word in _FIXED.items():
        if getattr(options, name) != getattr(JobOptions, name):
            raise ValueError(
                f"{source} is a recording, which is replayed with the options that it was made with: leave {word} out"
            )
    header = read_header(Path(source))
    stream, estimator = header["stream"], header["estimator"]
    return replace(
        options,
        every=stream["every"],
        budget=stream["budget"],
        lag=stream["lag"],
        horizon_s=stream["horizon_s"],
        max_people=stream["max_people"],
        glance=_GLANCE[stream["glance"]],
        pose_model=estimator["choice"] if estimator["is_pose_model"] else None,
        estimates=None if estimator["is_pose_model"] else estimator["choice"],
        weights=tuple(one["name"] for one in header["weights"]),
        backend=stream["backend"],
        cuts=stream["cuts"],
    )
