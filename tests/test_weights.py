"""Weight files describe themselves; one that does not fit is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import networks
from support.networks import ODD, SHAPES, assert_close, core_info, random_keyframes, random_state

from mixsynth_stream import weights
from mixsynth_stream.backend import BACKENDS, available_backends
from mixsynth_stream.errors import ModelError, OutputError
from mixsynth_stream.skeleton import BLAZEPOSE_33, CORE_17
from mixsynth_stream.weights import METADATA_KEY, load_model, load_weights, save_weights, untrained_model

CONFIG = SHAPES["image-n10"]


@pytest.fixture(scope="module")
def state():
    return random_state(CONFIG)


@pytest.fixture
def weight_file(tmp_path, state):
    path = tmp_path / "image.safetensors"
    save_weights(path, state, CONFIG, core_info())
    return path


def rewrite(path, state, **changes):
    """The file once more with some metadata changed; None removes a field."""
    fields = dataclasses.asdict(core_info()) | dataclasses.asdict(CONFIG) | changes
    fields = {name: value for name, value in fields.items() if value is not None}
    save_file(state, path, metadata={METADATA_KEY: json.dumps(fields)})
    return path


def test_what_was_saved_is_loaded(weight_file, state):
    tensors, config, info = load_weights(weight_file)
    assert config == CONFIG
    assert info == core_info()
    assert info.skeleton_joints == CORE_17.joints
    assert tensors.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(tensors[name], value)
    assert [path.name for path in weight_file.parent.iterdir()] == [weight_file.name], "no leftovers beside the file"


def test_the_same_weights_give_the_same_bytes(weight_file, state):
    before = weight_file.read_bytes()
    save_weights(weight_file, dict(reversed(state.items())), CONFIG, core_info())
    assert weight_file.read_bytes() == before


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_gives_the_formulas_numbers(weight_file, state, name):
    status = next(row for row in available_backends() if row.name == name)
    if name == "cuda" and not status.ready:
        pytest.skip(status.about)
    model = load_model(weight_file, backend=name)
    assert model.backend == name
    keyframes = random_keyframes(CONFIG, 2)
    expected = networks.reference(CONFIG, state, keyframes)
    assert_close(model(keyframes), expected, 1e-5, "motion")
    # float64 and strided input is what numpy arithmetic yields: converted, not refused.
    strided = np.repeat(keyframes.astype(np.float64), 2, axis=1)[:, ::2]
    assert_close(model(strided), expected, 1e-5, "motion of a strided array")
    with pytest.raises(ValueError, match=r"keyframes must have shape .* found \[2, 4, 34\]"):
        model(keyframes[:, 1:])
    with pytest.raises(ValueError, match="keyframes must be finite"):
        model(np.full_like(keyframes, np.nan))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": 2}, "format version 2 is not the version 1 that this release reads"),
        ({"format_version": "1"}, "format_version has the wrong type"),
        ({"format_version": None}, "metadata lacks format_version"),
        (
            {"skeleton_joints": [*CORE_17.joints[:-1], "tail", "wing"]},
            "18 joints with 2 numbers each in image space make 36, but the network takes 34",
        ),
        ({"skeleton_joints": ["nose"] * 17}, "joint names must be present and distinct"),
        ({"skeleton_joints": list(range(17))}, "skeleton_joints must be names"),
        ({"space": "world"}, "17 joints with 3 numbers each in world space make 51"),
        ({"space": "sideways"}, "space must be one of image, world, rotation, found 'sideways'"),
        ({"normalisation": "whitened"}, "normalisation must be one of none, root, root_scale, found 'whitened'"),
        ({"rate_hz": 0.0}, "grid rate must be between 0 and 1000 Hz"),
        ({"rate_hz": "fast"}, "rate_hz has the wrong type"),
        ({"date": "yesterday"}, "date must read like 2026-01-31"),
        ({"metrics": [1]}, "metrics has the wrong type"),
        ({"licence": None}, "metadata lacks licence"),
        ({"step": None}, "metadata lacks step"),
        ({"step": 2.5}, "step must be a whole number, found 2.5"),
        ({"emb_dim": 32}, r"encoder_emb.weight has shape \[64, 34\], but .*emb_dim=32.* needs \[32, 34\]"),
        ({"sample_interval": 5}, "has shape"),
        ({"horizon": -1}, "horizon must be a whole number of at least 0"),
        ({"num_encoder_layers": 10**9}, "hold 4 encoder layers, but 1000000000 are declared"),
        ({"reduce_token": 1}, "has shape"),
    ],
)
def test_metadata_that_does_not_fit_is_refused_in_words(tmp_path, state, changes, sentence):
    path = rewrite(tmp_path / "wrong.safetensors", state, **changes)
    with pytest.raises(ModelError, match=sentence) as raised:
        load_model(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("norm.bias"), "lack norm.bias"),
        (lambda s: s.update(extra=np.ones(3, np.float32)), "hold extra, which"),
        (lambda s: s.update({"fc.bias": np.ones(3, np.float32)}), r"fc.bias has shape \[3\]"),
        (lambda s: s.update({"fc.bias": np.ones(34, np.float16)}), "fc.bias must be float32, found float16"),
        (
            lambda s: s.update({"fc.bias": np.array([np.nan, np.inf] * 17, np.float32)}),
            "fc.bias holds 34 numbers that are NaN or infinite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_words(tmp_path, state, change, sentence):
    broken = dict(state)
    change(broken)
    path = rewrite(tmp_path / "wrong.safetensors", broken)
    with pytest.raises(ModelError, match=sentence):
        load_model(path)
    with pytest.raises(ModelError, match=sentence):
        save_weights(tmp_path / "again.safetensors", broken, CONFIG, core_info())
    assert not (tmp_path / "again.safetensors").exists()


@pytest.mark.parametrize("size", [0, 4, 200, 40_000, -1])
def test_a_truncated_file_is_refused(weight_file, size):
    weight_file.write_bytes(weight_file.read_bytes()[:size])
    with pytest.raises(ModelError, match="truncated or not a safetensors file"):
        load_model(weight_file)


def test_other_files_are_refused(tmp_path, state):
    text = tmp_path / "text.safetensors"
    text.write_text("these are not weights, however long the text may be")
    with pytest.raises(ModelError, match=r"text.safetensors: .*not a safetensors file"):
        load_model(text)
    plain = tmp_path / "plain.safetensors"
    save_file(state, plain)
    with pytest.raises(ModelError, match="no mixsynth-stream metadata"):
        load_model(plain)
    damaged = tmp_path / "damaged.safetensors"
    save_file(state, damaged, metadata={METADATA_KEY: "{"})
    with pytest.raises(ModelError, match="metadata is damaged"):
        load_model(damaged)
    pickled = tmp_path / "checkpoint.pth.tar"
    pickled.write_bytes(pickle.dumps(state))
    with pytest.raises(ModelError, match=r"never unpickled here.*convert"):
        load_model(pickled)
    with pytest.raises(ModelError, match="it is a folder"):
        load_model(tmp_path)


def test_an_unknown_name_lists_the_shipped_ones(monkeypatch, tmp_path, weight_file):
    with pytest.raises(ModelError, match=r"there is no weight file .*missing\.safetensors"):
        load_model(tmp_path / "missing.safetensors")
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match="no weights named 'image-n7'; shipped weights: image;"):
        load_model("image-n7")
    assert load_model("image").info == core_info()


def test_weights_for_another_skeleton_or_space_are_told_apart():
    model = untrained_model("image")
    model.expect(CORE_17, "image")
    with pytest.raises(ModelError, match=r"skeleton Core-17 \(17 joints\), but BlazePose-33 \(33 joints\) is needed"):
        model.expect(BLAZEPOSE_33, "image")
    with pytest.raises(ModelError, match="image space, but world space is needed"):
        model.expect(CORE_17, "world")


def test_what_does_not_belong_together_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match=r"17 joints with 2 numbers each in image space make 34, .* takes 5"):
        save_weights(tmp_path / "odd.safetensors", random_state(ODD), ODD, core_info())


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path, state):
    with pytest.raises(OutputError, match=r"absent.* cannot be written: No such file or directory"):
        save_weights(tmp_path / "absent" / "image.safetensors", state, CONFIG, core_info())
