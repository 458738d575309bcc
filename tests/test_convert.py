"""A published checkpoint becomes a weight file with the same numbers; a pickle that would run something is refused."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from support import networks
from support.networks import PUBLISHED, assert_close, published, random_keyframes, random_state

from mixsynth_stream import cli
from mixsynth_stream.convert import convert, read_checkpoint
from mixsynth_stream.errors import ModelError
from mixsynth_stream.network import MixSynthFormer
from mixsynth_stream.presets import PRESETS
from mixsynth_stream.weights import load_model

SHAPE_OF_PRESET = {
    "jhmdb": "jhmdb",
    "h36m": "h36m",
    "3dpw-spin": "3dpw",
    "3dpw-eft": "3dpw",
    "3dpw-pare": "3dpw-pare",
    "3dpw-smpl-pare": "3dpw-smpl",
    "aist": "aist",
    "aist-smpl": "aist-smpl",
}


def checkpoint(path, config, *, prefix="", key="state_dict", **extra):
    """A file as the authors' training script writes it: optimizer, epoch, and scores as numpy numbers."""
    state = random_state(config)
    tensors = {f"{prefix}{name}": torch.from_numpy(value) for name, value in state.items()}
    # As Adam's state_dict; making a real optimizer imports half of torch.
    moments = {"step": torch.tensor(9.0), "exp_avg": torch.ones(3), "max_exp_avg_sq": torch.ones(3)}
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": True, "foreach": None, "params": [0]}
    optimizer = {"state": {0: moments}, "param_groups": [group]}
    scores = {"output_mpjpe": np.float64(50.9), "accel": np.float32(1.5), "frames": np.int64(7)}
    content = {"epoch": 70, "performance": scores, "optimizer": optimizer, **extra}
    torch.save(content | {key: tensors} if key else tensors, path)
    return state


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_reads_its_published_network(tmp_path, preset):
    config = published(SHAPE_OF_PRESET[preset], *((1, 1) if preset == "h36m" else (4, 1)))
    path, out = tmp_path / "checkpoint_e70.pth.tar", tmp_path / "out.safetensors"
    state = checkpoint(path, config)
    convert(path, out, preset=preset)
    model = load_model(out, backend="native")
    interval, step, channels, layers, joint_dim = PUBLISHED[SHAPE_OF_PRESET[preset]]
    result = model.config
    assert (result.sample_interval, result.step, result.emb_dim) == (interval, step, channels)
    assert (result.num_encoder_layers, result.joint_dim, result.horizon) == (layers, joint_dim, 0)
    assert result == config, "the reduce factors are inferred"
    assert model.info.skeleton == PRESETS[preset].skeleton.name
    keyframes = random_keyframes(config, 1)
    assert_close(model(keyframes), networks.reference(config, state, keyframes), 1e-5, "motion")


@pytest.mark.parametrize(("prefix", "key"), [("module.", "state_dict"), ("", "model"), ("module.", None)])
def test_nesting_and_prefixes_are_undone(tmp_path, prefix, key):
    state = checkpoint(tmp_path / "a.pth", published("3dpw"), prefix=prefix, key=key)
    result = read_checkpoint(tmp_path / "a.pth")
    assert result.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(result[name], value)


