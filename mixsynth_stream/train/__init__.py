"""Training: two recipes, ours on motion capture and the published ones, for one loop."""

from __future__ import annotations
