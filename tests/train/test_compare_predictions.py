"""`scripts/compare_predictions.py`: clips in the form of the task, siMLPe, and the table of both networks."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.swing_clips import write_swings

from mixsynth_stream.data.mocap import load_clips
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.presets import published_config
from mixsynth_stream.skeleton import CORE_17

torch = pytest.importorskip("torch")

SHAPE = replace(published_config("h36m-prediction"), joint_dim=51)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    sys.path.insert(0, str(CHECKOUT / "scripts"))
    try:
        return importlib.import_module("compare_predictions")
    finally:
        del sys.path[0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swings(tmp_path_factory.mktemp("clips") / "swing.npz")


def test_a_clip_is_seen_from_its_root_at_25_hz(tool: ModuleType, clips: Path) -> None:
    sequence, clip = tool.load_sequences([clips])[0], load_clips(clips)[0]
    assert sequence.poses.shape == (125, 17, 3) and sequence.rate_hz == 25
    joint = CORE_17.joints.index
    hips = sequence.poses[:, [joint("left_hip"), joint("right_hip")]]
    np.testing.assert_allclose(hips.sum(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(hips[..., 1:], 0, atol=1e-6)
    shoulders = sequence.poses[:, [joint("left_shoulder"), joint("right_shoulder")]].mean(axis=1)
    np.testing.assert_allclose(shoulders[:, [0, 2]], 0, atol=1e-6)
    assert (shoulders[:, 1] > 0.3).all()
    # Turned and moved people have the same poses, and no bone changes its length.
    rooted = sys.modules["prediction_clips"].rooted
    turn = np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])
    np.testing.assert_allclose(rooted(clip.core @ turn.T + [3, 0, 7]), rooted(clip.core), atol=1e-5)
    shin = clip.core[:, joint("left_knee")] - clip.core[:, joint("left_ankle")]
    own = rooted(clip.core)[:, joint("left_knee")] - rooted(clip.core)[:, joint("left_ankle")]
    np.testing.assert_allclose(np.linalg.norm(own, axis=-1), np.linalg.norm(shin, axis=-1), atol=1e-5)


def test_simlpe_starts_as_the_last_pose_and_sees_all_frames(tool: ModuleType) -> None:
    torch.manual_seed(0)
    network, keyframes = tool.SiMlpe(SHAPE), torch.randn(3, 10, 51)
    out = network(keyframes)
    assert out.shape == (3, 20, 51) and torch.equal(out[:, :10], keyframes)
    torch.testing.assert_close(out[:, 10:], keyframes[:, -1:].expand(-1, 10, -1), atol=1e-5, rtol=0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    keyframes.requires_grad_()
    (gradient,) = torch.autograd.grad(network(keyframes)[0, 19].sum(), keyframes)
    assert (gradient[0].abs().amax(dim=-1) > 1e-6).all() and not gradient[1:].any()
    torch.testing.assert_close(network.transform @ network.transform.T, torch.eye(10), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="at most as many frames as it sees, 5; found 10"):
        tool.SiMlpe(replace(SHAPE, step=4))


def test_the_table_has_both_networks_and_their_ratio(
    tool: ModuleType, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["simlpe"], "BLOCKS", 2)
    threads, file = torch.get_num_threads(), tmp_path / "rows.json"
    command = ["compare", "--data", str(clips), "--validation", str(clips), "--epochs", "1", "--batch", "128"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "out"), "--json", str(file)])
    try:
        tool.main()
    finally:
        torch.set_num_threads(threads)
    _, ours, over, peer = capsys.readouterr().out.rstrip().splitlines()
    assert (ours.split()[0], peer.split()[0]) == ("ours", "siMLPe") and over.startswith("ours over siMLPe")
    rows = json.loads(file.read_text())["rows"]
    for line, row in ((ours, rows[0]), (peer, rows[1])):
        errors = row["errors_mm"]
        assert f"{errors['network_at_400'] / errors['last_pose_at_400']:.3f}" == line.split()[5]
        assert errors["last_pose_at_400"] > errors["last_pose_at_80"] > 0
    assert f"{rows[0]['errors_mm']['network_at_80'] / rows[1]['errors_mm']['network_at_80']:.3f}" == over.split()[4]


def test_a_file_that_cannot_be_read_gets_a_sentence(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "no.npz")
    command = ["compare", "--data", missing, "--validation", missing, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match=r"compare_predictions: .*no\.npz"):
        tool.main()
