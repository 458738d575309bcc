"""Published recipes on small data sets in the published layouts, end to end."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.published_data import write_expmaps, write_folder

from mixsynth_stream.commands.train import add_arguments, config_from
from mixsynth_stream.data import h36m
from mixsynth_stream.errors import SourceError
from mixsynth_stream.presets import PREDICTIONS, PRESET_NAMES, PRESETS, published_config
from mixsynth_stream.skeleton import H36M_22
from mixsynth_stream.train import PresetConfig, TrainConfig, train
from mixsynth_stream.weights import load_weights

torch = pytest.importorskip("torch")
from matplotlib.figure import Figure  # noqa: E402

from mixsynth_stream.evaluate.preset_score import stitch  # noqa: E402
from mixsynth_stream.train.devices import Process  # noqa: E402
from mixsynth_stream.train.prediction import PredictionRecipe  # noqa: E402
from mixsynth_stream.train.published import PresetRecipe  # noqa: E402

OTHERS = ("last_pose", "constant_velocity")


def small(folder: Path, preset: str, **changes: object) -> PresetConfig:
    config = PresetConfig(preset=preset, data=folder, out=folder / "out", epochs=2, batch=64)
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "joint_dim", "rows"),
    [
        ("jhmdb", 30, {"pck_20", "pck_10", "pck_05"}),
        ("3dpw-spin", 42, {"mpjpe_mm", "accel_mm"}),
        ("3dpw-smpl-pare", 144, {"geodesic_deg"}),
    ],
)
def test_each_family_trains_and_measures_on_its_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str, joint_dim: int, rows: set[str]
) -> None:
    path = train(small(write_folder(tmp_path, preset, lengths=(90, 20)), preset))
    _, config, info = load_weights(path)
    assert path.name == f"{preset}.safetensors"
    assert (config.joint_dim, config.horizon) == (joint_dim, 0)
    published = PRESETS[preset]
    assert (info.skeleton, info.space, info.rate_hz) == (published.skeleton.name, published.space, published.rate_hz)
    measured = {name: value for name, value in info.metrics.items() if name != "step"}
    assert set(measured) == {f"{method}/{row}" for method in ("network", "input", "linear") for row in rows}
    assert all(value >= 0 for value in measured.values())
    with (tmp_path / f"out/{preset}.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    assert f"network/{sorted(rows)[0]}" in capsys.readouterr().err


def test_prediction_reports_both_conventions_and_both_baselines(tmp_path: Path) -> None:
    path = train(small(write_expmaps(tmp_path, frames=64), "h36m-prediction"))
    _, config, info = load_weights(path)
    assert (config.sample_interval, config.step, config.horizon, config.joint_dim) == (1, 9, 10, 66)
    assert (info.skeleton_joints, info.rate_hz) == (H36M_22.joints, 25.0)
    assert tuple(h36m.JOINTS_32[j] for j in h36m.MOVING) == H36M_22.joints
    metrics = info.metrics
    for split in ("validation", "test"):
        for method in ("network", "last_pose", "constant_velocity"):
            assert 0 < metrics[f"{split}/{method}_to_400"] < metrics[f"{split}/{method}_at_400"]
            assert metrics[f"{split}/{method}_at_80"] < metrics[f"{split}/{method}_at_160"]
    # Slow waves: going on at the same speed beats standing still.
    assert metrics["test/constant_velocity_at_80"] < metrics["test/last_pose_at_80"]


def test_prediction_from_50_frames_ends_at_the_same_horizons(tmp_path: Path) -> None:
    """By hand, for files of one window: the 50th pose against the pose 400 ms on."""
    recipe = PredictionRecipe(small(write_expmaps(tmp_path, frames=122), "h36m-prediction-50"))
    shape = recipe.shape
    assert (shape.sample_interval, shape.num_keyframes, shape.horizon, shape.joint_dim) == (1, 50, 10, 66)
    files = sorted((tmp_path / "h3.6m/dataset/S5").glob("*.txt"))
    poses = [h36m.read_expmap(path).poses[::2] for path in files]
    rows = recipe.measure(recipe_forward(recipe))
    errors = [np.linalg.norm(one[59] - one[49], axis=-1).mean() for one in poses]
    assert rows["test/last_pose_at_400"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert rows["test/network_at_400"] < rows["test/last_pose_at_400"]


def test_prediction_starts_as_the_best_linear_one(tmp_path: Path) -> None:
    recipe = PredictionRecipe(small(write_expmaps(tmp_path, frames=64), "h36m-prediction"))
    shares = recipe.network().l_interp.weight[10:].detach()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(10), atol=1e-4, rtol=0)
    rows = recipe.measure(recipe_forward(recipe))
    for ms in (80, 160, 320, 400):
        assert rows[f"test/network_at_{ms}"] < min(rows[f"test/{other}_at_{ms}"] for other in OTHERS)


def test_the_loss_of_prediction_counts_poses_and_movements_ahead(tmp_path: Path) -> None:
    recipe = PredictionRecipe(small(write_expmaps(tmp_path, frames=64), "h36m-prediction"))
    recipe.start(Process(torch.device("cpu")))
    keyframes, truth, counted = recipe.draw(0)
    assert torch.equal(keyframes, truth[:, :10])

    def loss(output: torch.Tensor, counted: torch.Tensor = counted) -> float:
        return recipe.loss(output, truth, counted).item()

    assert loss(truth) == pytest.approx(0, abs=1e-6)
    seen, jump, drift = truth.clone(), truth.clone(), truth.clone()
    seen[:, :10] += 1
    assert loss(seen) == pytest.approx(0, abs=1e-6)
    # An error of 1 m along each axis is sqrt(3) m. It is a movement once, or a tenth of it in each of ten steps.
    jump[:, 10:] += 1
    assert loss(jump) == pytest.approx(1.1 * 3**0.5, abs=0.01)
    drift[:, 10:] += torch.arange(1, 11)[:, None] / 10
    assert loss(drift) == pytest.approx((0.55 + 0.1) * 3**0.5, abs=0.01)
    until = counted.clone()
    until[:, 15:] = 0
    beyond = truth.clone()
    beyond[:, 15:] += 1
    assert loss(beyond, until) == pytest.approx(0, abs=1e-6)


def test_no_two_curves_of_prediction_look_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 errors are measured; matplotlib's colours repeat after ten lines."""
    labels: list[list[str]] = []
    save = Figure.savefig

    def record(figure: Figure, *args: Any, **options: Any) -> None:
        labels.append([line.get_label() for line in figure.axes[1].get_lines()])
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", record)
    weights = train(small(write_expmaps(tmp_path, frames=64), "h36m-prediction"))
    methods, horizons_ms = ("network", "constant_velocity"), (80, 160, 320, 400)
    assert labels == [[f"validation/{method}_at_{ms}" for method in methods for ms in horizons_ms]]
    assert len(weights.with_suffix(".csv").read_text().splitlines()[0].split(",")) == 4 + 48


