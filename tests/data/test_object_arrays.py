"""Arrays of arrays are read without running anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.layouts import objects

from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.errors import SourceError


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_an_array_that_wants_to_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("bomb.npz", pose=objects([np.zeros(2), Bomb()]))
    with pytest.raises(SourceError, match="refused: it asks for pathlib"):
        load_arrays("bomb.npz", ["pose"])
    assert not Path("exploded").exists()
    with np.load("bomb.npz", allow_pickle=True) as data:
        assert data["pose"].shape == (2,)
    assert Path("exploded").exists(), "the file has to be one that plain numpy would run"
