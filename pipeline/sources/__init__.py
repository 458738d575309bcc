"""Sources of frames: files, streams, cameras, frames of your own, and a synthetic scene."""

from __future__ import annotations
