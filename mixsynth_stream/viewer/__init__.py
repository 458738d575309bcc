"""Live views of a stream."""

from __future__ import annotations
