"""Files: where our own files lie, and files that appear whole: written as `<name>.part`, renamed at the end.

A leaf: importing it loads no numpy.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mixsynth_stream.errors import OutputError

# The checkout, if the code runs in one. Validation clips, fits and documents lie there and not in the wheel.
CHECKOUT = Path(__file__).resolve().parent.parent
# Weights, pose model, clips and font, which ship inside the package.
ASSETS = Path(__file__).parent / "assets"
# In the folder in which a Parquet file grows: what is being written, and the whole file. Readers skip such names.
PARQUET_NEXT, PARQUET_JOINED = "_next", "_joined"
_PIECE = 1 << 20

_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file has reached the largest size allowed here; choose another folder",
    errno.EACCES: "there is no permission to write there; choose another folder",
    errno.EPERM: "there is no permission to write there; choose another folder",
    errno.EROFS: "that disk is read-only; choose another folder",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file is in the place of the folder; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name or remove it",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}

# What reading a damaged .npz raises, by its archive, its compression or the headers of its arrays.
ARRAY_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def output_error(path: Path, error: OSError, note: str = "") -> OutputError:
    """The sentence for a file that cannot be written. `note` says which part of it is safe."""
    cause = _CAUSES.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"{path} cannot be written: {cause}" + (f" ({note})" if note else ""))


@contextmanager
def output_errors(path: Path, note: str = "") -> Iterator[None]:
    """Turn an error of the operating system inside the block into an `OutputError` about `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error, note) from error


def part_path(path: Path) -> Path:
    """The place of a file until it is complete."""
    return path.with_name(path.name + ".part")


def remove_part(path: Path) -> None:
    """Remove `<name>.part`, if it is there: a file, or the folder in which a result grows. Raises OSError."""
    part = part_path(path)
    if part.is_dir():
        names = (path.name, PARQUET_NEXT, PARQUET_JOINED)
        for file in (*part.glob("*.npy"), *part.glob("*.parquet"), *(part / name for name in names)):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # others have put files of their own there
            part.rmdir()
    else:
        part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder of `path`. `OutputError` at once where a write at the end of a long job would fail."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


@contextmanager
def whole_file(path: Path, note: str = "") -> Iterator[Path]:
    """Give the block a path to write to. At the end that file becomes `path`, whole.

    Where the disk does not take it, `OutputError` is raised and an older `path` stays; `note` can say that in the
    message.
    """
    part = part_path(path)
    try:
        with output_errors(path, note):
            yield part
            part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write all of a file at once, as `whole_file` does. Raises `OutputError`."""
    with whole_file(path) as part:
        part.write_bytes(content)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def zip_entry(name: str) -> zipfile.ZipInfo:
    """A member of a zip archive with a fixed date, so that the archive has the same bytes whenever it is written."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a packed .npz, the same bytes every time. Raises `OutputError`."""
    import numpy as np

    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)
            archive.writestr(zip_entry(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, 9)


class PartFile:
    """A file of whole records, `<name>.part`: `append` writes all of a record or nothing of it.

    After a failed write the earlier records are safe. Whoever knows that all is well gives the file its name.
    """

    def __init__(self, path: Path, start: bytes = b"", *, resume: bool = False) -> None:
        """`start` is the first record; without room for it no file stays. `resume`: append to a finished file."""
        self.path = path
        self.size = 0
        make_folder(path)
        with output_errors(path):
            if resume:
                self.size = part_path(path).stat().st_size
            self._file = open(part_path(path), "r+b" if resume else "wb", buffering=0)  # noqa: SIM115
            self._file.seek(self.size)
        if start:
            try:
                self.append(start)
            except BaseException:
                self._file.close()
                part_path(path).unlink(missing_ok=True)
                raise

    def append(self, record: bytes) -> None:
        """Write one record at the end."""
        try:
            self._write(record)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self.size)
                self._file.seek(self.size)
            raise output_error(self.path, error, "everything before that is kept") from error
        self.size += len(record)

    def rewrite(self, offset: int, record: bytes) -> None:
        """Replace bytes of the file, which needs no space on the disk."""
        with output_errors(self.path):
            self._file.seek(offset)
            self._write(record)
            self._file.seek(self.size)

    def finish(self) -> None:
        """Close the file. Safe to call twice."""
        with output_errors(self.path):
            self._file.close()

    def _write(self, record: bytes) -> None:
        rest = memoryview(record)
        while rest:
            rest = rest[self._file.write(rest) :]
