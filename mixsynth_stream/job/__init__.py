"""Jobs: the way of one source to its results, shared by `run`, `demo` and `webcam`, and open to scripts."""

from __future__ import annotations
