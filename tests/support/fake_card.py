"""Fake card: the CUDA library over a fake runtime, with two cards in host memory, and arrays that lie on them.

Streams of the fake work as late as they may, and new memory is NaN, so that what nobody waits for is seen.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.emulated import FOLDER, ROOT, compiler

SOURCES = ("cuda/bindings.cpp", "cuda/launch.cpp", "cuda/runtime.cpp", "cuda/operands.cpp", "pack.cpp")
# A context of another program in this process, as `enter` and `context` number them; -1 is none.
FOREIGN = 8


def build_fake(folder: Path) -> Path:
    """The library, as a module of Python named _cuda."""
    pybind11 = pytest.importorskip("pybind11")
    library = folder / "_cuda.so"
    command = [compiler(), "-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror", "-fPIC", "-pthread"]
    command += ["-fvisibility=hidden", "-isystem", pybind11.get_include(), "-isystem", sysconfig.get_paths()["include"]]
    command += [f"-I{ROOT / 'csrc'}", f"-I{FOLDER / 'fake'}"]

    def compiled(source: Path) -> str:
        out = folder / f"{source.stem}.o"
        subprocess.run([*command, "-c", str(source), "-o", str(out)], check=True)
        return str(out)

    with ThreadPoolExecutor() as pool:
        sources = [*(ROOT / "csrc" / source for source in SOURCES), *sorted((FOLDER / "fake").glob("*.cpp"))]
        objects = list(pool.map(compiled, sources))
    subprocess.run([*command, "-shared", *objects, "-o", str(library)], check=True)
    return library


class FakeCard:
    """The library and the machine that it believes to run on."""

    def __init__(self, library: Path) -> None:
        spec = importlib.util.spec_from_file_location("_cuda", library)
        assert spec is not None and spec.loader is not None
        self.cuda: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.cuda)
        self._fake = ctypes.CDLL(str(library))
        for function in (self._fake.fake_memory, self._fake.fake_stream, self._fake.fake_workspace):
            function.restype = ctypes.c_void_p

    def machine(
        self, devices: int = 2, capability: tuple[int, int] = (9, 0), driver: int = 13000, shared: int = 227 * 1024
    ) -> None:
        self._fake.fake_machine(devices, *capability, driver, shared)

    def fail(self, function: str, status: int, times: int = 1) -> None:
        """The next calls of this function of the runtime give `status`."""
        self._fake.fake_fail(function.encode(), status, times)

    def stream(self) -> int:
        return int(self._fake.fake_stream())

    def wait(self, stream: int) -> None:
        self._fake.fake_wait(ctypes.c_void_p(stream if stream != 1 else 0))

    @contextmanager
    def capture(self, stream: int) -> Iterator[None]:
        """What the stream gets meanwhile becomes its graph, and is not done."""
        self._fake.fake_begin_capture(ctypes.c_void_p(stream))
        try:
            yield
        finally:
            self._fake.fake_end_capture(ctypes.c_void_p(stream))

    def replay(self, stream: int) -> None:
        """The stream's graph, on the stream."""
        self._fake.fake_replay(ctypes.c_void_p(stream))

    def workspace(self) -> int | None:
        """The address of the workspace of the last launch."""
        address: int | None = self._fake.fake_workspace()
        return address

    def windows(self) -> int:
        """How many windows a block took at a time in the last launch."""
        return int(self._fake.fake_windows())

    def blocks(self) -> int:
        """How many pieces of memory are allocated."""
        return int(self._fake.fake_blocks())

    def launches(self) -> int:
        return int(self._fake.fake_launches())

    def context(self) -> int:
        """The device whose context is current; -1 for none, FOREIGN for another program's."""
        return int(self._fake.fake_context())

    def enter(self, context: int) -> None:
        self._fake.fake_enter(context)

    def memory(self, shape: tuple[int, ...], device: int = 0, foreign: bool = False) -> CardMemory:
        return CardMemory(self._fake, shape, device, foreign)

    def array(self, numbers: np.ndarray, stream: int = 0) -> CardMemory:
        """A copy on the card, written when `stream` comes to it."""
        memory = self.memory(numbers.shape)
        contiguous = np.ascontiguousarray(numbers, np.float32)
        start = contiguous.ctypes.data_as(ctypes.c_void_p)
        self._fake.fake_write(
            ctypes.c_void_p(memory.address), start, ctypes.c_size_t(contiguous.nbytes), ctypes.c_void_p(stream)
        )
        return memory


class CardMemory:
    """float32 numbers on a card, NaN at first."""

    def __init__(self, fake: Any, shape: tuple[int, ...], device: int, foreign: bool) -> None:
        self.shape, self._fake = shape, fake
        count = int(np.prod(shape))
        self.address = int(fake.fake_memory(ctypes.c_size_t(4 * max(1, count)), device, int(foreign)))
        self.numbers = numbers_at(self.address, shape)

    def __del__(self) -> None:
        self._fake.fake_free(ctypes.c_void_p(self.address))


def numbers_at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    """A view of what lies there."""
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * max(1, count)).from_address(address))[:count].reshape(shape)


class Interface:
    """An array as Numba shows it: with the CUDA Array Interface."""

    def __init__(self, memory: CardMemory, stream: int | None = None, **facts: Any) -> None:
        self.memory = memory
        self.__cuda_array_interface__ = {
            "shape": memory.shape,
            "typestr": "<f4",
            "data": (memory.address, False),
            "version": 3,
            "stream": stream,
            **facts,
        }


class Dlpack:
    """An array as older releases of JAX and CuPy show it: with DLPack alone, before its version 1."""

    def __init__(self, memory: CardMemory, device: tuple[int, int] = (2, 0), code: int = 2, bits: int = 32) -> None:
        self.memory, self.device, self.streams = memory, device, []
        self._shape = (ctypes.c_int64 * len(memory.shape))(*memory.shape)
        self.managed = _Managed(
            memory.address,
            *device,
            len(memory.shape),
            code,
            bits,
            1,
            ctypes.addressof(self._shape),
            None,
            0,
            None,
            None,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, stream: int | None = None) -> Any:
        self.streams.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.managed), b"dltensor", None)


class _Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_number", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("owner", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )
