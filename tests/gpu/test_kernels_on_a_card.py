"""The kernels on a CUDA device, at full shapes and in every precision: what `make gpu` runs.

Elsewhere these are skipped; with MIXSYNTH_GPU=1, which `make gpu` sets, it is a failure that they cannot run.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from card import BATCHES, skip_or_fail, why_not

if reason := why_not():
    skip_or_fail(reason)

import torch
from torch import Tensor

from mixsynth_stream.backend import make_forward
from mixsynth_stream.bench.kernels.contenders import FORWARD, TOLERANCE, Case
from mixsynth_stream.bench.kernels.run import motion_error, network_of
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.kernels.inference.encoder import Encoder
from mixsynth_stream.kernels.inference.host import HostEncoder
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.presets import published_shapes, shipped_shapes

SHAPES = published_shapes() | shipped_shapes()
DEVICE = torch.device("cuda")


def case_of(name: str, batch: int) -> Case:
    return Case(name, *network_of(name), batch, DEVICE)


def encoder_of(case: Case, precision: str) -> Encoder:
    return Encoder(case.state, case.config, precision=precision, device=DEVICE)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", SHAPES)
class TestForward:
    def test_every_precision_is_within_its_error(self, name: str, batch: int) -> None:
        case, wrong = case_of(name, batch), []
        for precision in PRECISIONS:
            # What a kernel leaves out would stay NaN.
            out = torch.full_like(case.truth, float("nan"), dtype=torch.float32)
            encoder_of(case, precision)(case.keyframes, out)
            error = motion_error(out, case.truth)
            if not error <= TOLERANCE[precision]:
                wrong.append(f"{precision} is off by {error:.1e}, more than {TOLERANCE[precision]:.0e}")
        assert not wrong, wrong

    def test_runs_and_graphs_give_the_same_bits(self, name: str, batch: int) -> None:
        case = case_of(name, batch)
        for precision in PRECISIONS:
            encoder = encoder_of(case, precision)
            first = encoder(case.keyframes).clone()
            for _ in range(5):
                assert torch.equal(encoder(case.keyframes), first), precision
            graph = encoder.capture(batch)
            for _ in range(3):
                assert torch.equal(graph(case.keyframes), first), f"{precision}, graph"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_lies_beside_the_output_is_left_alone(precision: str) -> None:
    case = case_of("jhmdb", 1030)
    rows = 16  # of NaN before and behind
    around = torch.full((case.batch + 2 * rows, *case.truth.shape[1:]), float("nan"), device=DEVICE)
    encoder_of(case, precision)(case.keyframes, around[rows:-rows])
    assert around[:rows].isnan().all() and around[-rows:].isnan().all()
    assert not around[rows:-rows].isnan().any()


def test_one_encoder_for_every_batch() -> None:
    """Buffers are kept from call to call; a smaller batch after a larger one must not see what is left in them."""
    case = case_of("aist-smpl", 300)
    encoder = encoder_of(case, "bf16")
    whole = encoder(case.keyframes).clone()
    for batch in (1, 5, 299):
        part = encoder(case.keyframes[:batch])
        assert motion_error(part, whole[:batch].double()) < TOLERANCE["bf16"], batch


def test_another_stream_gives_the_same() -> None:
    case = case_of("h36m", 64)
    encoder = encoder_of(case, "bf16")
    expected, side = encoder(case.keyframes).clone(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        motion = encoder(case.keyframes)
    side.synchronize()
    assert torch.equal(motion, expected)


def test_two_streams_at_once_do_not_meet() -> None:
    """What lies between launches must be each stream's own."""
    case = case_of("aist-smpl", 1030)
    encoder, batches = encoder_of(case, "bf16"), (case.keyframes[:700].contiguous(), case.keyframes[330:].contiguous())
    expected = [encoder(keyframes).clone() for keyframes in batches]
    streams = [torch.cuda.Stream() for _ in batches]
    torch.cuda.synchronize()
    motions: list[list[Tensor]] = [[], []]
    for _ in range(5):
        for i, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                motions[i].append(encoder(batches[i]))
    torch.cuda.synchronize()
    for i, outs in enumerate(motions):
        assert all(torch.equal(out, expected[i]) for out in outs), f"stream {i}"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one CUDA device")
