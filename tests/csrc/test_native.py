"""Tests of the C++ forward: it gives the readable network's numbers for every shape, and refuses what does not fit."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import networks
from support.networks import ODD, SHAPES, assert_close, random_keyframes, random_state

from mixsynth_stream import _C
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.parameters import untrained_state

TOLERANCE = 1e-5
# Nobody builds networks with fewer channels: they must work, but need not be as exact.
FEWEST_CHANNELS = 8


def encoder(config: ModelConfig, state: dict[str, np.ndarray], simd_bits: int | None = None) -> _C.Encoder:
    return _C.Encoder(state=state, simd_bits=simd_bits, **dataclasses.asdict(config))


def torch_motion(config: ModelConfig, state: dict[str, np.ndarray], keyframes: np.ndarray) -> np.ndarray:
    """The readable network in float64."""
    import torch

    from mixsynth_stream.network import MixSynthFormer

    network = MixSynthFormer(config).eval().double()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.no_grad():
        return network(torch.from_numpy(keyframes.astype(np.float64))).numpy()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", SHAPES)
def test_equals_the_readable_network(name, batch):
    config = SHAPES[name]
    state, keyframes = random_state(config, seed=batch), random_keyframes(config, batch)
    motion = encoder(config, state).forward(keyframes)
    assert motion.dtype == np.float32
    assert_close(motion, torch_motion(config, state, keyframes), TOLERANCE, "motion")


@example(
    config=ModelConfig(
        sample_interval=3,
        step=5,
        joint_dim=1,
        emb_dim=3,
        num_encoder_layers=3,
        horizon=5,
        expansion_factor=4,
        reduce_token=6,
        reduce_channel=2,
    ),
    batch=1,
    seed=45,
)
@given(config=networks.odd_configs(), batch=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_equals_the_formulas_for_any_shape(config, batch, seed):
    state, keyframes = random_state(config, seed), random_keyframes(config, batch, seed)
    expected = networks.reference(config, state, keyframes)
    # LayerNorm over two or three nearly equal channels enlarges rounding to 1e-4; torch's float32 is beyond 1e-5, too.
    tolerance = TOLERANCE if config.emb_dim >= FEWEST_CHANNELS else 100 * TOLERANCE
    assert_close(encoder(config, state).forward(keyframes), expected, tolerance, "motion")


@pytest.mark.parametrize("bits", ["128", "256"])
def test_processors_with_narrower_registers_get_the_same_numbers(bits):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "equals_the"]
    narrower = os.environ | {"MIXSYNTH_SIMD": bits}
    process = subprocess.run(command, env=narrower, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


@pytest.mark.parametrize("bits", ["avx2", "", "256bit", "64"])
def test_a_width_that_does_not_exist_is_refused(monkeypatch, bits):
    monkeypatch.setenv("MIXSYNTH_SIMD", bits)
    with pytest.raises(ValueError, match=f"MIXSYNTH_SIMD must be 128, 256 or 512, found '{bits}'; unset it"):
        encoder(ODD, random_state(ODD))


@settings(max_examples=20)
@given(size=st.floats(-20, 20), seed=st.integers(0, 9))
def test_large_and_small_activations_stay_exact(size, seed):
    """Softmax, gates and GELU saturate: the ends of our exponential."""
    state = {
        name: value * np.float32(1.35) ** np.float32(size) if value.ndim == 2 else value
        for name, value in random_state(ODD, seed).items()
    }
    keyframes = random_keyframes(ODD, 1, seed)
    expected = networks.reference(ODD, state, keyframes)
    assert_close(encoder(ODD, state).forward(keyframes), expected, 1e-4 * max(1.0, np.abs(expected).max()), "motion")


def test_a_batch_is_its_windows_and_a_call_leaves_nothing_behind():
    state, keyframes = random_state(ODD), random_keyframes(ODD, 32)
    native = encoder(ODD, state)
    whole = native.forward(keyframes)
    for b in (2, 0, 1, 0, 14, 15, 16, 31):  # windows this short are computed 15 at a time
        np.testing.assert_array_equal(native.forward(keyframes[b : b + 1]), whole[b : b + 1])
    assert native.forward(keyframes[:0]).shape == (0, ODD.seq_len, ODD.joint_dim)


def test_weights_are_copied_once():
    state, keyframes = random_state(ODD), random_keyframes(ODD, 1)
    native = encoder(ODD, state)
    before = native.forward(keyframes)
    for value in state.values():
        value.fill(np.nan)
    np.testing.assert_array_equal(native.forward(keyframes), before)


def test_threads_share_an_encoder():
    config = SHAPES["image-n10"]
    native, keyframes = encoder(config, random_state(config)), random_keyframes(config, 8)
    expected = native.forward(keyframes)
    motions: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: motions.append(native.forward(keyframes))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(motions) == 4
    for motion in motions:
        np.testing.assert_array_equal(motion, expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 256])
def test_threads_that_share_a_batch_change_no_number(threads):
    state, keyframes = random_state(ODD), random_keyframes(ODD, 33)
    native = encoder(ODD, state)
    np.testing.assert_array_equal(native.forward(keyframes, threads=threads), native.forward(keyframes))
    assert native.forward(keyframes[:0], threads=threads).shape == (0, ODD.seq_len, ODD.joint_dim)


@pytest.mark.parametrize("threads", [0, -1, 257, 10**12])
def test_absurd_numbers_of_threads_are_refused(threads):
    with pytest.raises(ValueError, match=f"threads must be from 1 to 256, found {threads}"):
        encoder(ODD, random_state(ODD)).forward(random_keyframes(ODD, 1), threads=threads)


def test_registers_can_be_chosen_one_encoder_at_a_time():
    state, keyframes = random_state(ODD), random_keyframes(ODD, 2)
    widest = _C.simd_bits()
    for bits in (128, 256, 512):
        if bits > widest:
            with pytest.raises(ValueError, match=f"no wider than this processor's {widest}, found {bits}"):
                encoder(ODD, state, simd_bits=bits)
            continue
        native = encoder(ODD, state, simd_bits=bits)
        assert native.simd_bits == bits
        assert_close(native.forward(keyframes), networks.reference(ODD, state, keyframes), TOLERANCE, f"{bits} bits")
    with pytest.raises(ValueError, match="simd_bits must be 128, 256 or 512 .*, found 64"):
        encoder(ODD, state, simd_bits=64)


def test_weights_may_come_from_a_dict_that_makes_them_at_every_access():
    class Fresh(dict):
        def __getitem__(self, name: str) -> np.ndarray:
            return super().__getitem__(name).copy()

    state, keyframes = random_state(ODD), random_keyframes(ODD, 1)
    fresh = encoder(ODD, Fresh(state)).forward(keyframes)
    np.testing.assert_array_equal(fresh, encoder(ODD, state).forward(keyframes))


def _strided(k: np.ndarray) -> np.ndarray:
    return np.repeat(k, 2, axis=-1)[..., ::2]


def _unaligned(k: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"?" + k.tobytes(), np.uint8)[1:].view(np.float32).reshape(k.shape)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda k: k.tolist(), TypeError, "keyframes must be a numpy array, found .*list"),
        (lambda k: k.astype(np.float64), TypeError, "keyframes must be float32, found float64"),
        (lambda k: k.astype(">f4"), TypeError, "keyframes must be float32, found >f4"),
        (lambda k: k[0], ValueError, r"keyframes must have shape \[-1, 3, 5\], found \[3, 5\]"),
        (lambda k: k[:, :2], ValueError, r"\[-1, 3, 5\], found \[2, 2, 5\]"),
        (lambda k: k[..., :4], ValueError, r"\[-1, 3, 5\], found \[2, 3, 4\]"),
        (lambda k: k.reshape(-1), ValueError, r"found \[30\]"),
        (_strided, ValueError, r"keyframes must be C-contiguous; pass numpy.ascontiguousarray\(keyframes\)"),
        (np.asfortranarray, ValueError, "C-contiguous"),
        (_unaligned, ValueError, r"keyframes must lie at a multiple of 4 bytes; pass keyframes.copy\(\)"),
        (
            lambda k: np.where(np.arange(5) == 3, np.nan, k).astype(np.float32),
            ValueError,
            "keyframes must be finite, found nan at number 3",
        ),
        (lambda k: np.where(np.arange(5) == 0, np.inf, k).astype(np.float32), ValueError, "found inf at number 0"),
    ],
)
def test_keyframes_that_do_not_fit_are_refused_in_words(change, error, sentence):
    native, keyframes = encoder(ODD, random_state(ODD)), random_keyframes(ODD, 2)
    with pytest.raises(error, match=sentence):
        native.forward(change(keyframes))
    assert np.isfinite(native.forward(keyframes)).all()


@pytest.mark.parametrize("bits", [bits for bits in (128, 256, 512) if bits <= _C.simd_bits()])
@pytest.mark.parametrize("size", [1e3, 1e9, 1e13, 1e17])
def test_keyframes_of_any_size_give_what_torch_says(size, bits):
    """A softmax of energies that differ by 10^17, and LayerNorm of numbers whose squares only just fit a float."""
    state = random_state(ODD) | {"fc.weight": size * random_state(ODD)["fc.weight"]}
    keyframes = np.float32(size) * random_keyframes(ODD, 2)
    motion, expected = encoder(ODD, state, bits).forward(keyframes), torch_motion(ODD, state, keyframes)
    assert_close(motion / size, expected / size, 1e-4, "motion")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1e22, 1e30, 3e38])
def test_keyframes_that_overflow_are_refused_and_the_next_ones_are_right(size, threads):
    native, keyframes = encoder(ODD, random_state(ODD)), random_keyframes(ODD, 4)
    expected = native.forward(keyframes)
    huge = keyframes.copy()
    huge[2, 0, 3] = -size
    with pytest.raises(ValueError, match=r"keyframes must be so small .* found up to [13]e\+\d\d in window 2; check"):
        native.forward(huge, threads=threads)
    np.testing.assert_array_equal(native.forward(keyframes), expected)


@pytest.mark.parametrize(
    "name", ["synth_att.synth_token.dense", "synth_att.synth_channel.dense", "synth_att.proj", "norm1", "ff.fc1"]
)
def test_weights_that_overflow_are_told_from_a_motion(name):
    """No clamp of softmax or GELU turns a NaN into a number on its way."""
    state, name = random_state(ODD), f"encoder.layers.1.{name}.weight"
    state[name] = np.where(np.arange(state[name].shape[-1]) % 2, 3e38, -3e38).astype(np.float32) + 0 * state[name]
    with pytest.raises(ValueError, match="window 0; check their unit, and the weights"):
        encoder(ODD, state).forward(1e3 * random_keyframes(ODD, 1))


def test_a_contiguous_slice_of_a_larger_buffer_is_read_in_place():
    keyframes = random_keyframes(ODD, 3)
    buffer = np.full((5, *keyframes.shape[1:]), np.nan, np.float32)
    buffer[1:4] = keyframes
    native = encoder(ODD, random_state(ODD))
    np.testing.assert_array_equal(native.forward(buffer[1:4]), native.forward(keyframes))


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        ("emb_dim", 0),
        ("step", -1),
        ("horizon", -1),
        ("joint_dim", 2**40),
        ("num_encoder_layers", 10**9),
        ("sample_interval", 2**62),
        ("reduce_token", 10),
        ("reduce_channel", 8),
        ("expansion_factor", 2**16),
        ("horizon", 60_000),
    ],
)
def test_absurd_dimensions_are_refused_before_anything_is_allocated(dimension, value):
    dims = dataclasses.asdict(ODD) | {dimension: value}
    with pytest.raises(ValueError, match=rf"(must|would need) .*; found .*{dimension} {value}\b"):
        _C.Encoder(state={}, **dims)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"emb_dim": 7.5}, TypeError, r"emb_dim must be a whole number, found float 7\.5"),
        ({"emb_dim": 10**30}, ValueError, "emb_dim is far out of range, found int 1000"),
        ({"state": []}, TypeError, r"state must be a dict of numpy arrays, found list \[\]"),
        ({"simd_bits": "512"}, TypeError, "simd_bits must be a whole number, found str '512'"),
        ({"embdim": 7}, TypeError, "there is no dimension named embdim"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_in_words(change, error, sentence):
    arguments = dataclasses.asdict(ODD) | {"state": random_state(ODD)} | change
    with pytest.raises(error, match=sentence):
        _C.Encoder(**arguments)


def test_every_dimension_has_to_be_given():
    arguments = dataclasses.asdict(ODD) | {"state": random_state(ODD)}
    del arguments["horizon"]
    with pytest.raises(TypeError, match="horizon is missing"):
        _C.Encoder(**arguments)


# A processor of 2008 has no AVX; numpy runs on nothing older.
OLD_X86 = ["qemu-x86_64", "-cpu", "Nehalem-v1"]


def old_x86(program: str) -> subprocess.CompletedProcess[str]:
    command = [*OLD_X86, sys.executable, "-c", program]
    return subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which(OLD_X86[0]) is None,
    reason="needs x86 and qemu-x86_64 (Debian: qemu-user)",
)
def test_an_old_x86_runs_what_was_built_without_illegal_instructions():
    process = old_x86("""
