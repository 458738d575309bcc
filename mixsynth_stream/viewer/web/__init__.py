"""A live view as a web page: a server on loopback, and a page without dependencies in `static/`."""

from __future__ import annotations
