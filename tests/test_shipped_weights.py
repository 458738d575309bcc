"""The weights that ship beat the simple methods on each validation file by itself."""

from __future__ import annotations

import dataclasses
import gzip
import json
from typing import Any

import pytest

from mixsynth_stream.evaluate.mocap import evaluate_mocap
from mixsynth_stream.evaluate.scores import HORIZONS_MS
from mixsynth_stream.files import ASSETS, CHECKOUT
from mixsynth_stream.weights import load_model, shipped_models

NAMES = [f"{space}-n{every}" for space in ("image", "world") for every in (5, 10, 15)]
MOCAP = CHECKOUT / "benchmarks" / "mocap"


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    """The rows of the results from which the documents' tables are made."""
    rows: list[dict[str, Any]] = []
    for name in ("evaluate-mocap", "evaluate-more"):
        with gzip.open(CHECKOUT / "benchmarks" / "results" / f"{name}.json.gz") as file:
            rows += json.load(file)["rows"]
    return rows


def test_three_spacings_ship_in_both_spaces():
    assert sorted(shipped_models()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_network_beats_every_simple_method(name: str) -> None:
    rows = [dataclasses.asdict(row) for row in evaluate_mocap(MOCAP / "cmu_val.npz", name, load_model(name)).rows]
    assert lost(rows) == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["cmu_val.npz", "extra_val.npz", "basket_val.npz", "play_val.npz"])
def test_the_published_results_say_the_same_of_each_file(results: list[dict[str, Any]], name: str, data: str) -> None:
    assert lost([row for row in results if (row["data"], row["model"]) == (data, name)]) == {}


def lost(rows: list[dict[str, Any]]) -> dict[tuple[str, int | None], float]:
    """The questions in which a simple method is as good, with the network's error over that of the best one."""
    ratios = {
        (row["question"], row["horizon_ms"]): row["value"]
        for row in rows
        if row["metric"] == "mpjpe_ratio"
        and row["target"] == "carried"
        and row.get("group") is row.get("band") is None  # of all joints, at any speed
    }
    questions = [("filled", None), ("now", None), *(("ahead", horizon_ms) for horizon_ms in HORIZONS_MS)]
    return {question: ratios[question] for question in questions if ratios[question] >= 1}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_small_and_say_what_they_are(name: str) -> None:
    assert (ASSETS / f"{name}.safetensors").stat().st_size < 1_000_000
    model = load_model(name)
    every = int(name.partition("-n")[2])
    assert (model.config.sample_interval, model.config.horizon, model.info.rate_hz) == (every, every + 18, 30.0)
    assert "CMU" in model.info.data
    assert model.sigma_table is not None
    assert model.info.licence
    assert len(model.info.data_hash) == 64