import dataclasses
from support import networks
from mixsynth_stream import _C
native = _C.Encoder(state=networks.random_state(networks.ODD), **dataclasses.asdict(networks.ODD))
keyframes = networks.random_keyframes(networks.ODD, 2)
networks.assert_close(native.forward(keyframes, threads=2), networks.reference(networks.ODD, networks.random_state(
    networks.ODD), keyframes), 1e-5, "motion")
print(native.simd_bits)
""")
    assert process.stdout.split() == ["128"], process.stderr
    # The emulator is as strict as such a processor: vaddps ymm0, ymm0, ymm0 ends it.
    illegal = old_x86("""
import ctypes, mmap
code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("c5fc58c0c3"))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
""")
    assert "Illegal instruction" in illegal.stderr or illegal.returncode == -signal.SIGILL, illegal


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda s: s.pop("fc.bias"), ValueError, "state lacks fc.bias"),
        (
            lambda s: s.update({"fc.bias": np.ones(6, np.float32)}),
            ValueError,
            r"state\['fc.bias'\] must have shape \[5\], found \[6\]",
        ),
        (lambda s: s.update({"norm.weight": np.ones(7)}), TypeError, r"state\['norm.weight'\] must be float32"),
        (lambda s: s.update({"norm.weight": np.full(7, np.nan, np.float32)}), ValueError, "must be finite, found nan"),
        (lambda s: s.update({"fc.weight": s["fc.weight"].T.copy().T}), ValueError, "C-contiguous"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_words(change, error, sentence):
    state = random_state(ODD)
    change(state)
    with pytest.raises(error, match=sentence):
        encoder(ODD, state)


def test_untrained_it_interpolates_exactly_at_the_keyframes():
    config = SHAPES["world-n10"]
    keyframes = random_keyframes(config, 2)
    motion = encoder(config, untrained_state(config)).forward(keyframes)
    np.testing.assert_array_equal(motion[:, : config.newest + 1 : config.sample_interval], keyframes)


def test_a_model_on_the_native_backend_never_imports_torch(tmp_path):
    from mixsynth_stream.presets import shipped_config
    from mixsynth_stream.weights import save_weights

    path = tmp_path / "some.safetensors"
    config = shipped_config("image")
    save_weights(path, random_state(config), config, networks.core_info())
    program = f"""
import sys
import numpy as np
from mixsynth_stream.weights import load_model, untrained_model
for model in (load_model({str(path)!r}, backend="native"), load_model({str(path)!r}), untrained_model("world")):
    assert model.backend == "native"
    motion = model(np.zeros((1, model.config.num_keyframes, model.config.joint_dim)))
    assert np.isfinite(motion).all()
print("torch" in sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.stdout.split() == ["False"], process.stderr
