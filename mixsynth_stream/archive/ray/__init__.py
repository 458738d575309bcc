"""Archives on several machines: Ray says which machine takes which source, and when; nothing of that is our own."""

from __future__ import annotations
