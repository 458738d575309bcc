"""Errors of our own. The command line turns each into an exit code; all other errors are builtins."""

from __future__ import annotations

from mixsynth_stream.redact import redacted


class SourceError(Exception):
    """A video source cannot be opened, or broke while it was read (exit code 3). Its address comes without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


class ModelError(Exception):
    """Weights, a model bundle, an estimator or the package of an extra cannot be used (exit code 4)."""


class BackendUnavailableError(ModelError):
    """A backend that was chosen by name cannot run on this machine (exit code 4)."""


class OutputError(Exception):
    """A result file cannot be written: no permission, or a full disk (exit code 1)."""
