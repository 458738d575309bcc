"""Models of a job: weights that go together, and sentences for those that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.networks import SHAPES, core_info, random_state
from support.turning import preset_weights

from mixsynth_stream.errors import ModelError
from mixsynth_stream.job.models import load_models
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.weights import save_weights

SEVEN = replace(SHAPES["image-n10"], sample_interval=7)


@pytest.fixture
def weights(tmp_path):
    """Weights of a spacing that does not ship, and of joints that a stream does not have."""
    save_weights(tmp_path / "seven.safetensors", random_state(SEVEN), SEVEN, core_info())
    return {"seven": str(tmp_path / "seven.safetensors"), "h36m": str(preset_weights(tmp_path, "h36m-prediction"))}


def test_weights_for_other_joints_are_named_first(weights):
    with pytest.raises(
        ModelError, match=r"--weights .*h36m-prediction\.safetensors: .* skeleton H36M.* is needed; use"
    ):
        load_models(JobOptions(weights=(weights["h36m"],)))


def test_a_spacing_whose_other_weights_do_not_ship_takes_two_files(weights):
    sentence = (
        r"--weights .*seven\.safetensors has a keyframe every 7 steps in image space, and no world weights ship for"
    )
    with pytest.raises(ModelError, match=rf"{sentence} that \(shipped weights: image-n10, .*\); give --weights twice"):
        load_models(JobOptions(weights=(weights["seven"],)))
    assert [model.info.space for model in load_models(JobOptions(weights=("image-n5",)))] == ["image", "world"]
