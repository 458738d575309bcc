"""The backend `triton` as it is called: batches that come and go, threads, and CUDA graphs, counted in a fake.

Real graphs need a card: tests/gpu has them.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: `pip install mixsynth-stream[gpu]`", allow_module_level=True)

import torch
from support.networks import ODD, assert_close, random_keyframes, random_state

from mixsynth_stream.backend import make_forward
from mixsynth_stream.kernels.inference import host
from mixsynth_stream.kernels.inference.host import HostEncoder

CONFIG = dataclasses.replace(ODD, num_encoder_layers=1)
STATE = random_state(CONFIG)
BATCHES = (1, 3, 8, 5)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:  # [8, T, D]
    return make_forward("torch", CONFIG, STATE)(random_keyframes(CONFIG, max(BATCHES)))


class TestBackend:
    def test_batches_that_come_and_go_give_what_torch_gives(self, expected):
        forward, keyframes = make_forward("triton", CONFIG, STATE), random_keyframes(CONFIG, max(BATCHES))
        for batch in BATCHES:
            assert_close(forward(keyframes[-batch:]), expected[-batch:], 2e-5, f"motion of {batch} windows")

    def test_a_later_call_does_not_write_to_an_earlier_result(self, expected):
        forward, keyframes = make_forward("triton", CONFIG, STATE), random_keyframes(CONFIG, max(BATCHES))
        first = forward(keyframes[:3])
        before = first.copy()
        for batch in (3, 5):
            forward(keyframes[-batch:] + 1)
        np.testing.assert_array_equal(first, before)

    def test_a_batch_larger_than_the_buffers_goes_in_parts(self, expected, monkeypatch):
        monkeypatch.setattr(host, "_AT_ONCE", 3)
        forward = make_forward("triton", CONFIG, STATE)
        assert_close(forward(random_keyframes(CONFIG, 8)), expected, 2e-5, "motion in parts of 3, 3 and 2")

    def test_no_windows_give_no_poses(self):
        assert make_forward("triton", CONFIG, STATE)(np.empty((0, 3, 5), np.float32)).shape == (0, 9, 5)

    def test_threads_that_call_at_once(self, expected):
        """Of one encoder, with batches that make its buffers grow, and of another."""
        keyframes, encoders = random_keyframes(CONFIG, 8), [make_forward("triton", CONFIG, STATE) for _ in range(2)]
        calls = [(1, 0), (3, 1), (2, 0), (1, 1), (3, 0), (2, 1)]
        with ThreadPoolExecutor(4) as threads:
            motions = list(threads.map(lambda call: encoders[call[1]](keyframes[-call[0] :]), calls))
        for (batch, _), motion in zip(calls, motions, strict=True):
            assert_close(motion, expected[-batch:], 2e-5, f"motion of {batch} windows")

    @pytest.mark.parametrize("name", ["triton", "torch", "native"])
    @pytest.mark.parametrize(
        ("keyframes", "error", "says"),
        [
            (np.zeros((2, 4, 5), np.float32), ValueError, r"keyframes must .* \[2, 4, 5\]"),
            (np.zeros((2, 3, 5)), TypeError, "keyframes must be float32, found float64"),
            (np.full((1, 3, 5), np.nan, np.float32), ValueError, "finite"),
        ],
        ids=["shape", "dtype", "nan"],
    )
    def test_what_does_not_fit_is_named_whatever_the_backend(self, name, keyframes, error, says):
        with pytest.raises(error, match=says):
            make_forward(name, CONFIG, STATE)(keyframes)


class FakeEncoder:
    """Motion is the mean of the keyframes. Graphs of it are counted."""

    config, device, can_capture = CONFIG, torch.device("cpu"), True

    def __init__(self) -> None:
        self.graphs: list[FakeGraph] = []

    def __call__(self, keyframes: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(keyframes.mean(1, keepdim=True).expand_as(out))

    def capture(self, batch: int) -> FakeGraph:
        self.graphs.append(FakeGraph(self, batch))
        return self.graphs[-1]


class FakeGraph:
    def __init__(self, encoder: FakeEncoder, batch: int) -> None:
        self._encoder = encoder
        self.keyframes = torch.zeros(batch, CONFIG.num_keyframes, CONFIG.joint_dim)
        self.motion = torch.empty(batch, CONFIG.seq_len, CONFIG.joint_dim)
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self._encoder(self.keyframes, self.motion)


def check(encoder: HostEncoder, *batches: int) -> None:
    """Each call has other keyframes; the motions are checked after the last call."""
    keyframes = [random_keyframes(CONFIG, batch, seed) for seed, batch in enumerate(batches)]
    for k, motion in zip(keyframes, list(map(encoder, keyframes)), strict=True):
        np.testing.assert_allclose(motion, np.broadcast_to(k.mean(1, keepdims=True), motion.shape), rtol=0, atol=1e-6)


class TestGraphs:
    def test_a_batch_size_is_captured_when_it_comes_again(self):
        fake = FakeEncoder()
        check(HostEncoder(fake), 3, 3, 3, 8, 3, 2)
        assert [(len(graph.keyframes), graph.replays) for graph in fake.graphs] == [(3, 3)], "8 and 2 came once"

    def test_the_sizes_used_last_are_kept_and_no_more(self, monkeypatch):
        monkeypatch.setattr(host, "_AT_ONCE", 4)
        fake = FakeEncoder()
        encoder = HostEncoder(fake)
        check(encoder, 1, 1, 2, 2, 1, 3, 3)
        assert encoder.captured == (1, 3), "2 was used before 1"
        check(encoder, 2)
        assert encoder.captured == (1, 3) and len(fake.graphs) == 3, "one that is back is launched at first"
        check(encoder, 2)
        assert encoder.captured == (2,), "with either of the others there would be more than 4 windows"

    def test_people_who_come_and_go_for_hours_need_a_graph_for_each_number_of_them(self):
        fake = FakeEncoder()
        check(HostEncoder(fake), *np.random.default_rng(0).integers(1, 9, 500).tolist())
        assert len(fake.graphs) == 8

    def test_a_large_batch_is_launched(self, monkeypatch):
        monkeypatch.setattr(host, "_LARGEST_CAPTURED", 2)
        fake = FakeEncoder()
        check(HostEncoder(fake), 3, 3, 3)
        assert not fake.graphs

    def test_a_capture_that_fails_is_told_once_and_costs_no_poses(self, monkeypatch, caplog):
        def capture(self: FakeEncoder, batch: int) -> FakeGraph:
            raise RuntimeError("another thread waited for the device")

        monkeypatch.setattr(FakeEncoder, "capture", capture)
        with caplog.at_level(logging.WARNING):
            check(HostEncoder(FakeEncoder()), 3, 3, 3, 2, 2)
        assert [record.getMessage() for record in caplog.records] == [
            "no CUDA graph for 3 windows, and no more of them are tried: another thread waited for the device"
        ]
