"""Media: what lies behind a source's name (files, pipes, servers), and how FFmpeg opens it."""

from __future__ import annotations
