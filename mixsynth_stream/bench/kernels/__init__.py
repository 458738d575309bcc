"""`bench kernels`: the run, the contenders, and the card that they are measured on."""

from __future__ import annotations
