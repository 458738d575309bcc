"""Benchmarks: correctness first, contenders interleaved in one process, ratios over rounds."""

from __future__ import annotations
