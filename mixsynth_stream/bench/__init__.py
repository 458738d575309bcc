"""Benchmarks: correctness comes first; contenders take turns in one process, and ratios are taken round by round."""

from __future__ import annotations
