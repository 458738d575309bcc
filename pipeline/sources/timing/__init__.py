"""Timing: the rates of sources, the times of their frames, and what is missing of a file."""

from __future__ import annotations
