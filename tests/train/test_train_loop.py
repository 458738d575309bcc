"""The training loop: breaks, full disks, early stop, several processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.swing_clips import small, write_swings

from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.presets import shipped_config
from mixsynth_stream.train import train
from mixsynth_stream.weights import load_weights

torch = pytest.importorskip("torch")
from mixsynth_stream.network import MixSynthFormer  # noqa: E402
from mixsynth_stream.train import loop, mocap  # noqa: E402
from mixsynth_stream.train.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mixsynth_stream.train.devices import use_mixed_precision  # noqa: E402


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swings(tmp_path_factory.mktemp("clips") / "swing.npz")


@pytest.fixture(scope="module")
def whole(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a training that nothing disturbs."""
    return train(small(clips, tmp_path_factory.mktemp("whole")))


def once(number: int, act: Callable[[], None], original: Callable[..., object]) -> Callable[..., object]:
    """`original`, but its call of this number (from 1) acts first."""
    calls = []

    def acting(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == number:
            act()
        return original(*args, **kwargs)

    return acting


def stop() -> None:
    raise KeyboardInterrupt


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("where", "name", "break_off", "step"),
    [
        # Validations are after steps 2, 4 and 6: these breaks lie between two of them.
        (mocap.WindowSampler, "draw", (4, stop), 3),
        (mocap, "motion_loss", (4, stop), 3),
        # A signal in the middle of an update waits for its end.
        (loop, "_update_average", (3, ctrl_c), 3),
        (mocap.WindowSampler, "draw", (1, stop), 0),
    ],
    ids=["while drawing", "while learning", "while updating", "before anything"],
)
def test_a_break_between_validations_loses_nothing(
    clips: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
    break_off: tuple[int, Callable[[], None]],
    step: int,
) -> None:
    monkeypatch.setattr(where, name, once(*break_off, getattr(where, name)))
    with pytest.raises(KeyboardInterrupt):
        train(small(clips, tmp_path / "broken"))
    monkeypatch.undo()
    saved = torch.load(tmp_path / "broken/image-n10.checkpoint.pt", weights_only=True)
    assert saved["step"] == step
    # Curves of the validations so far, of which the first is after step 2.
    assert (tmp_path / "broken/image-n10.png").exists() == (step > 2)
    torch.rand(7)
    resumed = train(small(clips, tmp_path / "broken", resume=True))
    assert resumed.read_bytes() == whole.read_bytes()
    assert (tmp_path / "broken/image-n10.csv").read_text() == whole.with_suffix(".csv").read_text()


def test_a_full_disk_leaves_the_checkpoint_before(
    clips: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = torch.save, []

    def full(content: object, path: Path) -> None:
        calls.append(path)
        save(content, path)
        if len(calls) == 2:
            path.write_bytes(path.read_bytes()[:1000])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="the disk is full.*the checkpoint before is kept"):
        train(small(clips, tmp_path / "full"))
    monkeypatch.undo()
    assert torch.load(tmp_path / "full/image-n10.checkpoint.pt", weights_only=True)["step"] == 2
    assert not list((tmp_path / "full").glob("*.part"))
    assert train(small(clips, tmp_path / "full", resume=True)).read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("ending", "steps"), [(".csv", 2), (".png", 6)])
def test_a_disk_without_room_for_the_curves_is_named_and_costs_nothing(
    clips: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, steps: int
) -> None:
    write, calls = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        calls.append(path)
        if f"image-n10{ending}" in path.name and (ending == ".png" or calls.count(path) == 2):
            write(path, content[:40])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=rf"image-n10\{ending} cannot be written: the disk is full; free some space"):
        train(small(clips, tmp_path))
    monkeypatch.undo()
    assert torch.load(tmp_path / "image-n10.checkpoint.pt", weights_only=True)["step"] == steps
    assert (tmp_path / "image-n10.csv").read_text().count("\n") == 1 + steps // 2
    assert not list(tmp_path.glob("*.part"))
    assert train(small(clips, tmp_path, resume=True)).read_bytes() == whole.read_bytes()
    assert (tmp_path / "image-n10.csv").read_text() == whole.with_suffix(".csv").read_text()
    assert (tmp_path / "image-n10.png").read_bytes().startswith(b"\x89PNG")


