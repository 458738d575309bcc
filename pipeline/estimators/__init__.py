"""Estimators: what looks at a keyframe and says where the people are."""

from __future__ import annotations
