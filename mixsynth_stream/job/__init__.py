"""Jobs: what `run`, `demo` and `webcam` share, from a source to its results."""

from __future__ import annotations
