"""`rare_collections`: Python's search for cycles of objects, less often and not among what has been there all along."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# So many more objects than were freed begin a search. Python has 700, which a frame of a few cameras makes.
_THRESHOLD = 10_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """For a loop of a program of our own: the searches took a fifth of the loop of 16 cameras."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
