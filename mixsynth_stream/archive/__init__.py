"""Archives: many sources, a folder each, with a manifest beside them. A run that was cut off is taken up again."""

from __future__ import annotations