def test_training_ends_when_it_no_longer_gets_better(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3.0, 2.0, 2.5, 2.1, 1.0, 0.9])
    monkeypatch.setattr(mocap.MocapRecipe, "score", lambda self, rows: next(scores))
    path = train(small(clips, tmp_path, validate_every=1, patience=2))
    assert load_weights(path)[2].metrics["step"] == 2
    assert (tmp_path / "image-n10.csv").read_text().count("\n") == 1 + 4


def test_a_loss_that_is_no_number_ends_training_in_a_sentence(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = mocap.motion_loss
    monkeypatch.setattr(mocap, "motion_loss", lambda *args: loss(*args) * float("nan"))
    with pytest.raises(ModelError, match="nan in step 1; use a lower --lr"):
        train(small(clips, tmp_path))


def test_a_score_that_is_no_number_ends_training_in_a_sentence(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = mocap.MocapRecipe.measure
    monkeypatch.setattr(mocap.MocapRecipe, "measure", lambda *args: measure(*args) | {"validation/gap": float("nan")})
    with pytest.raises(
        ModelError, match=r"became nan after step 2 \(validation/gap nan\); look at the validation data, "
    ):
        train(small(clips, tmp_path))


def test_damaged_checkpoints_and_those_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint.pt"
    save_checkpoint(path, {"settings": "preset jhmdb"})
    with pytest.raises(SourceError, match=r"other settings \(preset jhmdb, here preset aist\)"):
        load_checkpoint(path, "preset aist")
    saved = json.dumps({"preset": "jhmdb", "lr": 0.1, "batch": 64, "data": "ab" * 32}) + ", processes 2"
    save_checkpoint(path, {"settings": saved})
    current = json.dumps({"preset": "jhmdb", "lr": 0.1, "batch": 32, "data": "cd" * 32}) + ", processes 1"
    differences = "batch 64, here 32; data abababab..., here cdcdcdcd...; processes 2, here 1"
    with pytest.raises(SourceError, match=re.escape(f"({differences})")):
        load_checkpoint(path, current)
    for damaged in (path.read_bytes()[:50], b"junk", b""):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match="damaged"):
            load_checkpoint(path, "preset jhmdb")


def test_mixed_precision_keeps_the_way_beside_the_encoder_exact() -> None:
    """An untrained network is plain interpolation, to the last bit; a trained one is near what float32 gives."""
    config = shipped_config("image")
    keyframes = torch.randn(4, 5, config.joint_dim)
    network, exact = MixSynthFormer(config, dropout=0.0), MixSynthFormer(config, dropout=0.0)
    exact.load_state_dict(network.state_dict())
    use_mixed_precision(network, "cpu")
    assert torch.equal(network(keyframes), exact(keyframes))
    for one in (network, exact):
        torch.manual_seed(0)
        torch.nn.init.xavier_uniform_(one.fc.weight)
    difference = (network(keyframes) - exact(keyframes)).abs().max().item()
    assert 0 < difference < 0.1
    network(keyframes).square().mean().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in network.parameters())


def test_two_processes_train_one_network(clips: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "mixsynth_stream", "train", "--data", str(clips), "--out", str(tmp_path)]
    command += ["--steps", "2", "--batch", "4", "--validate-every", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=400, env=environment)
    state, _, info = load_weights(tmp_path / "image-n10.safetensors")
    assert info.metrics["step"] in (1, 2)
    assert all(np.isfinite(value).all() for value in state.values())
    assert (tmp_path / "image-n10.csv").read_text().count("\n") == 3
    saved = torch.load(tmp_path / "image-n10.checkpoint.pt", weights_only=True)
    first, second = (state for _, state in saved["random"])
    assert saved["step"] == 2 and first != second
    with pytest.raises(SourceError, match="processes 2"):
        train(small(clips, tmp_path, steps=2, validate_every=1, resume=True))
