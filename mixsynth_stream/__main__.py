"""Entry of `python -m mixsynth_stream`, which runs the command line."""

from __future__ import annotations

from mixsynth_stream.cli import end_with_main

end_with_main()
