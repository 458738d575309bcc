"""Drawing on numpy arrays: lines, discs, text, charts and poses; no window, and no file but PNG.

The drawing is our own, because it looks better and is lighter. Pillow 13 leaves the edges of a line jagged; OpenCV 5
smooths them, but widths are whole pixels there and nothing is translucent. Their wheels have 7 MB and 61 MB.
"""

from __future__ import annotations
