"""Live sources kept on a disk, and played again."""

from __future__ import annotations
