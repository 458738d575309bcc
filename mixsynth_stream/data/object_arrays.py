"""Object arrays: npz files with arrays of arrays, read without running anything that they bring.

Data sets keep sequences of different lengths in object arrays, which numpy stores as pickles, and a pickle may name any
function to call. This reader knows numpy's own constructors for arrays, dtypes and numbers, and refuses the rest.
"""

from __future__ import annotations

import _codecs
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from mixsynth_stream.errors import SourceError

# The constructors that a pickled array names, in numpy 1 and in numpy 2.
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _codecs.encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def load_arrays(path: str | Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays `names` of an npz file, and those of `optional` that it has.

    `SourceError` where one is missing or damaged, or would run something.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [name for name in names if name not in members]
            if missing:
                raise SourceError(f"{path} has no {', '.join(missing)}; found {', '.join(members) or 'nothing'}")
            arrays = {}
            for name in (*names, *(name for name in optional if name in members)):
                with archive.open(f"{name}.npy") as file:
                    arrays[name] = _read_array(file)
            return arrays
    except SourceError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceError(f"there is no file {path}") from error
    except pickle.UnpicklingError as error:
        raise SourceError(f"{path} is refused: {error}; only arrays, numbers and text are ever read") from error
    except Exception as error:  # a damaged file can raise anything
        raise SourceError(f"{path} cannot be read ({error}); use an intact .npz") from error


def _read_array(file: IO[bytes]) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        value = _ArrayUnpickler(file, encoding="latin1").load()
        if not isinstance(value, np.ndarray):
            raise pickle.UnpicklingError(f"it holds a {type(value).__name__} where an array should be")
        return value.reshape(shape)
    count = int(np.prod(shape, dtype=np.int64))
    data = file.read(count * dtype.itemsize)
    array = np.frombuffer(data, dtype, count)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def pieces(path: str | Path, key: str, array: np.ndarray) -> Iterator[np.ndarray]:
    """The sequences of an object array, or of an array whose first axis counts them, each as numbers or text.

    `SourceError` where a sequence is ragged or holds something else.
    """
    for number, piece in enumerate(array):
        try:
            value = np.asarray(piece)
            if value.dtype == object:
                value = np.asarray(value.tolist())
        except ValueError as error:
            raise SourceError(f"{path}: {key} of sequence {number} is ragged ({error})") from error
        if value.dtype.kind not in "fiuUSb":
            raise SourceError(f"{path}: {key} of sequence {number} holds {value.dtype}, expected numbers or text")
        yield value
