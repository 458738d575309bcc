"""Several live sources in one process: `Streams`, and what its streams share."""

from __future__ import annotations
