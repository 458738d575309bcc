"""The fused kernels against their references, under Triton's interpreter; on a card with TRITON_INTERPRET=0.

bf16 is not among the precisions: the interpreter gets it wrong. Its strict is float32.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import networks
import torch
import triton
import triton.language as tl
from hypothesis import given, settings
from networks import ODD, SHAPES, odd_configs, random_keyframes, random_state

from mixsynth_stream.backend import choose_backend
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import BackendUnavailableError, ModelError
from mixsynth_stream.kernels import card, ops, ref
from mixsynth_stream.kernels.inference.encoder import Encoder, specialisations
from mixsynth_stream.kernels.pieces import to_tf32
from mixsynth_stream.kernels.tile import PRECISIONS, Tile, tile_of
from mixsynth_stream.kernels.training.autograd import use_kernels
from mixsynth_stream.kernels.weights import EncoderWeights, LayerWeights
from mixsynth_stream.network import MixSynthFormer

# Largest error against float64 at outputs of size 5.
TOLERANCE = {"strict": 2e-5, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
HERE = ("strict", "fp16") if card.INTERPRETED else PRECISIONS

DEVICE = "cpu" if card.INTERPRETED else "cuda"
SMALL = ModelConfig(sample_interval=4, step=3, horizon=2, joint_dim=6, emb_dim=20, num_encoder_layers=1,
                    reduce_token=1, reduce_channel=1)  # fmt: skip


def double(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.double()
    return type(value)(*map(double, value)) if hasattr(value, "_fields") else tuple(map(double, value))


def layer_of(config: ModelConfig) -> LayerWeights:
    state = {name: torch.from_numpy(value).to(DEVICE) for name, value in random_state(config).items()}
    return EncoderWeights.of(state).layers[0]


def random_x(config: ModelConfig, batch: int) -> torch.Tensor:
    return torch.randn(batch, config.seq_len, config.emb_dim, generator=torch.Generator().manual_seed(7)).to(DEVICE)


def assert_near(found: torch.Tensor, expected: torch.Tensor, precision: str, what: str) -> None:
    networks.assert_close(found.cpu().numpy(), expected.cpu().numpy(), TOLERANCE[precision], what)


def test_the_reference_is_the_readable_network():
    state = {name: torch.from_numpy(value).double() for name, value in random_state(ODD).items()}
    network = MixSynthFormer(ODD).double().eval()
    network.load_state_dict(state)
    keyframes = torch.from_numpy(random_keyframes(ODD, 3)).double()
    assert torch.allclose(ref.encoder_ref(keyframes, EncoderWeights.of(state)), network(keyframes), atol=1e-12)


@pytest.mark.parametrize("precision", HERE)
@pytest.mark.parametrize(("config", "windows"), [(ODD, 1), (ODD, 4), (SMALL, 1), (SMALL, 2)], ids=str)
class TestOps:
    """Three windows: with two or four in a program the last one is not full."""

    def test_synth_attention(self, config, windows, precision):
        x, layer = random_x(config, 3), layer_of(config)
        found = ops.synth_attention(x, layer, precision=precision, windows=windows)
        wide = double(layer.mix)
        for name, a, b in zip("tc", found, ref.synth_attention_ref(x.double(), wide.token, wide.channel), strict=True):
            assert_near(a, b, precision, name)

    @pytest.mark.parametrize("norm", [False, True])
    def test_synth_mix(self, config, windows, precision, norm):
        x, layer = random_x(config, 3), layer_of(config)
        found = ops.synth_mix(x, layer, precision=precision, windows=windows, norm=norm)
        wide = double(layer)
        assert_near(found, ref.synth_mix_ref(x.double(), wide.mix, wide.norm if norm else None), precision, "mix")

    def test_feed_forward(self, config, windows, precision):
        x, layer = random_x(config, 3), layer_of(config)
        found = ops.feed_forward(x, layer, precision=precision, windows=windows)
        assert_near(found, ref.feed_forward_ref(x.double(), double(layer.feed_forward)), precision, "ff")


@triton.jit
def to_tf32_kernel(x: tl.tensor, out: tl.tensor, N: tl.constexpr) -> None:
    tl.store(out + tl.arange(0, N), to_tf32(tl.load(x + tl.arange(0, N))))


def test_operands_are_the_nearest_tf32():
    """What tensor cores do to float32 by themselves is cutting: all these would come nearer to zero."""
    x = torch.tensor([1 + 0.6 * 2**-10, 1 + 0.4 * 2**-10, -1 - 0.6 * 2**-10, 2 - 2**-20], device=DEVICE)
    out = torch.full_like(x, float("nan"))
    to_tf32_kernel[(1,)](x, out, len(x))
    assert out.tolist() == [1 + 2**-10, 1, -1 - 2**-10, 2]


def check_encoder(config: ModelConfig, batch: int, precision: str, capability: tuple[int, int] | None = None) -> None:
    state, keyframes = random_state(config), random_keyframes(config, batch)
    encoder = Encoder(state, config, precision=precision, capability=capability)
    out = torch.full((batch, config.seq_len, config.joint_dim), float("nan"), device=DEVICE)
    encoder(torch.from_numpy(keyframes).to(DEVICE), out)
    wide = EncoderWeights.of({name: torch.from_numpy(value).double() for name, value in state.items()})
    expected = ref.encoder_ref(torch.from_numpy(keyframes).double(), wide)
    assert_near(out, expected, precision, f"motion of {config}")


def test_tf32_rounds_and_strict_does_not():
    keyframes = torch.from_numpy(random_keyframes(SMALL, 1)).to(DEVICE)
    found = {name: Encoder(random_state(SMALL), SMALL, precision=name)(keyframes) for name in ("strict", "tf32")}
    assert 1e-5 < float((found["tf32"] - found["strict"]).abs().max()) < TOLERANCE["tf32"]


@pytest.mark.parametrize("precision", HERE)
@pytest.mark.parametrize("config", [ODD, SMALL, SHAPES["3dpw"], dataclasses.replace(SHAPES["unreduced"], horizon=3)])
def test_encoder(config, precision):
    check_encoder(config, 1, precision)


@pytest.mark.parametrize(("name", "precision"), [("jhmdb", "fp16"), ("default", "fp16"), ("image-n10", "strict")])
def test_encoder_in_several_launches(name, precision):
    """A layer of a published or shipped shape: groups of windows (the last one not full), a layer cut in parts."""
    config = dataclasses.replace(SHAPES[name], num_encoder_layers=1)
    assert len(tile_of(config, precision, 5).launches) > 1
    check_encoder(config, 5 if config.seq_len < 16 else 1, precision)


def test_every_way_to_cut_a_layer_gives_the_same(monkeypatch):
    keyframes = torch.from_numpy(random_keyframes(ODD, 1)).to(DEVICE)
    found = {}
    for limits in ((4096, 4096), (0, 4096), (0, 0)):
        monkeypatch.setattr("mixsynth_stream.kernels.tile._WHOLE_STACK", limits[0])
        monkeypatch.setattr("mixsynth_stream.kernels.tile._WHOLE_LAYER", limits[1])
        encoder = Encoder(random_state(ODD), ODD, precision="strict")
        found[encoder.launches(1)] = encoder(keyframes).cpu().numpy()
    assert sorted(found) == [1, 2, 6], "one launch, one a layer, three a layer"
    for launches in (2, 6):
        networks.assert_close(found[launches], found[1], 1e-5, f"motion in {launches} launches")


AMPERE = (8, 0)
LONG = dataclasses.replace(ODD, sample_interval=64, num_encoder_layers=1, reduce_token=1)


@pytest.mark.parametrize("precision", HERE)
@pytest.mark.parametrize(("config", "batch"), [(ODD, 3), (SMALL, 1)], ids=["odd", "small"])
def test_encoder_in_blocks(config, batch, precision):
    check_encoder(config, batch, precision, AMPERE)


@pytest.mark.parametrize("name", ["unreduced", "default"])
def test_encoder_in_several_blocks_of_tokens_and_channels(name):
    check_encoder(dataclasses.replace(SHAPES[name], num_encoder_layers=1), 1, "strict", AMPERE)


def test_a_window_that_no_program_holds_goes_in_blocks():
    assert "windows in blocks" in tile_of(LONG, "fp16", 1).plan
    check_encoder(LONG, 1, "fp16")


def test_the_plan_says_what_one_call_launches():
    encoder = Encoder(random_state(ODD), ODD, precision="fp16")
    assert encoder.plan(1) == "one launch for the network"
    assert encoder.plan(4) == "one launch for the network, 4 windows in a program"
    older = Encoder(random_state(ODD), ODD, precision="fp16", capability=AMPERE)
    assert older.plan(4) == "4 launches a layer and one for each end, 10 in all, windows in blocks"
    assert older.launches(4) == 10


def test_a_smaller_batch_after_a_larger_one():
    """Blocks of rows reach beyond the last window, into what the larger batch left."""
    encoder = Encoder(random_state(ODD), ODD, precision="strict", capability=AMPERE)
    keyframes = torch.from_numpy(random_keyframes(ODD, 3)).to(DEVICE)
    together = encoder(keyframes).cpu().numpy()
    networks.assert_close(encoder(keyframes[:1]).cpu().numpy(), together[:1], 0, "motion")


@settings(max_examples=5, derandomize=True)
@given(odd_configs())
def test_encoder_of_odd_shapes(config):
    check_encoder(dataclasses.replace(config, num_encoder_layers=1), 2, "strict")


def test_windows_of_a_group_do_not_see_each_other():
    config = dataclasses.replace(ODD, num_encoder_layers=1)
    encoder = Encoder(random_state(config), config, precision="fp16")
    keyframes = torch.from_numpy(random_keyframes(config, 4)).to(DEVICE)
    assert encoder.tile(4).windows == 4
    together = encoder(keyframes).cpu().numpy()
    keyframes[2] += 10
    networks.assert_close(encoder(keyframes).cpu().numpy()[[0, 1, 3]], together[[0, 1, 3]], 1e-6, "neighbours")


def test_no_windows_give_no_poses():
    encoder = Encoder(random_state(ODD), ODD, precision="strict")
    assert encoder(torch.empty(0, 3, 5, device=DEVICE)).shape == (0, 9, 5)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(random_state(ODD), ODD, precision="strict")


class TestBadInput:
    @pytest.mark.parametrize(
        ("keyframes", "error", "message"),
        [
            (torch.zeros(2, 4, 5), ValueError, r"keyframes must have shape \[batch, 3, 5\], found \[2, 4, 5\]"),
            (torch.zeros(3, 5), ValueError, r"shape .* found \[3, 5\]"),
            (torch.zeros(2, 3, 5, dtype=torch.float16), TypeError, "keyframes must be float32, found torch.float16"),
            (torch.zeros(2, 3, 5, device="meta"), ValueError, "keyframes must be on .* found meta"),
            (torch.zeros(2, 3, 10)[..., ::2], ValueError, r"contiguous, found strides \(30, 10, 2\)"),
            (torch.zeros(2, 3, 5, requires_grad=True), ValueError, "keyframes asks for gradients"),
            (np.zeros((2, 3, 5), np.float32), TypeError, "keyframes must be a torch tensor, found ndarray"),
        ],
        ids=["tokens", "rank", "dtype", "device", "stride", "gradient", "numpy"],
    )
    def test_is_named(self, encoder, keyframes, error, message):
        if isinstance(keyframes, torch.Tensor) and keyframes.device.type == "cpu":
            keyframes = keyframes.to(DEVICE)
        with pytest.raises(error, match=message):
            encoder(keyframes)

    def test_out_of_another_batch(self, encoder):
        with pytest.raises(ValueError, match="out must hold 2 windows as keyframes do, found 3"):
            encoder(torch.zeros(2, 3, 5, device=DEVICE), torch.zeros(3, 9, 5, device=DEVICE))

    def test_a_precision_that_does_not_exist(self):
        with pytest.raises(ValueError, match="precision must be one of strict, tf32, bf16, fp16, found 'fp8'"):
            Encoder(random_state(ODD), ODD, precision="fp8")

    def test_weights_of_another_shape(self):
        with pytest.raises(ModelError, match=r"weight .* has shape"):
            Encoder(random_state(ODD), dataclasses.replace(ODD, joint_dim=6), precision="strict")

    def test_an_old_card(self, monkeypatch):
        monkeypatch.setattr(card, "INTERPRETED", False)
        cuda = {"is_available": True, "current_device": 0, "device_count": 1, "get_device_capability": (7, 0)}
        for name, answer in cuda.items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
        sentence = r"8.0 \(Ampere\) or newer, found 7.0; use the backend torch"
        for asked in (lambda: choose_backend("triton"), lambda: use_kernels(MixSynthFormer(ODD), "bf16"),
                      lambda: Encoder(random_state(ODD), ODD, precision="bf16", device="cuda")):  # fmt: skip
            with pytest.raises(BackendUnavailableError, match=sentence):
                asked()
        with pytest.raises(BackendUnavailableError, match="cuda:1 was asked for, and the last CUDA device is cuda:0"):
            Encoder(random_state(ODD), ODD, precision="bf16", device="cuda:1")

    def test_no_triton(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "triton", None)
        monkeypatch.delitem(sys.modules, "mixsynth_stream.kernels.card")
        with pytest.raises(BackendUnavailableError, match=r"triton cannot run here: .*triton.*mixsynth-stream\[gpu\]"):
            choose_backend("triton")

    def test_a_cpu_without_the_interpreter(self, monkeypatch):
        monkeypatch.setattr(card, "INTERPRETED", False)
        with pytest.raises(BackendUnavailableError, match="run on a CUDA device, found cpu; .* TRITON_INTERPRET=1"):
            Encoder(random_state(ODD), ODD, precision="strict", device="cpu")
        if not torch.cuda.is_available():
            with pytest.raises(BackendUnavailableError, match="triton cannot run here: there is no CUDA device"):
                choose_backend("triton")

    @pytest.mark.skipif(not card.INTERPRETED, reason="on a card it can")
    def test_a_graph_without_a_card(self, encoder):
        with pytest.raises(BackendUnavailableError, match="CUDA graphs need a CUDA device"):
            encoder.capture(4)


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0)], ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_what_is_launched_is_told_to_those_who_compile_it_ahead(name, precision, capability):
    kinds = specialisations(SHAPES[name], precision, 4096, capability=capability)
    tile = tile_of(SHAPES[name], precision, 4096, 132, capability)
    assert len(kinds) == len({stages for stages, _ in tile.launches})
    assert all(len(kind.signature) > len(kind.aligned) for kind in kinds)
    assert [layer for stages, layer in tile.launches if stages.mix or stages.all_layers]
    assert len(tile.launches) <= 4 * tile.layers + 2
    assert tile.fits or tile.tiled


def test_compiled_kernels_are_not_those_of_other_sizes_of_the_same_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton keeps what it compiled on disk; what a tile works out is part of the program and not of its source."""
    from triton.compiler import ASTSource

    from mixsynth_stream.kernels import tile as module

    kernel = SimpleNamespace(__name__="k", arg_names=["S"], cache_key="source of k")
    one, other = (tile_of(SHAPES[name], "bf16", 1) for name in ("h36m", "3dpw"))

    def filed(tile: Tile) -> str:
        return ASTSource(kernel, {"S": "constexpr"}, {"S": tile}).hash()

    before = filed(one)
    assert before == filed(dataclasses.replace(one)) != filed(other)
    monkeypatch.setattr(module, "_THIS_CODE", "a later version of tile.py")
    assert filed(one) != before
