"""Sparse reading: a file is decoded only as far as somebody reads its pictures."""

from __future__ import annotations
