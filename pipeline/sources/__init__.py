"""Sources of frames: files, streams, cameras, frames of your own, recorded rotations, and a synthetic scene."""

from __future__ import annotations
