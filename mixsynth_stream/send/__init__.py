"""Senders: Motions to other programs, as they come."""

from __future__ import annotations
