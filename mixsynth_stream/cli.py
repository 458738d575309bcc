"""Command line: it finds the command that the user typed and its exit code. Each command is a module of commands/.

Exit codes: 0 done, 1 a result could not be written, 2 wrong usage, 3 a source failed, 4 a model, estimator,
backend or package cannot be used, 130 interrupted. Data go to standard output or into files, everything else to
standard error.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from mixsynth_stream.console import open_descriptors, say, settle, shown
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.interrupt import EXIT_INTERRUPTED

# Command -> its purpose. commands/NAME.py has add_arguments(parser) and main(args) -> exit code, and imports nothing
# heavy at its top. Only the module of the command that the user typed is imported.
COMMANDS = {
    "run": "motion from videos, cameras or streams, into files or onto standard output",
    "demo": "the main job on the bundled clip: overlay video, poses, a plot, a summary",
    "webcam": "follow the people before a camera",
    "forecast": "what comes next at every pose of a recording, and how well that came true",
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


def end_with_main() -> NoReturn:
    """Run `main` as a program. A thread that FFmpeg still holds, waiting for a server, would crash Python's own end."""
    code = main()
    if any(thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Wrong usage raises SystemExit(2), as argparse does."""
    _prepare_streams()
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
    except SystemExit as end:
        raise SystemExit(_settle_streams(end.code)) from None
    return _settle_streams(code)


def _run(argv: list[str]) -> int:
    """The exit code of a command, after a sentence about its error."""
    debug = "--debug" in argv
    try:
        args = parse(argv)
        _start_log(logging.DEBUG if debug else logging.WARNING)
        return int(importlib.import_module(f"mixsynth_stream.commands.{args.command}").main(args))
    except BrokenPipeError:
        return 0  # the reader of our output has closed it, as `head` does
    except KeyboardInterrupt:
        # Inside an import it may have passed through an `exec`. Python would then end by a signal, not with our code,
        eval("None")  # unless it has run another text since.
        say("mixsynth-stream: interrupted; what was written so far is complete")
        return EXIT_INTERRUPTED
    except tuple(kind for kind, _ in _EXIT_CODES) as error:
        if debug:
            logging.getLogger(__name__).exception("the error came from here")
        say(f"mixsynth-stream: {shown(_sentence(error))}")
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def _prepare_streams() -> None:
    """Make the standard streams take whatever a command does with them."""
    open_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of other scripts on a terminal of ASCII


def _settle_streams(code: object) -> int:
    """The exit code, after the last output: 1 where all was well up to then. A reader that has gone is no error."""
    error = settle(sys.stdout)
    if error is not None and not isinstance(error, BrokenPipeError) and not code:
        say(f"mixsynth-stream: {_sentence(error)}")
        code = 1
    settle(sys.stderr)
    return code if isinstance(code, int) else 0


class _OneLine(logging.Formatter):
    """Names in messages may hold line breaks."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return shown(super().formatMessage(record))


def _start_log(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("mixsynth-stream: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of one command. Only that command's module is imported."""
    parser = Parser(
        prog="mixsynth-stream",
        description="Human motion from any video with a tenth of the estimator calls and without lag.",
        epilog="mixsynth-stream COMMAND --help says more. Exit codes: 0 done, 1 output failed, 2 usage, "
        "3 source failed, 4 model, backend or package missing, 130 interrupted.",
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

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse keeps quiet about a full disk, and takes standard error where standard output is closed.
        if file is sys.stderr:
            say(message.removesuffix("\n"))
        elif file is not None:
            file.write(message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; of the arguments in the default `one_of`, by the words for them, one must be given."""
        values, rest = super().parse_known_args(args, namespace)
        choices: dict[str, str] = getattr(values, "one_of", {})
        if choices and not any(getattr(values, name) for name in choices.values()):
            self.error(f"the following arguments are required: {' or '.join(choices)}")
        return values, rest

    def error(self, message: str) -> NoReturn:
        hint = f"{self.prog} --help lists what there is"
        self.exit(2, f"mixsynth-stream: {shown(message)}; {hint}\n")


class _Version(argparse.Action):
    """The option --version, which looks the version up only when it is used."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from mixsynth_stream import __version__

        print(f"mixsynth-stream {__version__}")
        parser.exit()


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'} cannot be written or read: {error.strerror}"
    return str(error) or type(error).__name__
