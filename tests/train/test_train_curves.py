"""The plot of a training, for people who look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from matplotlib.figure import Figure

from mixsynth_stream.train.curves import Curves


def test_no_two_curves_look_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two validation files have 16 errors, and matplotlib ten colours."""
    names = [f"{file}/error_{number}" for file in ("a", "b") for number in range(8)]
    looks: list[Any] = []

    def record(figure: Figure, *_: object, **__: object) -> None:
        lines = (line for line in figure.axes[1].get_lines() if line.get_label() in names)
        looks.extend((line.get_color(), line.get_linestyle()) for line in lines)

    monkeypatch.setattr(Figure, "savefig", record)
    curves = Curves(tmp_path / "image-n10")
    for step in (1, 2):
        curves.add_loss(1.0)
        curves.add_row(step, 1e-3, 1.0, dict.fromkeys(names, 0.9))
    curves.save_plot()
    assert len(set(looks)) == len(names)
