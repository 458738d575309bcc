"""`scripts/compare_architectures.py`: what the other architectures are, and that all are trained and scored alike."""

from __future__ import annotations

import importlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.swing_clips import small, write_swings

from mixsynth_stream.evaluate.baselines import linear
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.interpolation import catmull_rom_matrix
from mixsynth_stream.presets import shipped_config
from mixsynth_stream.weights import load_weights

torch = pytest.importorskip("torch")
from mixsynth_stream.train.devices import Process  # noqa: E402

SHIPPED = shipped_config("image")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(CHECKOUT / "scripts"))
    try:
        return importlib.import_module("compare_architectures")
    finally:
        del sys.path[0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swings(tmp_path_factory.mktemp("clips") / "swing.npz")


def build(tool: ModuleType, name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    architecture = tool.ARCHITECTURES[name]
    return architecture.make(architecture.shape(SHIPPED)).eval()


def test_the_published_network_starts_at_random_and_ours_as_interpolation(tool: ModuleType) -> None:
    published, ours = build(tool, "published"), build(tool, "ours")
    for name, parameter in published.named_parameters():
        if parameter.dim() == 2:
            bound, largest = math.sqrt(6 / sum(parameter.shape)), parameter.abs().max().item()
            assert 0.8 * bound < largest <= bound, f"{name}: {largest}, Xavier-uniform reaches to {bound}"
    keyframes = torch.randn(2, 5, SHIPPED.joint_dim)
    curve = torch.from_numpy(catmull_rom_matrix(10, 4, 28)).float() @ keyframes
    assert published(keyframes).shape == (2, 41, SHIPPED.joint_dim)
    assert (published(keyframes) - curve[:, :41]).abs().max() > 0.1
    torch.testing.assert_close(ours(keyframes), curve)


@pytest.mark.parametrize(("name", "steps"), [("transformer", 41), ("transformer-ahead", 69)])
def test_the_transformer_corrects_straight_lines(tool: ModuleType, name: str, steps: int) -> None:
    """Without its two corrections it is linear interpolation, and the newest pose past it."""
    network, keyframes = build(tool, name), torch.randn(3, 5, SHIPPED.joint_dim)
    corrected = network(keyframes)
    assert corrected.shape == (3, steps, SHIPPED.joint_dim)
    for layer in (network.denoise_fc, network.recover_fc):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    straight = network(keyframes)
    assert (straight - corrected).abs().max() > 0.1
    lines = linear(keyframes.numpy().reshape(3, 5, 17, 2), 10, np.arange(41)).reshape(3, 41, -1)
    np.testing.assert_allclose(straight[:, :41].detach(), lines, atol=1e-6)
    torch.testing.assert_close(straight[:, 41:], keyframes[:, -1:].expand(-1, steps - 41, -1))


def test_the_transformer_sees_every_keyframe_at_every_step_and_where_it_stands(tool: ModuleType) -> None:
    network, keyframes = build(tool, "transformer"), torch.randn(1, 5, SHIPPED.joint_dim, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(keyframes)[0, 3].sum(), keyframes)
    assert (gradient.abs().amax(dim=-1) > 1e-5).all()
    still = network(torch.ones(1, 5, SHIPPED.joint_dim))[0]
    assert (still[15] - still[25]).abs().max() > 1e-3


def test_all_learn_from_the_same_windows(tool: ModuleType, clips: Path, tmp_path: Path) -> None:
    config = replace(small(clips, tmp_path), validation=(clips,))
    batches = []
    for name in tool.USUAL:
        recipe = tool.ArchitectureRecipe(config, name)
        recipe.start(Process(torch.device("cpu")))
        batches.append(recipe.draw(0))
        keyframes, truth, *rest = batches[-1]
        output = recipe.network()(keyframes)
        later = truth.clone()
        later[:, 41:] += 1
        moved = recipe.loss(output, later, *rest) - recipe.loss(output, truth, *rest)
        assert (moved.abs() > 1e-3) == (name == "ours"), f"{name}: the loss moved by {moved}"
    for one, other in zip(batches[0], batches[1], strict=True):
        assert torch.equal(one, other)


def test_it_prints_a_row_for_each_and_trains_nothing_twice(
    tool: ModuleType, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "rows.json"
    command = ["compare", "--data", str(clips), "--validation", str(clips), "--steps", "2", "--batch", "4"]
    command += ["--out", str(out), "--json", str(file)]
    monkeypatch.setattr(tool, "ROUNDS", 1)
    monkeypatch.setattr(tool, "CALLS", 1)
    monkeypatch.setattr(sys, "argv", [*command, "--only", "published"])
    tool.main()
    first = capsys.readouterr().out.splitlines()
    weights = (out / "published.safetensors").read_bytes()
    monkeypatch.setattr(sys, "argv", [*command, "--resume"])
    tool.main()
    header, ours, published, transformer, _ = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["network", "data", "gap", "gap", "before"]
    assert [line.split()[:2] for line in (ours, published, transformer)] == [[name, "swing"] for name in tool.USUAL]
    assert " - " not in ours and published.count(" - ") == transformer.count(" - ") == 6
    assert published.split()[2:4] == first[1].split()[2:4]
    assert (out / "published.safetensors").read_bytes() == weights
    rows = json.loads(file.read_text())["rows"]
    assert f"{rows[2]['over_best_simple']['swing/gap']:.3f}" == transformer.split()[2]
    assert [row["horizon"] for row in rows] == [28, 0, 0]
    assert load_weights(out / "published.safetensors")[1] == replace(SHIPPED, horizon=0)


def test_a_file_that_cannot_be_read_gets_a_sentence(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "no.npz")
    command = ["compare", "--data", missing, "--validation", missing, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match=r"compare_architectures: .*no\.npz"):
        tool.main()
