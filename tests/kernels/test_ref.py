"""The reference of the forward is the readable network."""

from __future__ import annotations

import torch
from support.networks import ODD, random_keyframes, random_state

from mixsynth_stream.kernels import ref
from mixsynth_stream.kernels.weights import EncoderWeights
from mixsynth_stream.network import MixSynthFormer


def test_the_reference_is_the_readable_network():
    state = {name: torch.from_numpy(value).double() for name, value in random_state(ODD).items()}
    network = MixSynthFormer(ODD).double().eval()
    network.load_state_dict(state)
    keyframes = torch.from_numpy(random_keyframes(ODD, 3)).double()
    assert torch.allclose(ref.encoder_ref(keyframes, EncoderWeights.of(state)), network(keyframes), atol=1e-12)
