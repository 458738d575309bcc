"""The CUDA encoder on a card, at full shapes and in every precision: what `make gpu` runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from card import BATCHES, LARGE, skip_or_fail, why_not

if reason := why_not():
    skip_or_fail(reason)
if importlib.util.find_spec("mixsynth_stream._cuda") is None:
    skip_or_fail("mixsynth_stream._cuda is not built; it needs nvcc")

import torch
from torch import Tensor

from mixsynth_stream import _cuda
from mixsynth_stream.backend import backend_of
from mixsynth_stream.bench.encoder.card import PRECISIONS, TOLERANCE
from mixsynth_stream.bench.kernels.contenders import Case
from mixsynth_stream.bench.kernels.run import motion_error, network_of
from mixsynth_stream.parameters import random_state
from mixsynth_stream.presets import published_shapes, shipped_shapes

SHAPES = published_shapes() | shipped_shapes()
DEVICE = torch.device("cuda")


def case_of(name: str, batch: int) -> Case:
    return Case(name, *network_of(name), batch, DEVICE)


def encoder_of(case: Case, precision: str) -> Any:
    return _cuda.Encoder(state=dict(case.state), precision=precision, **dataclasses.asdict(case.config))


def motion_of(encoder: Any, keyframes: Tensor, config: Any) -> Tensor:
    """On the current stream. What the kernel leaves out stays NaN."""
    out = torch.full((len(keyframes), config.seq_len, config.joint_dim), float("nan"), device=DEVICE)
    stream = torch.cuda.current_stream().cuda_stream
    encoder.forward_on_card(keyframes.contiguous(), out=out, stream=stream)
    return out


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_precision_is_within_its_error_and_repeats(name: str, batch: int) -> None:
    case, wrong = case_of(name, batch), []
    for precision in PRECISIONS:
        encoder = encoder_of(case, precision)
        first = motion_of(encoder, case.keyframes, case.config)
        error = motion_error(first, case.truth)
        if not error <= TOLERANCE[precision]:
            wrong.append(f"{precision} is off by {error:.1e}, more than {TOLERANCE[precision]:.0e}")
        for _ in range(5):
            assert torch.equal(motion_of(encoder, case.keyframes, case.config), first), precision
    assert not wrong, wrong


@pytest.mark.parametrize("precision", PRECISIONS)
def test_host_memory_gives_the_same_bits_from_several_threads(precision: str) -> None:
    case = case_of("image-n10", 64)
    encoder = encoder_of(case, precision)
    expected = motion_of(encoder, case.keyframes, case.config).cpu().numpy()
    keyframes = case.keyframes.float().cpu().numpy()
    with ThreadPoolExecutor(4) as pool:
        motions = list(pool.map(lambda _: encoder.forward(keyframes), range(32)))
    assert all(np.array_equal(motion, expected) for motion in motions)


@pytest.mark.parametrize("name", ["jhmdb", "aist-smpl"])
def test_a_captured_graph_gives_the_same_bits(name: str) -> None:
    case = case_of(name, 7)
    encoder = encoder_of(case, "bf16")
    expected = motion_of(encoder, case.keyframes, case.config)
    keyframes, out = case.keyframes.contiguous(), torch.full_like(expected, float("nan"))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        encoder.forward_on_card(keyframes, out=out, stream=side.cuda_stream)
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        encoder.forward_on_card(keyframes, out=out, stream=side.cuda_stream)
    out.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, expected)


def test_streams_at_the_same_time() -> None:
    case = case_of("aist-smpl", 1030)
    encoder, parts = encoder_of(case, "strict"), (case.keyframes[:700].contiguous(), case.keyframes[330:].contiguous())
    expected = [motion_of(encoder, part, case.config) for part in parts]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in parts]
    motions: list[list[Tensor]] = [[], []]
    for _ in range(5):
        for i, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                motions[i].append(motion_of(encoder, parts[i], case.config))
    torch.cuda.synchronize()
    for i, outs in enumerate(motions):
        assert all(torch.equal(out, expected[i]) for out in outs), f"stream {i}"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_workspace_for_what_shared_memory_cannot_hold(precision: str) -> None:
    config = LARGE["large"]
    case = Case("large", config, random_state(config), 140, DEVICE)
    encoder = encoder_of(case, precision)
    first = motion_of(encoder, case.keyframes, config)
    assert motion_error(first, case.truth) <= TOLERANCE[precision]
    assert torch.equal(motion_of(encoder, case.keyframes, config), first)


def test_new_motion_is_torchs_to_take() -> None:
    case = case_of("image-n10", 5)
    encoder = encoder_of(case, "bf16")
    expected = motion_of(encoder, case.keyframes, case.config)
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        stream.wait_stream(torch.cuda.current_stream())
        motion = torch.from_dlpack(encoder.forward_on_card(case.keyframes.contiguous(), stream=stream.cuda_stream))
        assert torch.equal(motion, expected)
    cupy = pytest.importorskip("cupy")
    keyframes = cupy.from_dlpack(case.keyframes.contiguous())
    with cupy.cuda.Stream(non_blocking=True) as stream:
        motion = cupy.from_dlpack(encoder.forward_on_card(keyframes, stream=stream.ptr))
        stream.synchronize()
    assert np.array_equal(cupy.asnumpy(motion), expected.cpu().numpy())


def test_the_backend_answers_and_auto_has_measured(caplog: pytest.LogCaptureFixture) -> None:
    case = case_of("image-n10", 3)
    keyframes = case.keyframes.cpu().numpy()
    native, cuda = (backend_of(name, case.config, case.state)[1](keyframes) for name in ("native", "cuda"))
    assert np.abs(native - cuda).max() < TOLERANCE["strict"]
    with caplog.at_level("INFO", "mixsynth_stream"):
        assert backend_of("auto", case.config, case.state)[0] in ("native", "cuda")
    assert any("one window takes" in message for message in caplog.messages)


FAULT = """
import dataclasses
import torch
from mixsynth_stream import _cuda
from mixsynth_stream.backend import backend_of
from mixsynth_stream.parameters import random_state
from mixsynth_stream.presets import published_shapes
config = published_shapes()["3dpw"]
encoder = _cuda.Encoder(state=random_state(config), **dataclasses.asdict(config))
few = torch.zeros(1, device="cuda")
class Lie:
    __cuda_array_interface__ = {"shape": (2_000_000, config.num_keyframes, config.joint_dim), "typestr": "<f4",
                                "data": (few.data_ptr(), False), "version": 3}
