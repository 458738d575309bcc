"""Pose networks of the user's own, in ONNX files: which head one has, and how it is asked."""

from __future__ import annotations
