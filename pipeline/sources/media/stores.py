"""Stores: files in buckets and on other file systems, by the library fsspec and its packages for each kind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from mixsynth_stream.errors import ModelError

# What comes before `://`; FFmpeg opens all other addresses itself.
SCHEMES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hdfs", "webhdfs", "sftp", "smb", "oss", "file", "memory"}
)


def is_stored(name: str) -> bool:
    """Whether a name is that of a file in a store."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Turn whatever a store raises into an OSError with a sentence; FileNotFoundError and PermissionError stay.

    Raises `ModelError` where a package is missing.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except ImportError as error:
        scheme = url.partition("://")[0]
        words = "pip install 'mixsynth-stream[ray]', which has fsspec, and fsspec's package for it (s3fs, gcsfs, adlfs)"
        raise ModelError(f"{scheme}:// needs a package that is not installed ({error}): {words}") from error
    except Exception as error:  # each store has errors of its own
        raise OSError(f"{type(error).__name__}: {error}") from error


def open_stored(url: str) -> IO[bytes]:
    """A file in a store, to be read back and forth. Raises as `store_errors`."""
    with store_errors(url):
        store, path = _store(url)
        return cast(IO[bytes], store.open(path, "rb"))


def stored_matches(pattern: str) -> list[str]:
    """The addresses of files that match a pattern. Raises as `store_errors`."""
    with store_errors(pattern):
        store, path = _store(pattern)
        return [store.unstrip_protocol(match) for match in store.glob(path)]


def stored_state(url: str) -> dict[str, Any]:
    """The size of a file in a store, and its version as far as the store tells one. Raises as `store_errors`."""
    with store_errors(url):
        store, path = _store(url)
        facts = store.info(path)
    version = next(
        (facts[name] for name in ("ETag", "etag", "LastModified", "mtime", "created") if name in facts), None
    )
    return {"bytes": facts["size"], "version": None if version is None else str(version)}


def put(files: dict[Path, str], folder_url: str) -> None:
    """Copy files into a folder of a store, under these names. Raises as `store_errors`."""
    with store_errors(folder_url):
        store, folder = _store(folder_url)
        store.makedirs(folder, exist_ok=True)
        for file, name in files.items():
            store.put_file(str(file), f"{folder.rstrip('/')}/{name}")


def _store(url: str) -> tuple[Any, str]:
    import fsspec

    store, path = fsspec.core.url_to_fs(url)
    return store, path


class Reader(io.RawIOBase):
    """A file in a store as FFmpeg reads it: the first error is kept, and what follows is its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.error is None:
            try:
                return self._file.read(size)
            except Exception as error:  # each store has errors of its own
                self.error = error
        return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
