"""Curves: loss and errors of a training by step, as CSV and, at its end, as a PNG."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from mixsynth_stream.files import write_whole
from mixsynth_stream.reports import save_plot


class Curves:
    """Rows of numbers by step, written after every row."""

    def __init__(self, stem: Path, label: str = "error / best simple method", pattern: str = "/") -> None:
        """The plot shows the errors whose names match `pattern`, a regular expression. The CSV has all of them."""
        self._label, self._pattern = label, pattern
        self._csv, self._png = stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".png")
        self.rows: list[dict[str, float]] = []
        self._losses: list[float] = []

    def add_loss(self, loss: float) -> None:
        """Add the loss of one step. A row holds the mean of the losses since the row before."""
        self._losses.append(loss)

    def add_row(self, step: int, lr: float, score: float, errors: dict[str, float]) -> None:
        """Add a validation, and write the CSV."""
        row = {"step": step, "loss": float(np.mean(self._losses)), "lr": lr, "score": score, **errors}
        self.rows.append(row)
        self._losses.clear()
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)
        write_whole(self._csv, text.getvalue().encode())

    def state(self) -> dict[str, list]:
        """All rows, and the losses since the last of them."""
        return {"rows": self.rows, "losses": list(self._losses)}

    def restore(self, state: dict[str, list]) -> None:
        """Go on from what `state` returned."""
        self.rows, self._losses = state["rows"], state["losses"]

    def save_plot(self) -> None:
        """Write the PNG: the loss on the left, the errors on the right."""
        from matplotlib.figure import Figure

        if not self.rows:
            return
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        steps = [row["step"] for row in self.rows]
        left.plot(steps, [row["loss"] for row in self.rows])
        left.set(xlabel="step", ylabel="training loss", yscale="log")
        for number, name in enumerate(name for name in self.rows[0] if re.search(self._pattern, name)):
            # matplotlib has ten colours; the curves after those are dashed.
            style = "-" if number < 10 else "--"
            right.plot(steps, [row[name] for row in self.rows], style, label=name)
        if "/" in self._label:
            right.axhline(1.0, color="black", linewidth=0.8)
        right.set(xlabel="step", ylabel=self._label)
        right.legend(fontsize=6, ncols=2)
        save_plot(self._png, figure)