def test_a_checkpoint_of_ones_own_needs_every_setting(tmp_path):
    config = published("3dpw", 1, 1)
    checkpoint(tmp_path / "own.pth", config)
    with pytest.raises(ValueError, match="does not say its space, normalisation: give them, or a preset"):
        convert(tmp_path / "own.pth", tmp_path / "own.safetensors", skeleton="J14", rate_hz=25, sample_interval=10)
    _, info = convert(
        tmp_path / "own.pth",
        tmp_path / "own.safetensors",
        skeleton="J14",
        rate_hz=25,
        sample_interval=10,
        space="world",
        normalisation="root",
        data="our gait laboratory",
        licence="CC-BY-4.0",
    )
    assert (info.space, info.rate_hz, info.normalisation, info.data) == ("world", 25, "root", "our gait laboratory")
    assert load_model(tmp_path / "own.safetensors").info == info


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_never_runs(tmp_path, zipped):
    trap = tmp_path / "the-trap-was-sprung"
    tensors = {name: torch.from_numpy(value) for name, value in random_state(published("3dpw")).items()}
    torch.save(
        {"state_dict": tensors, "performance": Malicious(trap)},
        tmp_path / "bad.pth.tar",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ModelError, match=r"bad.pth.tar is refused: it asks for posix\.mkdir; only tensors and numbers"):
        convert(tmp_path / "bad.pth.tar", tmp_path / "out.safetensors", preset="3dpw-spin")
    assert not trap.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(MixSynthFormer(networks.ODD), tmp_path / "whole.pth")
    with pytest.raises(ModelError, match=r"it asks for mixsynth_stream\.network\.MixSynthFormer"):
        read_checkpoint(tmp_path / "whole.pth")


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda p: None, "cannot read .*: No such file"),
        (lambda p: p.mkdir(), "cannot read .*: Is a directory"),
        (lambda p: p.write_bytes(b""), "damaged or not a torch checkpoint"),
        (lambda p: p.write_bytes(b"not a checkpoint at all"), "damaged,? or not a torch checkpoint"),
        (lambda p: (checkpoint(p, published("3dpw")), p.write_bytes(p.read_bytes()[:9000])), "damaged"),
        (lambda p: torch.save([1, 2, 3], p), "holds no state_dict, found list"),
        (lambda p: torch.save({}, p), "holds no state_dict"),
        (lambda p: torch.save({"epoch": 3}, p), "holds 'epoch' of type int among its weights"),
        (lambda p: torch.save({"conv1.weight": torch.ones(3, 3)}, p), "lack l_interp.weight; this is not a MixSynth"),
        (lambda p: checkpoint(p, published("h36m")), "has emb_dim 64, but the published aist network has 128"),
        (lambda p: checkpoint(p, published("jhmdb")), "has step 1, but the published aist network has 10"),
        (lambda p: checkpoint(p, published("3dpw-pare")), "sample interval of 10 and a horizon of 0 give 101"),
        (lambda p: checkpoint(p, published("aist-smpl")), "14 joints with 3 numbers each in world space make 42"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_words(tmp_path, write, sentence):
    write(tmp_path / "some.pth.tar")
    with pytest.raises(ModelError, match=sentence):
        convert(tmp_path / "some.pth.tar", tmp_path / "out.safetensors", preset="aist")
    assert not (tmp_path / "out.safetensors").exists()


def test_nan_in_a_checkpoint_is_refused(tmp_path):
    tensors = {name: torch.from_numpy(value) for name, value in random_state(published("3dpw")).items()}
    tensors["norm.bias"][3] = torch.nan
    torch.save(tensors, tmp_path / "nan.pth")
    with pytest.raises(ModelError, match=r"norm.bias holds 1 numbers that are NaN"):
        convert(tmp_path / "nan.pth", tmp_path / "out.safetensors", preset="3dpw-spin")


def test_the_command_writes_beside_the_checkpoint(tmp_path, capsys):
    checkpoint(tmp_path / "best.pth.tar", published("3dpw"))
    assert cli.main(["convert", str(tmp_path / "best.pth.tar"), "--preset", "3dpw-eft"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "J14 in world space at 30 Hz" in output.err
    assert load_model(tmp_path / "best.safetensors").info.skeleton == "J14"


def test_the_command_fails_with_the_exit_code_of_its_cause(tmp_path, capsys):
    assert cli.main(["convert", str(tmp_path / "absent.pth"), "--preset", "jhmdb"]) == 4
    checkpoint(tmp_path / "own.pth", published("3dpw"))
    assert cli.main(["convert", str(tmp_path / "own.pth")]) == 2
    out = tmp_path / "absent" / "out.safetensors"
    assert cli.main(["convert", str(tmp_path / "own.pth"), "--preset", "3dpw-spin", "--out", str(out)]) == 1
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", str(tmp_path / "own.pth"), "--preset", "tennis"])
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4, lines
    assert "give them, or a preset" in lines[1]
