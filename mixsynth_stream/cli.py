"""Command line: it finds the command that the user typed and its exit code. Each command is a module of commands/.

Exit codes: 0 done, 1 a result could not be written, 2 wrong usage, 3 a source failed, 4 a model, estimator or backend
cannot be used, 130 interrupted. Data go to standard output or into files, everything else to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.interrupt import EXIT_INTERRUPTED

# Command -> its purpose. commands/NAME.py has add_arguments(parser) and main(args) -> exit code, and imports nothing
# heavy at its top. Only the module of the command that the user typed is imported.
COMMANDS = {
    "run": "motion from videos, cameras or streams, into files or onto standard output",
    "demo": "the main job on the bundled clip: overlay video, poses, a plot, a summary",
    "webcam": "follow the people before a camera",
    "train": "train the network on motion capture",
    "evaluate": "compare the network with simple methods, as tables",
    "convert": "turn a published checkpoint into a weight file",
    "info": "versions, backends, weights, pose models and cameras found here",
    "bench": "measure speed: ratios against other ways of doing the same",
}
_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (SourceError, 3),
    (ModelError, 4),
    (OutputError, 1),
    (OSError, 1),
    (ValueError, 2),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Wrong usage raises SystemExit(2), as argparse does."""
    args = parse(sys.argv[1:] if argv is None else list(argv))
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.WARNING, format="mixsynth-stream: %(message)s", stream=sys.stderr
    )
    try:
        code: int = importlib.import_module(f"mixsynth_stream.commands.{args.command}").main(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has closed it, as `head` does.
        _drop_output()
        return 0
    except KeyboardInterrupt:
        # Inside an import it may have passed through an `exec`. Python would then end by a signal, not with our code,
        eval("None")  # unless it has run another text since.
        print("mixsynth-stream: interrupted; what was written so far is complete", file=sys.stderr)
        return EXIT_INTERRUPTED
    except tuple(kind for kind, _ in _EXIT_CODES) as error:
        if args.debug:
            logging.getLogger(__name__).exception("the error came from here")
        print(f"mixsynth-stream: {_sentence(error)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def _drop_output() -> None:
    """Send the rest of the output nowhere: Python flushes at exit and would complain once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of one command. Only that command's module is imported."""
    parser = Parser(
        prog="mixsynth-stream",
        description="Human motion from any video with a tenth of the estimator calls and without lag.",
        epilog="mixsynth-stream COMMAND --help says more. Exit codes: 0 done, 1 output failed, 2 usage, "
        "3 source failed, 4 model or backend missing, 130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("--debug", action="store_true", help="log details, and show where an error came from")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    request = next((word for word in argv if not word.startswith("-")), None)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name == request:
            importlib.import_module(f"mixsynth_stream.commands.{name}").add_arguments(command)
    return parser.parse_args(argv)


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one sentence, like all errors of the command line."""

    def error(self, message: str) -> NoReturn:
        hint = f"{self.prog} --help lists what there is"
        self.exit(2, f"mixsynth-stream: {message}; {hint}\n")


class _Version(argparse.Action):
    """The option --version, which looks the version up only when it is used."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from mixsynth_stream import __version__

        print(f"mixsynth-stream {__version__}")
        parser.exit()


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a result'} cannot be written or read: {error.strerror}"
    return str(error) or type(error).__name__
