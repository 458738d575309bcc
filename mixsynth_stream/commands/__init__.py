"""Commands: one file a word that the user types. Each parses, calls and prints; the work lies in the other rooms."""

from __future__ import annotations