for _ in range(3):
    try:
        encoder.forward_on_card(Lie(), out=torch.empty(2_000_000, config.seq_len, config.joint_dim, device="cuda"))
        torch.cuda.synchronize()
    except Exception as error:
        print(type(error).__name__)
try:
    encoder.forward(torch.zeros(1, config.num_keyframes, config.joint_dim).numpy())
except _cuda.CudaError as error:
    print(error)
"""


def test_a_kernel_that_fails_ends_the_cards_use() -> None:
    """In a process of its own: an array that claims more memory than it has."""
    process = subprocess.run([sys.executable, "-c", FAULT], capture_output=True, text=True, timeout=90, check=False)
    assert "illegal memory access" in process.stdout, process.stdout + process.stderr
    assert "use another backend" in process.stdout.splitlines()[-1]


def test_wrong_memory_is_refused() -> None:
    case = case_of("3dpw", 2)
    encoder = encoder_of(case, "bf16")
    out = torch.empty(2, case.config.seq_len, case.config.joint_dim, device=DEVICE)
    with pytest.raises(TypeError, match="keyframes must be float32, found float64"):
        encoder.forward_on_card(case.keyframes.double(), out=out)
    with pytest.raises(ValueError, match=r"keyframes must have shape \[-1, 6, 42\], found \[2, 5, 42\]"):
        encoder.forward_on_card(case.keyframes[:, 1:].contiguous(), out=out)
    with pytest.raises(ValueError, match="keyframes must be C-contiguous"):
        encoder.forward_on_card(case.keyframes.transpose(1, 2).contiguous().transpose(1, 2), out=out)
    pinned = case.keyframes.cpu().numpy()
    facts = {"shape": pinned.shape, "typestr": "<f4", "data": (pinned.ctypes.data, False), "version": 3}
    on_host = type("OnHost", (), {"__cuda_array_interface__": facts})()
    with pytest.raises(ValueError, match="keyframes must lie in memory of device 0, found host memory"):
        encoder.forward_on_card(on_host, out=out)
    with pytest.raises(ValueError, match="keyframes must lie in memory of device 0, found host memory"):
        encoder.forward_on_card(case.keyframes.cpu(), out=out)
