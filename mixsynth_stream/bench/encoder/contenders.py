"""Contenders of `bench encoder`: the native encoder, and other ways to run the same network on one CPU core.

Every contender is a function keyframes [B, Q+1, D] -> motion [B, T, D] on numpy arrays, held to one thread. Peers get
fixed shapes and every switch that makes them faster; none is rewritten.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.backend import Forward, make_forward
from mixsynth_stream.telemetry import import_onnxruntime, import_openvino

if TYPE_CHECKING:
    from mixsynth_stream.config import ModelConfig
    from mixsynth_stream.network import MixSynthFormer

NATIVE, NATIVE_AVX2, EAGER = "native", "native AVX2", "eager"
# Our own contenders, which are not compared with each other.
OURS = (NATIVE, NATIVE_AVX2)


class Case:
    """One network and one batch, on which all contenders run."""

    def __init__(self, name: str, config: ModelConfig, state: Mapping[str, np.ndarray], batch: int) -> None:
        self.name, self.config, self.state, self.batch = name, config, state, batch
        shape = (batch, config.num_keyframes, config.joint_dim)
        self.keyframes = np.random.default_rng(batch).standard_normal(shape).astype(np.float32)

    @cached_property
    def network(self) -> MixSynthFormer:
        """The readable network in float32."""
        import torch

        from mixsynth_stream.network import MixSynthFormer

        network = MixSynthFormer(self.config).eval().requires_grad_(False)
        network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in self.state.items()})
        return network

    @cached_property
    def truth(self) -> np.ndarray:  # [B, T, D] float64
        """The output of the readable network in float64."""
        import copy

        import torch

        with torch.inference_mode():
            motion: np.ndarray = copy.deepcopy(self.network).double()(torch.from_numpy(self.keyframes).double()).numpy()
        return motion


def _native(case: Case) -> Forward:
    return make_forward("native", case.config, case.state)


def _native_avx2(case: Case) -> Forward:
    """The native encoder as on a processor without AVX-512. The peers keep the widest registers that they use."""
    native: Any = importlib.import_module("mixsynth_stream._C")
    forward: Forward = native.Encoder(state=dict(case.state), simd_bits=256, **dataclasses.asdict(case.config)).forward
    return forward


def _from_torch(network: Callable[[Any], Any]) -> Forward:
    import torch

    def forward(keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        with torch.inference_mode():
            motion: np.ndarray = network(torch.from_numpy(keyframes)).numpy()
        return motion

    return forward


def _eager(case: Case) -> Forward:
    return _from_torch(case.network)


def _compiled(case: Case) -> Forward:
    import torch

    torch.compiler.reset()
    return _from_torch(torch.compile(case.network, dynamic=False))


def _torchscript(case: Case) -> Forward:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        traced = torch.jit.trace(case.network, torch.from_numpy(case.keyframes))
        return _from_torch(torch.jit.optimize_for_inference(torch.jit.freeze(traced)))


def _onnx_bytes(case: Case) -> bytes:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    progress = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(progress), contextlib.redirect_stderr(progress):
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(case.network, (torch.from_numpy(case.keyframes),), dynamo=True)
    model_bytes: bytes = program.model_proto.SerializeToString()
    return model_bytes


def _onnx_runtime(case: Case) -> Forward:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(_onnx_bytes(case), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda keyframes: session.run(None, {name: keyframes})[0]


def _openvino(case: Case) -> Forward:
    openvino = import_openvino()
    # Without the hint a processor that has bfloat16 would be allowed to use it.
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(_onnx_bytes(case)), "CPU", settings).create_infer_request()
    return lambda keyframes: request.infer([keyframes], share_inputs=True, share_outputs=True)[0]


# Name -> (its maker, the packages that it needs).
CONTENDERS: dict[str, tuple[Callable[[Case], Forward], tuple[str, ...]]] = {
    NATIVE: (_native, ()),
    NATIVE_AVX2: (_native_avx2, ()),
    EAGER: (_eager, ("torch",)),
    "torch.compile": (_compiled, ("torch",)),
    "TorchScript": (_torchscript, ("torch",)),
    "ONNX Runtime": (_onnx_runtime, ("torch", "onnxscript", "onnxruntime")),
    "OpenVINO": (_openvino, ("torch", "onnxscript", "openvino")),
}


def missing_packages(name: str) -> list[str]:
    """The packages that this contender needs and that are not installed."""
    return [package for package in CONTENDERS[name][1] if importlib.util.find_spec(package) is None]


def make(name: str, case: Case) -> Forward:
    """The contender of that name for a case."""
    return CONTENDERS[name][0](case)


def peaks_of(contenders: Sequence[str]) -> dict[str, float]:
    """Multiplications and additions a second that this core could do, in the registers that each contender has."""
    native: Any = importlib.import_module("mixsynth_stream._C")
    peaks = dict.fromkeys(contenders, float(native.fma_peak()))
    if NATIVE_AVX2 in peaks:
        peaks[NATIVE_AVX2] = float(native.fma_peak(256))
    return peaks
