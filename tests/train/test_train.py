"""`train`: what it writes, exact resuming, and that training learns."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.swing_clips import small, write_swings

from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.files import ASSETS
from mixsynth_stream.train import TrainConfig, train
from mixsynth_stream.weights import load_weights

torch = pytest.importorskip("torch")
from mixsynth_stream.network import MixSynthFormer  # noqa: E402
from mixsynth_stream.train import loop, mocap  # noqa: E402
from mixsynth_stream.train.devices import Process  # noqa: E402


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swings(tmp_path_factory.mktemp("clips") / "swing.npz")


@pytest.mark.parametrize(
    "code",
    [
        "from mixsynth_stream.commands import train; train.add_arguments(argparse.ArgumentParser())",
        "from mixsynth_stream.train import PresetConfig, TrainConfig, train; assert callable(train)",
    ],
    ids=["options", "names"],
)
def test_options_and_public_names_cost_no_import(code: str) -> None:
    """`train --help` has to be quick and must work without torch, and so must a script that has not started yet."""
    heavy = "[name for name in ('torch', 'numpy', 'matplotlib', 'tqdm') if name in sys.modules]"
    command = [sys.executable, "-c", f"import argparse, sys; {code}; print({heavy})"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("space", "joint_dim"), [("image", 34), ("world", 51)])
def test_it_writes_weights_curves_and_where_they_come_from(
    clips: Path, tmp_path: Path, space: str, joint_dim: int
) -> None:
    path = train(small(clips, tmp_path, space=space, data_name="swings", licence="CC0"))
    assert path == tmp_path / f"{space}-n10.safetensors"
    _, config, info = load_weights(path)
    assert (config.joint_dim, config.sample_interval, config.horizon) == (joint_dim, 10, 28)
    assert (info.space, info.data, info.licence) == (space, "swings", "CC0")
    assert info.normalisation == {"image": "root_scale", "world": "root"}[space]
    assert len(info.data_hash) == 64
    assert 0 < info.metrics["validation/gap"] < 10
    rows = list(csv.DictReader((tmp_path / f"{space}-n10.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert (tmp_path / f"{space}-n10.png").read_bytes().startswith(b"\x89PNG")


def test_another_seed_gives_other_weights(clips: Path, tmp_path: Path) -> None:
    first, second = (load_weights(train(small(clips, tmp_path / str(s), seed=s)))[0] for s in (0, 1))
    assert any(np.abs(first[name] - second[name]).max() > 1e-3 for name in first)


def test_other_people_are_seen_where_the_settings_say_so(clips: Path, tmp_path: Path) -> None:
    settings = (small(clips, tmp_path, wrong_person=chance, batch=64) for chance in (1.0, 0.0))
    always, never = (mocap.MocapRecipe(config) for config in settings)
    batches = []
    for recipe in (always, never):
        recipe.start(Process(torch.device("cpu")))
        batches.append(recipe.draw(0))
    # In some windows somebody else is seen only before the first keyframe of a cold start.
    assert (batches[0][0] != batches[1][0]).flatten(1).any(dim=1).float().mean() > 0.8
    assert always.settings() != never.settings()


def test_resuming_needs_its_own_checkpoint(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no checkpoint"):
        train(small(clips, tmp_path, resume=True))
    train(small(clips, tmp_path))
    with pytest.raises(SourceError, match="other settings"):
        train(small(clips, tmp_path, resume=True, batch=5))
    with pytest.raises(SourceError, match=r"other settings \(kernels none, here True\)"):
        train(small(clips, tmp_path, resume=True, kernels=True))
    checkpoint = tmp_path / "image-n10.checkpoint.pt"
    saved = torch.load(checkpoint)
    torch.save(saved | {"settings": saved["settings"].replace(', "optimiser": "Muon, float32"', "")}, checkpoint)
    with pytest.raises(SourceError, match=r"other settings \(optimiser none, here Muon, float32\)"):
        train(small(clips, tmp_path, resume=True))


def test_training_helps_on_people_it_has_not_seen(clips: Path, tmp_path: Path) -> None:
    """Swings come back, so going on at a fading velocity is the wrong forecast, and 40 steps are enough to see it."""
    config = small(clips, tmp_path / "start", steps=1, space="world")
    start = load_weights(train(config))[2].metrics
    config = small(clips, tmp_path / "end", steps=40, batch=8, warmup=5, validate_every=40, ema=0.8, space="world")
    end = load_weights(train(config))[2].metrics
    assert end["validation/ahead_300"] < 0.95 * start["validation/ahead_300"]
    assert end["validation/ahead_600"] < 0.9 * start["validation/ahead_600"]


def test_bad_settings_and_places_are_refused_in_a_sentence(clips: Path, tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"space": "polar"}, "image or world"), ({"steps": 0}, "steps"), ({"lr": -1.0}, "lr"),
        ({"lr": float("inf")}, "lr must be positive"), ({"seed": -1}, "seed must be 0 or more, found -1"),
        ({"newest_gap_weight": -1.0}, "0 or more and not all 0, found -1, 4, 0.5, 1"),
        ({"second_gap_weight": float("nan")}, "0 or more and not all 0, found 6, nan"),
        ({"velocity_weight": -1.0}, r"and -1 \(velocity\)"),
        ({"source_weights": (("a", -1.0),)}, "the weight of a source must be 0 or more, found -1 for a"),
        ({f"{name}_weight": 0.0 for name in ("newest_gap", "second_gap", "older", "ahead")}, "not all 0"),
    ]  # fmt: skip
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            small(clips, tmp_path, **change)
    (tmp_path / "file").write_text("in the way")
    for out, message in (
        ("file", "a file is in the place of the folder"),
        ("file/out", "a part of that path is a file"),
    ):
        with pytest.raises(OutputError, match=rf"image-n10.safetensors cannot be written: {message}.*; choose another"):
            train(small(clips, tmp_path / out))
    with np.load(clips) as data:
        np.savez(tmp_path / "alone.npz", **{**data, "subject": ["a", "a", "a"]})
    with pytest.raises(SourceError, match="one subject"):
        train(small(tmp_path / "alone.npz", tmp_path / "out"))


def test_sources_are_drawn_as_weighted_and_told_with_their_licences(clips: Path, tmp_path: Path) -> None:
    with np.load(clips) as data:
        labels = {"src": ["dance", "sport", "sport"], "licence": ["CC0", "MIT", "MIT"]}
        np.savez(tmp_path / "labelled.npz", **{**data, **labels})
    config = small(tmp_path / "labelled.npz", tmp_path, validation=(clips,), source_weights=(("dance", 8.0),))
    tables: list[str] = []
    recipe = mocap.MocapRecipe(config, progress=tables.append)
    recipe.start(Process(torch.device("cpu")))
    dance = next(line.split() for line in tables[0].splitlines() if line.startswith("dance"))
    assert 75 < float(dance[4]) < 85
    assert recipe.info(1, {}).licence == "CC0; MIT"
    other = mocap.MocapRecipe(replace(config, source_weights=(), licence="our own"))
    other.start(Process(torch.device("cpu")))
    assert other.info(1, {}).licence == "our own"
    assert other.settings() != recipe.settings()


def test_the_loss_leaves_out_what_has_no_truth() -> None:
    config = TrainConfig(data=(Path("x"),), out=Path("y"))
    weights = mocap.step_weights(config, config.model)
    steps = config.model.seq_len
    output, truth = torch.zeros(2, steps, 34), torch.zeros(2, steps, 17, 2)
    valid = torch.ones(2, steps)
    valid[:, 50:] = 0
    truth[:, 50:] = 1e3
    assert mocap.motion_loss(output, truth, valid, weights, 1.0).item() == pytest.approx(0, abs=1e-6)
    truth[:, 35] = 1.0
    assert mocap.motion_loss(output, truth, valid, weights, 1.0).item() > 0.01


def test_joints_that_were_not_seen_do_not_count() -> None:
    config = TrainConfig(data=(Path("x"),), out=Path("y"))
    weights = mocap.step_weights(config, config.model)
    output, truth = torch.zeros(2, config.model.seq_len, 34), torch.zeros(2, config.model.seq_len, 17, 2)
    truth[:, :, 4] = 1e3
    valid, joints = torch.ones(truth.shape[:2]), torch.full((2, 17), 17 / 16)
    assert mocap.motion_loss(output, truth, valid, weights, 1.0, joints).item() > 1
    joints[:, 4] = 0
    assert mocap.motion_loss(output, truth, valid, weights, 1.0, joints).item() == pytest.approx(0, abs=1e-6)


def test_the_gap_that_a_stream_reads_counts_most() -> None:
    config = TrainConfig(data=(Path("x"),), out=Path("y"))
    weights = mocap.step_weights(config, config.model)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-5)
    assert weights[35] == weights.max()
    assert weights[5] < weights[60] < weights[35]


def test_warm_up_then_a_cosine_down_to_one_percent() -> None:
    config = TrainConfig(data=(Path("x"),), out=Path("y"), steps=1000, warmup=100, lr=1.0)
    rates = [mocap.learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0)
    assert np.argmax(rates) in (99, 100)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_the_average_follows_the_network() -> None:
    config = TrainConfig(data=(Path("x"),), out=Path("y")).model
    slow, fast = MixSynthFormer(config), MixSynthFormer(config)
    target = {name: p.clone() for name, p in fast.named_parameters()}
    for _ in range(200):
        loop._update_average(slow, fast, decay=0.9)
    for name, parameter in slow.named_parameters():
        assert torch.allclose(parameter, target[name], atol=1e-5), name


def test_a_second_round_starts_from_the_weights_of_a_file(clips: Path, tmp_path: Path) -> None:
    first = train(small(clips, tmp_path / "first", steps=20, batch=8, ema=0.5, space="world"))
    config = small(clips, tmp_path / "second", steps=1, lr=1e-9, space="world", start=first)
    before, after = load_weights(first)[0], load_weights(train(config))[0]
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-6, err_msg=name)
    with pytest.raises(ModelError, match=r"another network \(space world, here image; joint_dim 51, here 34\); start"):
        train(small(clips, tmp_path / "third", start=first))


def test_a_second_round_starts_from_shipped_weights_by_name(clips: Path, tmp_path: Path) -> None:
    config = small(clips, tmp_path, steps=1, lr=1e-9, start=Path("image-n10"))
    shipped, after = load_weights(ASSETS / "image-n10.safetensors")[0], load_weights(train(config))[0]
    for name, values in shipped.items():
        np.testing.assert_allclose(after[name], values, atol=1e-6, err_msg=name)
    with pytest.raises(ModelError, match="no weights named 'image-n9'; shipped weights: image-n10"):
        train(small(clips, tmp_path, start=Path("image-n9")))


def test_short_validation_clips_have_the_questions_that_they_reach(clips: Path, tmp_path: Path) -> None:
    """Two keyframes and nine steps: no gap before the newest one, nothing 400 ms ahead, and still a best score."""
    short = tmp_path / "short.npz"
    with np.load(clips) as data:
        np.savez(short, **{**data, "lengths": [20] * 3})
    path = train(small(clips, tmp_path / "out", steps=1, validation=(short,)))
    questions = {name for name in load_weights(path)[2].metrics if name.startswith("short/")}
    assert questions == {"short/gap", *(f"short/ahead_{ms}" for ms in (100, 200, 300))}


def test_validation_files_of_one_name_are_kept_apart_and_names_do_not_choose_the_weights(
    clips: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / folder / "gaps_ahead.npz" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(clips, path)
    train(small(clips, tmp_path, steps=1, validation=tuple(paths)))
    row = next(csv.DictReader((tmp_path / "image-n10.csv").open()))
    values = {name: float(value) for name, value in row.items() if "/" in name}
    assert [name for name in values if name.endswith("/gap")] == [f"{path}/gap" for path in paths]
    gaps, ahead = ([v for name, v in values.items() if kind in name.split("/")[-1]] for kind in ("gap", "ahead_"))
    assert len(gaps) == 4 and len(ahead) == 12
    assert float(row["score"]) == pytest.approx((np.mean(gaps) + np.mean(ahead)) / 2, rel=1e-4)


def test_validation_clips_that_are_too_short_are_named(clips: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.npz"
    with np.load(clips) as data:
        np.savez(short, **{**data, "positions": data["positions"][:6], "starts": [0], "lengths": [6], "subject": ["a"]})
    with pytest.raises(SourceError, match="^short: no clip reaches from one keyframe to the next"):
        train(small(clips, tmp_path, validation=(short,)))


def test_the_length_that_clips_should_have_had_is_enough(clips: Path, tmp_path: Path) -> None:
    """Of a clip that is too slow for it, more than of a lively one."""

    def cut(frames: int) -> Path:
        path = tmp_path / f"{frames}.npz"
        with np.load(clips) as data:
            np.savez(path, **{**data, "lengths": [frames] * 3})
        return path

    config = small(clips, tmp_path / "out", steps=1, validation=(clips,))
    with pytest.raises(SourceError, match="no clip is long enough to train on: the longest lasts 0.50 s") as raised:
        train(replace(config, data=(cut(16),)))
    (least_s,) = re.findall(r"; ([\d.]+) s would do for clip \d, which lasts 0.50 s", str(raised.value))
    enough = int(np.ceil(30 * float(least_s))) + 1
    assert float(least_s) > 0.6
    train(replace(config, data=(cut(enough),)))
    with pytest.raises(SourceError, match=f" {least_s} s would do"):
        train(replace(config, data=(cut(enough - 2),)))
