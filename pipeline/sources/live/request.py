"""LiveRequest: what a user may ask of a camera or a stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class LiveRequest:
    """`size` (width, height) and `rate_hz` are for cameras, which have to offer them. `mirror` shows pictures as a
    mirror does, in which left and right change places. `wait` waits for a source that is not there yet. `is_paced`
    plays a file as if it were live, at its own speed. A source that is silent for `timeout_s` cannot be opened, or is
    lost. `threads` decode a picture, as far as it was sent in slices; 0 is as many as there are cores. Once `closing`
    is set, whoever still opens the source in another thread, or waits for it, ends at once with SourceError. `on_wait`
    is called, in the thread that waits, with why the source cannot be opened, each time that this was tried.
    """

    size: tuple[int, int] | None = None
    rate_hz: float | None = None
    mirror: bool = False
    wait: bool = False
    is_paced: bool = False
    timeout_s: float = TIMEOUT_S
    threads: int = 0
    closing: threading.Event | None = None
    on_wait: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be a width and a height in pixels, found {self.size!r}")
        if self.threads < 0:
            raise ValueError(f"threads must be 0 or more, found {self.threads!r}")
        if not 0 < self.timeout_s < float("inf"):
            raise ValueError(f"timeout_s must be seconds above 0, found {self.timeout_s!r}")
        if self.rate_hz is not None and not 0 < self.rate_hz < float("inf"):
            raise ValueError(f"rate_hz must be pictures a second, above 0, found {self.rate_hz!r}")
