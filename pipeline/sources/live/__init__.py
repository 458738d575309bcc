"""Live sources: how cameras and streams are opened, and what is particular about the packets that they send."""

from __future__ import annotations
