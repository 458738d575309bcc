"""Evaluation: how true poses are, against the simple methods and against what was published."""

from __future__ import annotations
