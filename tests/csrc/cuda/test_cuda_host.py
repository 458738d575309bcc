"""The CUDA encoder's host side over a fake runtime: arrays, streams and memory, and a sentence for what CUDA refuses.

In place of the network the fake adds a token's number to a keyframe, so a number of the motion says where it is from.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.emulated import built_once
from support.fake_card import FOREIGN, Dlpack, FakeCard, Interface, build_fake, numbers_at
from support.networks import ODD, published, random_state

from mixsynth_stream.config import ModelConfig

# Its buffers do not fit into the shared memory of a small card.
LARGE = published("h36m")
OUT_OF_MEMORY, NO_CODE, ILLEGAL_ADDRESS = 2, 209, 700


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory, "fake", build_fake)


@pytest.fixture(scope="module")
def loaded(library: Path) -> FakeCard:
    return FakeCard(library)


@pytest.fixture
def card(loaded: FakeCard) -> Iterator[FakeCard]:
    loaded.machine()
    loaded.enter(-1)
    yield loaded
    assert loaded.context() in (-1, FOREIGN), "a call left its context behind"


def encoder_of(card: FakeCard, config: ModelConfig = ODD, **changes: Any) -> Any:
    return card.cuda.Encoder(**{"state": random_state(config), **dataclasses.asdict(config), **changes})


def keyframes_of(batch: int, config: ModelConfig = ODD) -> np.ndarray:  # [B, Q+1, D]
    shape = (batch, config.num_keyframes, config.joint_dim)
    return np.random.default_rng(batch).standard_normal(shape).astype(np.float32)


def motion_of(keyframes: np.ndarray, config: ModelConfig = ODD) -> np.ndarray:  # [B, T, D]
    tokens = np.arange(config.seq_len)
    return keyframes[:, tokens % config.num_keyframes] + tokens[:, None].astype(np.float32)


@pytest.mark.parametrize("batch", [0, 1, 5, 4 * 1024 * 1024 // (ODD.seq_len * ODD.joint_dim) * 3])
def test_host_memory_in_pieces_of_any_number(card: FakeCard, batch: int) -> None:
    """The last is three times what passes at once, and some windows."""
    keyframes, encoder = keyframes_of(batch), encoder_of(card)
    assert np.array_equal(encoder.forward(keyframes), motion_of(keyframes))


@pytest.mark.parametrize(("batch", "windows"), [(1, 1), (4, 1), (5, 2), (76, 19), (77, 10), (200, 17)])
def test_blocks_take_few_turns_and_no_more_windows_than_that_asks_for(card: FakeCard, batch: int, windows: int) -> None:
    """Four multiprocessors, whose blocks hold 19 windows at most: 77 take two turns, of 10 windows."""
    encoder_of(card).forward(keyframes_of(batch))
    assert card.windows() == windows


def test_pinned_memory_is_used_again_and_bounded(card: FakeCard) -> None:
    start, encoders, keyframes = card.blocks(), [encoder_of(card)], keyframes_of(8)
    encoders[0].forward(keyframes)
    before = card.blocks()
    for batch in (8, 7, 5, 8):
        encoders[0].forward(keyframes[:batch])
    assert card.blocks() == before
    barrier = threading.Barrier(12)

    def call(_: int) -> bool:
        barrier.wait(30)
        return all(np.array_equal(encoders[0].forward(keyframes), motion_of(keyframes)) for _ in range(20))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(call, range(12)))
    # Weights, and at most four times keyframes and motion, on the card and pinned.
    assert card.blocks() <= start + 1 + 4 * 4
    encoders.clear()
    assert card.blocks() == start


@pytest.mark.parametrize("kind", [Interface, Dlpack])
def test_arrays_of_a_card(card: FakeCard, kind: type[Any]) -> None:
    encoder, keyframes = encoder_of(card), keyframes_of(3)
    memory, out = card.array(keyframes, stream := card.stream()), kind(card.memory(motion_of(keyframes).shape))
    assert encoder.forward_on_card(kind(memory), out=out, stream=stream) is out
    assert np.isnan(out.memory.numbers).all(), "nobody has waited yet"
    card.wait(stream)
    assert np.array_equal(out.memory.numbers, motion_of(keyframes))


def test_dlpack_is_asked_for_the_stream_of_the_call(card: FakeCard) -> None:
    encoder, keyframes = encoder_of(card), Dlpack(card.array(keyframes_of(1)))
    stream = card.stream()
    for choice in (None, 0, 1, 2, stream):
        encoder.forward_on_card(keyframes, stream=choice)
    assert keyframes.streams[-5:] == [1, 1, 1, 2, stream]


def test_streams_of_others_are_waited_for_and_wait(card: FakeCard) -> None:
    encoder, keyframes = encoder_of(card), keyframes_of(2)
    theirs, of_out, ours = card.stream(), card.stream(), card.stream()
    memory, out = card.array(keyframes, theirs), card.memory(motion_of(keyframes).shape)
    encoder.forward_on_card(Interface(memory, theirs), out=Interface(out, of_out), stream=ours)
    card.wait(of_out)
    assert np.array_equal(out.numbers, motion_of(keyframes))


def test_the_stream_that_keyframes_name_is_the_default(card: FakeCard) -> None:
    encoder, keyframes = encoder_of(card), keyframes_of(2)
    stream = card.stream()
    motion = encoder.forward_on_card(Interface(card.array(keyframes, stream), stream))
    assert motion.__cuda_array_interface__["stream"] == stream
    card.wait(stream)
    address = motion.__cuda_array_interface__["data"][0]
    assert np.array_equal(numbers_at(address, motion.shape), motion_of(keyframes))


def test_new_motion_is_handed_on_and_freed_by_its_last_owner(card: FakeCard) -> None:
    encoder, keyframes = encoder_of(card), keyframes_of(2)
    stream, theirs = card.stream(), card.stream()
    memory = card.array(keyframes, stream)
    before = card.blocks()
    motion = encoder.forward_on_card(Interface(memory), stream=stream)
    assert (motion.shape, motion.__dlpack_device__()) == ((2, ODD.seq_len, ODD.joint_dim), (2, 0))
    capsule = motion.__dlpack__(stream=theirs, max_version=(1, 0), dl_device=(2, 0), copy=False)
    card.wait(theirs)
    address, shape = motion.__cuda_array_interface__["data"][0], motion.shape
    del motion
    assert np.array_equal(numbers_at(address, shape), motion_of(keyframes))
    assert card.blocks() == before + 1
    del capsule
    assert card.blocks() == before
    motion = encoder.forward_on_card(Interface(memory), stream=stream)
    with pytest.raises(BufferError, match="motion lies on device 0 and stays there"):
        motion.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="motion is handed out without a copy"):
        motion.__dlpack__(copy=True)


def test_a_workspace_is_the_streams_own(card: FakeCard) -> None:
    card.machine(shared=2000)
    encoder, keyframes = encoder_of(card, LARGE), keyframes_of(9, LARGE)
    memory, streams = card.array(keyframes), [card.stream() for _ in range(3)]
    card.wait(0)
    outs = [card.memory(motion_of(keyframes, LARGE).shape) for _ in streams]
    before = card.blocks()
    for _ in range(2):
        for out, stream in zip(outs, streams, strict=True):
            encoder.forward_on_card(Interface(memory), out=Interface(out), stream=stream)
    assert card.blocks() == before + len(streams)
    for out, stream in zip(outs, streams, strict=True):
        card.wait(stream)
        assert np.array_equal(out.numbers, motion_of(keyframes, LARGE))


def test_a_captured_graph_has_a_workspace_of_its_own(card: FakeCard) -> None:
    """The graph may run on another stream, beside what its own stream does then."""
    card.machine(shared=2000)
    encoder, keyframes = encoder_of(card, LARGE), keyframes_of(3, LARGE)
    memory, stream = card.array(keyframes), card.stream()
    card.wait(0)
    out, graph_out = (card.memory(motion_of(keyframes, LARGE).shape) for _ in range(2))
    encoder.forward_on_card(Interface(memory), out=Interface(out), stream=stream)
    of_stream, before = card.workspace(), card.blocks()
    with card.capture(stream):
        encoder.forward_on_card(Interface(memory), out=Interface(graph_out), stream=stream)
        of_graph = card.workspace()
        encoder.forward_on_card(Interface(memory), out=Interface(graph_out), stream=stream)
        assert card.workspace() == of_graph, "a graph's launches run one after the other"
    assert of_graph not in (None, of_stream) and card.blocks() == before + 1
    card.wait(stream)
    assert np.isnan(graph_out.numbers).all(), "a captured call is not carried out"
    encoder.forward_on_card(Interface(memory), out=Interface(out), stream=stream)
    assert card.workspace() == of_stream
    card.replay(stream)
    card.wait(stream)
    assert np.array_equal(graph_out.numbers, motion_of(keyframes, LARGE))
    with card.capture(stream):
        encoder.forward_on_card(Interface(memory), out=Interface(graph_out), stream=stream)
    assert card.workspace() not in (of_graph, of_stream)


def test_another_threads_capture_disturbs_no_call(card: FakeCard) -> None:
    """CUDA refuses to allocate, free and wait while a graph is captured, unless the thread answers for itself."""
    keyframes, stream, before = keyframes_of(2), card.stream(), card.blocks()
    with card.capture(stream):
        encoder = encoder_of(card)
        assert np.array_equal(encoder.forward(keyframes), motion_of(keyframes))
        del encoder
        assert card.blocks() == before


def test_workspaces_of_host_calls_go_with_them(card: FakeCard) -> None:
    """Streams come and go where many threads call at once; what was on the card for them goes with them."""
    card.machine(shared=2000)
    encoder, keyframes = encoder_of(card, LARGE), keyframes_of(1, LARGE)
    before, barrier = card.blocks(), threading.Barrier(12)

    def call(_: int) -> None:
        barrier.wait(30)
        encoder.forward(keyframes)

    with ThreadPoolExecutor(12) as pool:
        for _ in range(5):
            list(pool.map(call, range(12)))
    assert card.blocks() <= before + 4 * 5


def test_threads_have_default_streams_of_their_own(card: FakeCard) -> None:
    card.machine(shared=2000)
    encoder = encoder_of(card, LARGE)
    memory = card.array(keyframes_of(1, LARGE))
    encoder.forward_on_card(Interface(memory), stream=2)
    before = card.blocks()
    thread = threading.Thread(target=lambda: encoder.forward_on_card(Interface(memory), stream=2))
    thread.start()
    thread.join()
    assert card.blocks() == before + 1, "two threads share a workspace"


def test_another_programs_context_is_left_as_it_was(card: FakeCard) -> None:
    before = card.blocks()
    card.enter(FOREIGN)
    encoder, keyframes = encoder_of(card, device=1), keyframes_of(2)
    assert np.array_equal(encoder.forward(keyframes), motion_of(keyframes))
    assert card.context() == FOREIGN
    del encoder
    assert card.context() == FOREIGN and card.blocks() == before


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"typestr": "<f8"}, TypeError, "keyframes must be float32, found <f8"),
        ({"shape": (3, 2, 5)}, ValueError, r"keyframes must have shape \[-1, 3, 5\], found \[3, 2, 5\]"),
        ({"strides": (60, 4, 12)}, ValueError, "keyframes must be C-contiguous; pass a contiguous copy"),
        ({"stream": -3}, ValueError, "stream must be a cudaStream_t as a number, found -3"),
    ],
)
def test_an_array_that_does_not_fit_is_named(
    card: FakeCard, changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    encoder = encoder_of(card)
    with pytest.raises(error, match=sentence):
        encoder.forward_on_card(Interface(card.memory((3, 3, 5)), **changes))


def test_memory_elsewhere_is_refused(card: FakeCard) -> None:
    encoder, shape = encoder_of(card), (2, ODD.num_keyframes, ODD.joint_dim)
    host = np.zeros(shape, np.float32)
    on_host = Interface(card.memory(shape), data=(host.ctypes.data, False))
    for keyframes, place in (
        (host, "host memory"),
        (on_host, "host memory"),
        (Dlpack(card.memory(shape), device=(3, 0)), "host memory"),
        (Dlpack(card.memory(shape), device=(10, 0)), "memory of no NVIDIA card"),
        (Dlpack(card.memory(shape), device=(2, 1)), "memory of device 1"),
        (Interface(card.memory(shape, device=1)), "memory of device 1"),
        (Interface(card.memory(shape, foreign=True)), "memory of another CUDA context"),
    ):
        with pytest.raises(ValueError, match=f"keyframes must lie in memory of device 0, found {place}"):
            encoder.forward_on_card(keyframes)
    with pytest.raises(TypeError, match="keyframes must be an array on a card, with __dlpack__ or .* found list"):
        encoder.forward_on_card([1.0])
    with pytest.raises(TypeError, match="keyframes must be float32, found bfloat16"):
        encoder.forward_on_card(Dlpack(card.memory(shape), code=4, bits=16))


def test_motion_goes_where_nothing_else_is(card: FakeCard) -> None:
    encoder = encoder_of(card)
    memory, out = card.memory((2, ODD.num_keyframes, ODD.joint_dim)), (2, ODD.seq_len, ODD.joint_dim)
    with pytest.raises(ValueError, match="out must not overlap keyframes"):
        encoder.forward_on_card(Interface(memory), out=Interface(memory, shape=out))
    with pytest.raises(ValueError, match="out must be writable"):
        large = card.memory(out)
        encoder.forward_on_card(Interface(memory), out=Interface(large, data=(large.address, True)))


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        ({"devices": 0, "driver": 0}, "there is no NVIDIA driver; install one, or use another backend"),
        ({"driver": 12040}, r"the NVIDIA driver is for CUDA 12\.4, and this library needs one for CUDA 13\.0 or newer"),
        ({"devices": 0}, "there is no NVIDIA card that CUDA can use: no CUDA-capable device is detected"),
    ],
    ids=["no driver", "an old driver", "no card"],
)
def test_a_machine_without_a_card_says_why(card: FakeCard, machine: dict[str, int], sentence: str) -> None:
    card.machine(**machine)
    for call in (card.cuda.devices, lambda: encoder_of(card)):
        with pytest.raises(card.cuda.CudaError, match=sentence):
            call()
    card.machine()
    assert card.cuda.devices() == [f"Fake Card {i} (compute capability 9.0)" for i in (0, 1)]


def test_cards_that_do_not_fit(card: FakeCard) -> None:
    with pytest.raises(card.cuda.CudaError, match="device must be from 0 to 1, found 2"):
        encoder_of(card, device=2)
    card.machine(capability=(7, 5))
    card.fail("cudaFuncGetAttributes", NO_CODE)
    with pytest.raises(card.cuda.CudaError, match=r"needs compute capability 8\.0 or newer, found Fake Card 0"):
        encoder_of(card)
    card.machine(capability=(12, 0))
    card.fail("cudaFuncGetAttributes", NO_CODE)
    with pytest.raises(card.cuda.CudaError, match=r"holds no code for Fake Card 1 .*12\.0\); build it on this machine"):
        encoder_of(card, device=1)


@pytest.mark.parametrize(
    ("where", "function"),
    [
        ("making", "cudaMalloc"),
        ("card", "cudaMalloc"),
        ("host", "cudaMalloc"),
        ("host", "cudaMallocHost"),
        ("host", "cudaStreamCreateWithFlags"),
    ],
)
def test_out_of_memory_is_named_and_passes(card: FakeCard, where: str, function: str) -> None:
    keyframes, before, encoders = keyframes_of(3), card.blocks(), [encoder_of(card)]
    calls = {
        "making": lambda: encoder_of(card),
        "host": lambda: encoders[0].forward(keyframes),
        "card": lambda: encoders[0].forward_on_card(Interface(card.memory((3, ODD.num_keyframes, ODD.joint_dim)))),
    }
    card.fail(function, OUT_OF_MEMORY)
    with pytest.raises(card.cuda.CudaError, match="failed: out of memory; free memory on the card, or use another"):
        calls[where]()
    assert card.cuda.broken() == ""
    assert np.array_equal(encoders[0].forward(keyframes), motion_of(keyframes))
    encoders.clear()
    assert card.blocks() == before


STICKY = """
import sys, gc
sys.path[:0] = {folders!r}
from test_cuda_host import *
card = FakeCard(Path({library!r}))
encoder, other = encoder_of(card), encoder_of(card)
card.fail("cudaStreamSynchronize", ILLEGAL_ADDRESS)
for call in (lambda: encoder.forward(keyframes_of(2)), lambda: encoder.forward(keyframes_of(2)), card.cuda.devices,
             lambda: other.forward_on_card(Interface(card.memory((1, 3, 5)))), lambda: encoder_of(card)):
    try:
        call()
    except card.cuda.CudaError as error:
        print(error)
print(card.cuda.broken())
del encoder, other
gc.collect()
"""


def test_a_kernel_that_fails_is_reported_once_and_ends_the_cards_use(library: Path) -> None:
    """In a process of its own, which CUDA then takes no more work from."""
    folders = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    code = STICKY.format(folders=folders, library=str(library))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    cause = "the encoder failed: an illegal memory access was encountered"
    advice = "start it again, or use another backend"
    later = f"CUDA takes no more work from this process, because {cause}; {advice}"
    first = f"{cause}; CUDA takes no more work from this process: {advice}"
    assert process.stdout.splitlines() == [first, later, later, later, later, cause], process.stderr
    assert process.returncode == 0
