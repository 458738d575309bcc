"""The fit of an uncertainty table: its bounds hold on motion outside the fit, and how that is counted."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.fakes import CatmullRom
from support.networks import SHAPES, core_info

from mixsynth_stream.data.mocap import Clip, load_clips
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.evaluate.coverage import CoverageRow, coverage, coverage_summary, coverage_table, every_second
from mixsynth_stream.evaluate.sigma_fit import error_sample, fit_table, speed_weights, with_uncertainty
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.uncertainty import GROUPS, SPEEDS, log_speeds
from mixsynth_stream.weights import load_model, load_weights, save_weights, untrained_model, untrained_state

MOCAP = CHECKOUT / "benchmarks" / "mocap"
PERIOD_S = 1 / 3
CONFIG = SHAPES["image-n10"]


@pytest.fixture(scope="module")
def halves() -> tuple[list[Clip], list[Clip]]:
    """Validation clips by turns: to fit on, and to check on."""
    clips = load_clips(MOCAP / "cmu_val.npz")
    return clips[::2], every_second(clips)


@pytest.fixture(scope="module", params=["image-n10", "world-n10"])
def fitted(request: pytest.FixtureRequest, halves, tmp_path_factory) -> Path:
    """Untrained weights with a table."""
    space = request.param.split("-")[0]
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    save_weights(path, untrained_state(SHAPES[request.param]), SHAPES[request.param], core_info(space))
    return with_uncertainty(path, [halves[0]])


def test_bounds_hold_on_clips_that_were_not_fitted(fitted, halves):
    rows = coverage(load_model(fitted), halves[1], data="other half", name=fitted.stem)
    cells = {(row.question, row.time_ms) for row in rows}
    assert {("filled", 100), ("filled", 300), ("filled_later", 200), ("ahead", 100), ("ahead", 900)} <= cells
    assert {row.group for row in rows} == set(GROUPS)
    # Twenty clips of four people: a single cell is worth little, all of a question together a lot.
    for question in ("filled", "filled_later", "ahead"):
        half, most = np.mean([row.within for row in rows if row.question == question], axis=0)
        assert half == pytest.approx(0.5, abs=0.1) and most == pytest.approx(0.9, abs=0.05)
    text = coverage_table(rows)
    assert "foot_index" in text and f"{len(rows)} cells" in text
    # Twenty clips tell something, but not to a per cent.
    assert 0.01 < np.mean([row.spread[0] for row in rows]) < 0.15


def test_bounds_hold_for_the_slow_and_the_lively_alike(halves):
    model = load_model("image-n10")
    table = fit_table(model, [halves[0]])
    model = dataclasses.replace(model, info=dataclasses.replace(model.info, uncertainty=table.as_json()))
    speed = [np.linalg.norm(np.diff(clip.positions, axis=0), axis=-1).mean() * clip.rate_hz for clip in halves[1]]
    order = np.argsort(speed)
    for part in (order[: len(order) // 2], order[len(order) // 2 :]):
        rows = coverage(model, [halves[1][i] for i in part], data="part", name="image-n10")
        half, most = np.mean([row.within for row in rows], axis=0)
        assert half == pytest.approx(0.5, abs=0.12) and most == pytest.approx(0.9, abs=0.06)


def test_clips_that_the_network_has_not_seen_set_the_level(halves):
    model = load_model("world-n10")
    slow = [dataclasses.replace(clip, rate_hz=clip.rate_hz / 3) for clip in halves[0]]
    fitted = fit_table(model, [slow], unseen=[halves[1]])
    model = dataclasses.replace(model, info=dataclasses.replace(model.info, uncertainty=fitted.as_json()))
    rows = [
        row for row in coverage(model, halves[1], data="unseen", name="world-n10") if row.question != "filled_later"
    ]
    half, most = np.mean([row.within for row in rows], axis=0)
    assert half == pytest.approx(0.5, abs=0.06) and most == pytest.approx(0.9, abs=0.04)


def test_sigma_grows_with_horizon_and_liveliness_in_a_fitted_table(fitted):
    table = load_model(fitted).sigma_table
    assert table is not None
    ahead = table.sigma[:, -len(table.ahead) :]
    assert (np.diff(ahead, axis=1) >= 0).all() and (np.diff(table.sigma, axis=2) >= 0).all()
    assert len(json.dumps(table.as_json())) < 12_000


def test_a_fit_adds_the_table_and_nothing_else(fitted, tmp_path, halves):
    state, config, info = load_weights(fitted)
    bare = tmp_path / "bare.safetensors"
    save_weights(bare, state, config, dataclasses.replace(info, uncertainty=None))
    assert load_model(bare).sigma_table is None
    again, same_config, same_info = load_weights(with_uncertainty(bare, [halves[0]], tmp_path / "again.safetensors"))
    assert same_config == config and same_info == info, "the same seed gives the same table"
    assert all((again[name] == value).all() for name, value in state.items())
    with pytest.raises(ModelError, match="carries no uncertainty table"):
        coverage(load_model(bare), halves[1], data="x", name="bare")


def test_a_table_of_another_release_is_refused_and_can_be_fitted_again(fitted, tmp_path, halves):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    old = tmp_path / "old.safetensors"
    with safe_open(fitted, framework="numpy") as file:
        metadata = file.metadata()
    key, text = next(iter(metadata.items()))
    fields = json.loads(text)
    fields["uncertainty"]["version"] = 1
    save_file(load_file(fitted), old, {key: json.dumps(fields)})
    with pytest.raises(ModelError, match="fit the table again"):
        load_model(old)
    assert load_weights(with_uncertainty(old, [halves[0][:4]]))[2].uncertainty["version"] == 2


@pytest.mark.parametrize("every", [5, 15])
def test_other_spacings_have_tables_of_their_own(every, tmp_path, halves):
    model = untrained_model("image", every)
    table = fit_table(model, [halves[0][:6]], unseen=[halves[0][6:10]])
    assert (table.gap[-1], table.ahead[-1]) == (every, every + 18)
    model = dataclasses.replace(model, info=dataclasses.replace(model.info, uncertainty=table.as_json()))
    half, most = np.mean([row.within for row in coverage(model, halves[0][:10], data="x", name="x")], axis=0)
    assert half == pytest.approx(0.5, abs=0.1) and most == pytest.approx(0.9, abs=0.06)


def test_the_weights_are_those_of_the_speed_that_tells_large_errors(halves):
    """Errors that follow the change of velocity, and nothing else."""
    model = untrained_model("image")
    sample = error_sample(model, halves[0], 0)
    logs = log_speeds(sample.keyframes, PERIOD_S)
    errors = np.exp(logs[:, -1, :, SPEEDS.index("change")])[:, None] * np.ones((1, CONFIG.seq_len, 1))
    sample = dataclasses.replace(sample, errors=errors)
    weights = speed_weights([sample], [logs], CONFIG, range(CONFIG.seq_len))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights[:, SPEEDS.index("change")] > 0.9).all()


def test_a_network_without_a_horizon_has_no_table_to_fit(halves):
    model = CatmullRom(horizon=0)
    with pytest.raises(ModelError, match=r"N = 10, Q = 4, H = 0"):
        fit_table(model, [halves[0]])  # type: ignore[arg-type]


def test_the_script_fits_and_checks(tmp_path):
    path = tmp_path / "world.safetensors"
    config = SHAPES["world-n10"]
    save_weights(path, untrained_state(config), config, core_info("world"))
    script = CHECKOUT / "scripts" / "fit_uncertainty.py"
    data = str(MOCAP / "cmu_val.npz")
    command = [sys.executable, str(script), str(path), "--data", data, "--check", data]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert "has its uncertainty table" in result.stdout and "cmu_val" in result.stdout
    assert load_model(path).sigma_table is not None


def test_the_table_of_results_counts_the_cells_that_hold():
    base = CoverageRow(
        data="d",
        model="m",
        question="ahead",
        time_ms=100,
        group="hip",
        poses=9,
        within=(0.5, 0.9),
        spread=(0.01, 0.01),
        sigma=1.0,
    )
    low = dataclasses.replace(base, group="knee", within=(0.44, 0.88))
    text = coverage_table([base, low])
    assert "50/90" in text and "44/88" in text
    assert "holds 45-55 % in 1 of 2 (mean 47.0 %, from 44 to 50 %)" in text and "87-93 % in 2 of 2" in text
    assert "in 100 %; 2 cells are within twice that" in text  # six below 50 % with a spread of one
    high = [dataclasses.replace(row, data="e", within=(1 - row.within[0], 0.9)) for row in (base, low)]
    both = coverage_summary([[base, low], high])
    assert "m, d and e counting the same" in both and "holds 45-55 % in 2 of 2 (mean 50.0 %" in both


def test_clips_too_short_for_the_horizon_are_named():
    clips = [dataclasses.replace(clip, positions=clip.positions[:14]) for clip in load_clips(MOCAP / "cmu_val.npz")[:2]]
    with pytest.raises(SourceError, match="no clip reaches step .* give longer clips"):
        fit_table(load_model("image-n10"), [clips])