def test_a_device_that_is_not_the_current_one() -> None:
    case = case_of("image-n10", 3)
    expected = encoder_of(case, "bf16")(case.keyframes).cpu()
    encoder = Encoder(case.state, case.config, precision="bf16", device="cuda:1")
    keyframes = case.keyframes.to("cuda:1")
    assert torch.equal(encoder(keyframes).cpu(), expected)
    assert torch.equal(encoder.capture(3)(keyframes).cpu(), expected)


def test_tensors_elsewhere_are_refused() -> None:
    case = case_of("3dpw", 2)
    with pytest.raises(ValueError, match="keyframes must be on cuda:0 with the weights, found cpu"):
        encoder_of(case, "bf16")(case.keyframes.cpu())
    with pytest.raises(BackendUnavailableError, match="the kernels run on a CUDA device, found cpu"):
        Encoder(case.state, case.config, precision="bf16", device="cpu")


def test_the_backend_answers_as_torch_does() -> None:
    case = case_of("image-n10", 8)
    keyframes = case.keyframes.cpu().numpy()
    triton, other = (make_forward(name, case.config, case.state) for name in ("triton", "torch"))
    expected = other(keyframes)
    for batch in (1, 3, 8, 5, 1, 8, 3, 1):
        assert np.abs(triton(keyframes[-batch:]) - expected[-batch:]).max() < 2 * TOLERANCE["strict"], batch


@pytest.mark.parametrize("name", ["image-n10", "3dpw"])
def test_what_the_backend_replays_is_what_it_launches(name: str) -> None:
    """To the bit, with people who come and go in between; nothing is written to a motion that was handed out."""
    case = case_of(name, 8)
    keyframes, encoder = case.keyframes.cpu().numpy(), HostEncoder(encoder_of(case, "strict"))
    launched = {batch: encoder(keyframes[:batch]) for batch in range(1, 9)}
    assert encoder.captured == ()
    before = {batch: motion.copy() for batch, motion in launched.items()}
    for batch in (3, 1, 8, 2, 1, 7, 3, 4, 6, 5, 8, 1, 2):
        assert np.array_equal(encoder(keyframes[:batch]), launched[batch]), f"{batch} windows"
        encoder(keyframes[:batch] + 1)
    assert sorted(encoder.captured) == list(range(1, 9))
    assert all(np.array_equal(launched[batch], before[batch]) for batch in launched)


def test_a_call_of_the_backend_allocates_nothing_on_the_card() -> None:
    case = case_of("image-n10", 8)
    keyframes, encoder = case.keyframes.cpu().numpy(), HostEncoder(encoder_of(case, "strict"))

    def call() -> int:
        for batch in (1, 8):
            encoder(keyframes[:batch])
        return int(torch.cuda.memory_stats()["allocation.all.allocated"])

    call()  # launches
    call()  # captures
    assert call() == call()


def test_threads_share_the_backend() -> None:
    """While graphs are made, on two encoders, and while another thread allocates and multiplies."""
    cases = [case_of("image-n10", 4), case_of("world-n10", 4)]
    encoders = [HostEncoder(encoder_of(case, "strict")) for case in cases]
    keyframes = [case.keyframes.cpu().numpy() for case in cases]
    expected = [case.truth.cpu() for case in cases]
    calls, finished = (
        [(which, batch) for _ in range(10) for batch in (1, 4, 2, 3) for which in (0, 1)],
        threading.Event(),
    )

    def work() -> None:
        while not finished.is_set():
            a = torch.ones(512, 512, device=DEVICE)
            (a @ a).sum().item()

    def error(which: int, batch: int) -> float:
        motion = encoders[which](keyframes[which][:batch])
        return motion_error(torch.from_numpy(motion), expected[which][:batch])

    other = threading.Thread(target=work)
    other.start()
    try:
        with ThreadPoolExecutor(4) as threads:
            errors = list(threads.map(error, *zip(*calls, strict=True)))
    finally:
        finished.set()
        other.join()
    assert max(errors) < TOLERANCE["strict"]
    assert [sorted(encoder.captured) for encoder in encoders] == [[1, 2, 3, 4]] * 2


@pytest.mark.parametrize("contender", ["torch.compile", "CUDA graph of eager"])
def test_peers_of_the_benchmark_run(contender: str) -> None:
    case = case_of("3dpw", 4)
    motion: Tensor = FORWARD[contender].make(case)()
    assert motion_error(motion, case.truth) < TOLERANCE["fp32"]
