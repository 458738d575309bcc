"""The readable network computes what the paper says, loads what its authors publish, and starts as interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import networks
from support.networks import ODD, SHAPES, assert_close, published

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import ModelError
from mixsynth_stream.interpolation import catmull_rom_matrix
from mixsynth_stream.network import MixSynthFormer, config_from_state_dict
from mixsynth_stream.parameters import parameter_shapes, untrained_state

# The published file for Sub-JHMDB, cut down to one layer: N = 10, Q = 1, D = 30, C = 128, reduce factors (4, 1).
PUBLISHED_STATE = {
    "encoder_emb.weight": (128, 30),
    "encoder_emb.bias": (128,),
    "encoder.layers.0.synth_att.synth_token.dense.weight": (2, 128),
    "encoder.layers.0.synth_att.synth_token.dense.bias": (2,),
    "encoder.layers.0.synth_att.synth_token.se.fc.0.weight": (2, 11),
    "encoder.layers.0.synth_att.synth_token.se.fc.2.weight": (11, 2),
    "encoder.layers.0.synth_att.synth_token.value_reduce.weight": (2, 11),
    "encoder.layers.0.synth_att.synth_token.value_reduce.bias": (2,),
    "encoder.layers.0.synth_att.synth_channel.dense.weight": (128, 11),
    "encoder.layers.0.synth_att.synth_channel.dense.bias": (128,),
    "encoder.layers.0.synth_att.synth_channel.se.fc.0.weight": (32, 128),
    "encoder.layers.0.synth_att.synth_channel.se.fc.2.weight": (128, 32),
    "encoder.layers.0.synth_att.synth_channel.value_reduce.weight": (128, 128),
    "encoder.layers.0.synth_att.synth_channel.value_reduce.bias": (128,),
    "encoder.layers.0.synth_att.reweight.fc1.weight": (2, 11),
    "encoder.layers.0.synth_att.reweight.fc1.bias": (2,),
    "encoder.layers.0.synth_att.reweight.fc2.weight": (22, 2),
    "encoder.layers.0.synth_att.reweight.fc2.bias": (22,),
    "encoder.layers.0.synth_att.proj.weight": (128, 128),
    "encoder.layers.0.synth_att.proj.bias": (128,),
    "encoder.layers.0.ff.fc1.weight": (256, 128),
    "encoder.layers.0.ff.fc1.bias": (256,),
    "encoder.layers.0.ff.fc2.weight": (128, 256),
    "encoder.layers.0.ff.fc2.bias": (128,),
    "encoder.layers.0.norm1.weight": (128,),
    "encoder.layers.0.norm1.bias": (128,),
    "encoder.layers.0.norm2.weight": (128,),
    "encoder.layers.0.norm2.bias": (128,),
    "l_interp.weight": (11, 2),
    "l_interp.bias": (11,),
    "norm.weight": (128,),
    "norm.bias": (128,),
    "fc.weight": (30, 128),
    "fc.bias": (30,),
}


def loaded(config: ModelConfig, seed: int = 0) -> tuple[MixSynthFormer, dict[str, np.ndarray]]:
    state = networks.random_state(config, seed)
    network = MixSynthFormer(config).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return network, state


@torch.no_grad()
def run(network: MixSynthFormer, keyframes: np.ndarray) -> np.ndarray:
    return network(torch.from_numpy(keyframes)).numpy()


@pytest.mark.parametrize("name", SHAPES)
def test_numbers_are_those_of_the_formulas(name):
    config = SHAPES[name]
    network, state = loaded(config)
    keyframes = networks.random_keyframes(config, batch=2)
    expected = networks.reference(config, state, keyframes)
    assert_close(run(network.double(), keyframes.astype(np.float64)), expected, 1e-10, "motion")
    assert_close(run(network.float(), keyframes), expected, 1e-5, "float32 motion")


@settings(max_examples=25)
@given(config=networks.odd_configs(), seed=st.integers(0, 99))
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_numbers_hold_for_any_shape(config, seed):
    network, state = loaded(config, seed)
    keyframes = networks.random_keyframes(config, batch=1, seed=seed)
    expected = networks.reference(config, state, keyframes)
    assert_close(run(network.double(), keyframes.astype(np.float64)), expected, 1e-9, "motion")


def test_a_published_state_dict_loads_strictly_with_its_dimensions_inferred():
    state = {name: torch.randn(shape) for name, shape in PUBLISHED_STATE.items()}
    config = config_from_state_dict(state, sample_interval=10)
    assert (config.step, config.joint_dim, config.emb_dim, config.num_encoder_layers) == (1, 30, 128, 1)
    assert (config.expansion_factor, config.reduce_token, config.reduce_channel, config.horizon) == (2, 4, 1, 0)
    network = MixSynthFormer(config)
    network.load_state_dict(state, strict=True)
    assert list(network.state_dict()) == list(PUBLISHED_STATE)


@pytest.mark.parametrize("factors", [(4, 1), (1, 1), (4, 8), (5, 3)])
@pytest.mark.parametrize("name", ["jhmdb", "h36m", "3dpw-smpl"])
def test_reduce_factors_are_inferred_up_to_equivalence(name, factors):
    config = published(name, *factors)
    state = {key: np.empty(shape) for key, shape in parameter_shapes(config).items()}
    result = config_from_state_dict(state, config.sample_interval)
    assert parameter_shapes(result) == parameter_shapes(config)
    if factors != (5, 3):  # with T = 11, the factors 4 and 5 are one network: the result has the smaller one
        assert result == config


def test_horizon_is_what_the_shapes_leave_over():
    config = SHAPES["image-n10"]
    state = untrained_state(config)
    assert config_from_state_dict(state, sample_interval=10, horizon=28) == config
    with pytest.raises(ModelError, match=r"5 keyframes to 69 poses.* interval of 10 and a horizon of 0 give 41"):
        config_from_state_dict(state, sample_interval=10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("l_interp.weight"), "lack l_interp.weight"),
        (lambda s: s.pop("norm.bias"), "lack norm.bias"),
        (lambda s: s.update({"decoder.weight": np.ones((3, 3))}), "hold decoder.weight"),
        (lambda s: s.update({"fc.weight": np.ones((5, 8))}), r"fc.weight has shape \[5, 8\].*needs \[5, 7\]"),
        (lambda s: s.update({"encoder.layers.0.ff.fc1.weight": np.ones((20, 7))}), "not a multiple of the 7 channels"),
        (
            lambda s: s.update({"encoder.layers.0.synth_att.synth_token.dense.weight": np.ones((8, 7))}),
            "9 divided by no whole reduce factor",
        ),
        (lambda s: s.update({"encoder.layers.7.norm1.weight": np.ones(7)}), "numbered from 0 without gaps"),
    ],
)
def test_a_state_that_does_not_fit_is_named(change, sentence):
    state = networks.random_state(ODD)
    change(state)
    with pytest.raises(ModelError, match=sentence):
        config_from_state_dict(state, ODD.sample_interval, ODD.horizon)


@pytest.mark.parametrize("name", ["image-n10", "world-n5", "h36m"])
def test_untrained_it_is_catmull_rom_and_damped_velocity(name):
    config = SHAPES[name]
    keyframes = networks.random_keyframes(config, batch=3)
    start = catmull_rom_matrix(config.sample_interval, config.step, config.horizon).astype(np.float32)
    network = MixSynthFormer(config).eval()
    np.testing.assert_array_equal(network.l_interp.weight.detach().numpy(), start)
    expected = np.einsum("tq,bqd->btd", start.astype(np.float64), keyframes)
    assert_close(run(network, keyframes), expected, 2e-6, "untrained motion")
    # fc is zero, so the encoder adds nothing, however large the keyframes are.
    torch.testing.assert_close(network.fc.weight, torch.zeros_like(network.fc.weight), rtol=0, atol=0)
    numpy_start = {key: torch.from_numpy(value) for key, value in untrained_state(config).items()}
    network.load_state_dict(numpy_start, strict=True)
    assert_close(run(network, keyframes), expected, 2e-6, "motion untrained without torch")


def test_training_moves_every_parameter_that_is_used():
    network = MixSynthFormer(ODD, dropout=0.0)
    torch.nn.init.normal_(network.fc.weight)
    network(torch.from_numpy(networks.random_keyframes(ODD, 4))).square().sum().backward()
    unmoved = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not unmoved
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_dropout_acts_in_training_only():
    network, _ = loaded(ODD)
    keyframes = torch.from_numpy(networks.random_keyframes(ODD, 1))
    assert torch.equal(network(keyframes), network(keyframes))
    network.train()
    torch.manual_seed(0)
    assert not torch.equal(network(keyframes), network(keyframes))
