"""The weights that ship beat the simple methods on each validation file by itself."""

from __future__ import annotations

import pytest

from mixsynth_stream.evaluate.mocap import evaluate_mocap
from mixsynth_stream.evaluate.scores import HORIZONS_MS
from mixsynth_stream.files import ASSETS, CHECKOUT
from mixsynth_stream.weights import load_model, shipped_models

NAMES = [f"{space}-n{every}" for space in ("image", "world") for every in (5, 10, 15)]
MOCAP = CHECKOUT / "benchmarks" / "mocap"


def test_three_spacings_ship_in_both_spaces():
    assert sorted(shipped_models()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["cmu_val.npz", "extra_val.npz"])
def test_network_beats_every_simple_method(name: str, data: str) -> None:
    ratios = {
        (row.question, row.horizon_ms): row.value  # the network's error over that of the best simple method
        for row in evaluate_mocap(MOCAP / data, name, load_model(name)).rows
        if row.metric == "mpjpe_ratio" and row.target == "carried"
    }
    questions = [("filled", None), ("now", None), *(("ahead", horizon_ms) for horizon_ms in HORIZONS_MS)]
    assert {question: ratios[question] for question in questions if ratios[question] >= 1} == {}


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
