"""Drawing: pixels only, on numpy arrays; no window, no file but PNG."""

from __future__ import annotations
