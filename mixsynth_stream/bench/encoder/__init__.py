"""`bench encoder`: the run, the contenders, and the threads of a batch."""

from __future__ import annotations
