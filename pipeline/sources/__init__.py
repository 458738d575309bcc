"""Sources of frames: files, streams, cameras, frames of the user, recorded rotations, and a synthetic scene."""

from __future__ import annotations
