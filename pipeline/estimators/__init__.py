"""Estimators: what finds the people in a keyframe."""

from __future__ import annotations
