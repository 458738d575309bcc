"""Kinds of sources: which of several are live, and are read at the same time; files are read one after another."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mixsynth_stream.errors import SourceError
from mixsynth_stream.job.options import JobOptions


def live_sources(sources: Sequence[str], options: JobOptions, *, asks: bool = True) -> list[bool]:
    """Of each source, whether it is live. What a web server sends shows that only once it is open: all are asked.

    Without `asks` nobody is, and an address of a web server counts as a file.
    """
    from mixsynth_stream.pipeline.sources.media.download import SCHEMES
    from mixsynth_stream.pipeline.sources.media.names import is_picture, pictures_behind
    from mixsynth_stream.pipeline.sources.media.waiting import interruptible
    from mixsynth_stream.pipeline.sources.open import is_live
    from mixsynth_stream.pipeline.sources.recording.header import is_recording

    def is_played(name: str) -> bool:
        has_pictures = name == "-" or name.startswith("synthetic:") or name.endswith(".npz")
        is_read = has_pictures or is_recording(name) or is_picture(name) or pictures_behind(name)
        return options.live and not is_read

    live = [is_live(name) or is_played(name) for name in sources]
    numbers = [n for n, name in enumerate(sources) if not live[n] and name.partition("://")[0].lower() in SCHEMES]
    if asks and len(sources) > 1 and numbers and not options.spool:
        threads = [
            threading.Thread(target=_ask, args=(sources[n], live, n, options.timeout_s), daemon=True) for n in numbers
        ]
        for thread in threads:
            thread.start()

        def wait() -> None:
            for thread in threads:
                thread.join()

        interruptible(wait)
    return live


def _ask(name: str, live: list[bool], number: int, timeout_s: float) -> None:
    """Open an address, and note whether it sends without end. Who cannot be reached is tried like a live one."""
    from mixsynth_stream.pipeline.sources.media.container import is_endless, open_container
    from mixsynth_stream.pipeline.sources.media.medium import ServerMedium

    try:
        medium = ServerMedium(name)
        medium.limit(timeout_s)
        with open_container(medium) as container:
            live[number] = is_endless(container)
    except SourceError:
        live[number] = True