def test_prediction_error_is_that_of_all_32_joints(tmp_path: Path) -> None:
    """By hand, for one file: the last of 10 poses against the pose 80 ms on."""
    recipe = PredictionRecipe(small(write_expmaps(tmp_path, frames=40), "h36m-prediction"))
    errors = []
    for path in sorted((tmp_path / "h3.6m/dataset/S5").glob("*.txt")):
        poses = h36m.read_expmap(path).poses[::2]
        errors.append(np.linalg.norm(poses[11] - poses[9], axis=-1).mean())
    rows = recipe.measure(lambda keyframes: np.repeat(keyframes[:, -1:], 20, axis=1))
    assert rows["test/network_at_80"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert rows["test/network_at_80"] == pytest.approx(rows["test/last_pose_at_80"], rel=1e-5)


def test_shapes_and_recipes_are_the_published_ones() -> None:
    assert set(PRESET_NAMES) == {*PRESETS, "h36m-prediction", "h36m-prediction-50"}
    config = published_config("h36m")
    assert (config.sample_interval, config.step, config.emb_dim, config.num_encoder_layers) == (10, 10, 64, 4)
    assert (config.joint_dim, config.reduce_token, config.reduce_channel) == (51, 4, 1)
    configs = {name: PresetConfig(preset=name, data=Path("a"), out=Path("b")) for name in PRESET_NAMES}
    assert {name: c.batch for name, c in configs.items() if c.batch != 256} == {"aist": 512, "aist-smpl": 512}
    others = {"3dpw-pare": 5e-3, **dict.fromkeys(PREDICTIONS, 8e-3)}
    assert {name: c.lr for name, c in configs.items() if c.lr != 1e-3} == others
    assert {c.epochs for c in configs.values()} == {100}


def test_the_optimiser_and_its_schedule_are_the_published_ones(tmp_path: Path) -> None:
    recipe = PresetRecipe(small(write_folder(tmp_path, "jhmdb", lengths=(90, 70)), "jhmdb"))
    network = recipe.network()
    (optimiser,) = recipe.optimisers(network)
    assert isinstance(optimiser, torch.optim.Adam) and optimiser.defaults["amsgrad"]
    # 160 frames in batches of 64 are three steps an epoch.
    assert recipe.steps == 6
    assert [recipe.learning_rate(step) for step in (0, 2, 3, 5)] == pytest.approx([1e-3, 1e-3, 0.97e-3, 0.97e-3])
    assert network.fc.weight.abs().max() > 0.01, "Xavier-uniform, not this project's own start"
    assert max(m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)) == 0.1


def test_an_epoch_draws_windows_of_one_sequence_each_and_leaves_out_what_is_repeated(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "jhmdb", lengths=(30, 6))
    recipe = PresetRecipe(small(folder, "jhmdb", batch=36))
    recipe.start(Process(torch.device("cpu")))
    keyframes, truth, counted = recipe.draw(0)
    assert (keyframes.shape, truth.shape, counted.shape) == ((36, 2, 30), (36, 11, 30), (36, 11))
    assert sorted(counted.sum(dim=1).int().tolist()) == [6] * 6 + [11] * 30
    short = counted.sum(dim=1) == 6
    assert torch.equal(truth[short][:, 5:6].expand(-1, 6, -1), truth[short][:, 5:])
    assert torch.equal(torch.cat(recipe.draw(0)[:1]), keyframes)
    other = truth + 5 * (1 - counted[..., None])
    assert recipe.loss(other, truth, counted).item() == pytest.approx(0, abs=1e-6)


