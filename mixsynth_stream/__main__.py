"""Entry of `python -m mixsynth_stream`, which runs the command line."""

from __future__ import annotations

import sys

from mixsynth_stream.cli import main

sys.exit(main())
