"""Pixels: decoded pictures as they are shown: upright, in square samples, in 8 bits of SDR."""

from __future__ import annotations