def test_a_sequence_is_stitched_frame_by_frame() -> None:
    config = published_config("jhmdb")
    for length in (2, 11, 12, 35):
        poses = np.cumsum(np.full((length, 30), 0.5), axis=0)
        steps = np.arange(11)[:, None] / 10

        def line(keyframes: np.ndarray, steps: np.ndarray = steps) -> np.ndarray:
            return keyframes[:, :1] * (1 - steps) + keyframes[:, 1:] * steps

        stitched = stitch(line, poses, config)
        if length >= 11:
            np.testing.assert_allclose(stitched, poses, atol=1e-5)
        assert stitched.shape == poses.shape


def test_a_preset_resumes_after_a_break_in_the_middle_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path, "jhmdb", lengths=(90, 70))
    whole = train(small(folder, "jhmdb", out=tmp_path / "whole"))
    draw = PresetRecipe.draw

    def break_off(self: PresetRecipe, step: int) -> tuple[torch.Tensor, ...]:
        if step == 4:
            raise KeyboardInterrupt
        return draw(self, step)

    monkeypatch.setattr(PresetRecipe, "draw", break_off)
    with pytest.raises(KeyboardInterrupt):
        train(small(folder, "jhmdb", out=tmp_path / "broken"))
    monkeypatch.undo()
    # Dropout draws from torch's random numbers: they go on where they were.
    resumed = train(small(folder, "jhmdb", out=tmp_path / "broken", resume=True))
    assert resumed.read_bytes() == whole.read_bytes()
    with pytest.raises(SourceError, match="other settings"):
        train(small(folder, "jhmdb", out=tmp_path / "broken", resume=True, lr=0.5))


def recipe_forward(recipe: PredictionRecipe) -> Callable[[np.ndarray], np.ndarray]:
    network = recipe.network().eval()
    return lambda keyframes: network(torch.from_numpy(keyframes)).detach().numpy()


def parsed(*words: str) -> TrainConfig | PresetConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return config_from(parser.parse_args(words))


def test_the_command_line_chooses_the_recipe() -> None:
    ours = parsed("--data", "a.npz", "b.npz", "--out", "o", "--steps", "5", "--patience", "3")
    assert ours == TrainConfig(data=(Path("a.npz"), Path("b.npz")), out=Path("o"), steps=5, patience=3)
    weighted = parsed("--data", "a.npz", "--out", "o", "--source-weights", "uiprmd=0.5", "snu_ys=2")
    assert weighted == TrainConfig(
        data=(Path("a.npz"),), out=Path("o"), source_weights=(("uiprmd", 0.5), ("snu_ys", 2.0))
    )
    published = parsed("--preset", "aist", "--data", "d", "--out", "o", "--epochs", "7", "--resume")
    assert published == PresetConfig(preset="aist", data=Path("d"), out=Path("o"), epochs=7, resume=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "aist", "--data", "a", "--steps", "5"], "--steps does not go with --preset"),
        (["--preset", "aist", "--data", "a", "b"], "several --data does not go"),
        (["--preset", "aist", "--data", "a", "--gap-weights", "1", "2"], "--gap-weights does not go"),
        (["--data", "a", "--epochs", "5"], "--epochs goes with --preset only"),
        (["--preset", "aist", "--data", "a", "--lr", "-1"], "lr must be positive"),
        (["--preset", "aist", "--data", "a", "--batch", "0"], "--batch must be positive, found 0; leave it out for"),
        (["--preset", "aist", "--data", "a", "--lr", "0"], "--lr must be positive, found 0; leave it out for"),
        (["--data", "a", "--wrong-person", "1.5"], "wrong_person must be a chance in 0..1, found 1.5"),
        (["--data", "a", "--source-weights", "uiprmd"], "the weight of a source is NAME=FACTOR, .*; found 'uiprmd'"),
        (["--data", "a", "--source-weights", "uiprmd=nan"], "must be 0 or more, found nan for uiprmd"),
        (["--preset", "aist", "--data", "a", "--source-weights", "a=1"], "--source-weights does not go with --preset"),
        (["--preset", "aist", "--data", "a", "--wrong-person", "0.1"], "--wrong-person does not go with --preset"),
    ],
)
def test_options_of_the_other_recipe_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parsed(*words, "--out", "o")


def test_folders_without_the_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file .*jhmdb_gt_train.npz"):
        train(small(tmp_path, "jhmdb"))
    with pytest.raises(SourceError, match="holds no h3.6m"):
        train(small(tmp_path, "h36m-prediction"))
    for preset, frames in (("h36m-prediction", 20), ("h36m-prediction-50", 60)):
        with pytest.raises(SourceError, match=f"{frames} frames at 25 Hz"):
            train(small(write_expmaps(tmp_path, frames=30), preset))
