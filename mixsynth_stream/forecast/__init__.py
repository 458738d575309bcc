"""Forecasts of recorded poses: any recording in; at each pose the next moments with sigma, and how true they came."""

from __future__ import annotations
