"""Forecasts as they are shown: judged by the keyframes that come, replaced by simpler ones, corrected without jumps."""

from __future__ import annotations
