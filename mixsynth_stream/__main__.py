"""Entry of `python -m mixsynth_stream`, which runs the command line."""

from __future__ import annotations

import sys

try:
    from mixsynth_stream.cli import end_with_main
except KeyboardInterrupt:  # in the first tenth of a second, while Python's own modules are read
    sys.stderr.write("mixsynth-stream: interrupted before it began\n")
    sys.exit(130)

end_with_main()
