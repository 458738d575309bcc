"""Fuzz of the binding: for thousands of wrong arguments, the result is right or a clear Python error.

    python tests/csrc/fuzz_bindings.py EXTENSION [--seconds S] [--seed N]

`make fuzz` builds EXTENSION with AddressSanitizer, so that a wrong address ends the run. Every round draws anew what is
wrong: dimensions, weights, keyframes and options, none or several at once. An error must be a TypeError or a ValueError
that states what is required, a result must be that of the formulas, and memory must not grow with a wrong number.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.networks import random_state, reference
from support.poses_fuzz import fuzz_poses

from mixsynth_stream.config import ModelConfig

NUMBERS: list[Any] = [0, -1, 2**16 + 1, 2**31, 2**32, 2**62, 2**63, -(2**63), 10**30, 1.5, float("nan")]
ABSURD: list[Any] = [*NUMBERS, "3", None, True, np.int64(2), np.float32(2), [1], "\ud800", "ö" * 100]
# Every network of a run needs less, together with numpy and the sanitizer.
MOST_MEMORY = 1 << 31
DTYPES = ["f8", "f2", ">f4", "i4", "?", "c8", "O", "S4", "V4", "M8[s]"]


def _peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _unaligned(x: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"?" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)


def _is_small(weight: Any) -> bool:
    """Whether all numbers are. A weight that the network does not use may be of any type, and endless."""
    rows = np.atleast_1d(np.asarray(weight))[:1000]
    return rows.dtype.kind in "biuf" and bool(np.abs(rows).max(initial=0) < 100)


def _poisoned(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    x = x.copy()
    if x.size:
        x.flat[random.integers(x.size)] = random.choice([np.nan, np.inf, -np.inf])
    return x


def wrong_array(x: np.ndarray, random: np.random.Generator) -> Any:
    """The array with one change; some changes are harmless."""
    if not x.size:
        return x.astype(random.choice(DTYPES))
    if x.size > 10_000_000:  # one row that seems to repeat without end: a copy does not fit the memory
        return x
    axis = int(random.integers(max(x.ndim, 1)))
    changes: list[Callable[[], Any]] = [
        lambda: x.astype(np.float64).astype(random.choice(DTYPES)) if x.size < 10_000 else x.astype("f8"),
        lambda: x[None],
        lambda: x.reshape(-1),
        lambda: x[..., 0],
        lambda: np.delete(x, 0, axis) if x.ndim and x.shape[axis] else x,
        lambda: np.concatenate([x, x], axis) if x.ndim else x,
        lambda: np.repeat(x, 2, axis=-1)[..., ::2],
        lambda: x[::-1],
        lambda: np.asfortranarray(x),
        lambda: x.T,
        lambda: _unaligned(x),
        lambda: _poisoned(x, random),
        lambda: np.broadcast_to(x[:1], (int(random.choice([2**20, 2**40])), *x.shape[1:])),
        lambda: np.lib.stride_tricks.as_strided(x, x.shape, tuple(0 for _ in x.shape)),
        lambda: np.empty((0, *x.shape[1:]), np.float32),
        lambda: np.empty((*x.shape[:-1], 0), np.float32),
        lambda: np.float32(1),
        lambda: np.array(1, np.float32),
        lambda: np.ma.masked_array(x),
        lambda: (x * random.choice([1e6, 1e12, 1e18, 1e30, 1e37])).astype(np.float32),
        lambda: memoryview(np.ascontiguousarray(x)),
        lambda: x.tolist() if x.size < 1000 else [],
        lambda: random.choice(np.array([None, "x", 0, {}, object], dtype=object)),
    ]
    array = changes[int(random.integers(len(changes)))]()
    if isinstance(array, np.ndarray) and random.random() < 0.1 and array.flags.owndata:
        array.setflags(write=False)
    return array


def random_config(random: np.random.Generator) -> ModelConfig:
    def size(most: int) -> int:
        return int(random.integers(1, most + 1))

    interval, step, horizon, channels = size(6), size(5), size(10) - 1, size(70)
    return ModelConfig(
        sample_interval=interval,
        step=step,
        horizon=horizon,
        joint_dim=size(40),
        emb_dim=channels,
        num_encoder_layers=size(2),
        expansion_factor=size(3),
        reduce_token=size(min(5, interval * step + 1 + horizon)),
        reduce_channel=size(min(5, channels)),
    )


class Fuzz:
    """One extension, and the number of its answers by kind."""

    def __init__(self, native: Any, seed: int) -> None:
        self.native, self.random, self.answers = native, np.random.default_rng(seed), Counter[str]()

    def round(self) -> None:
        """A network, several calls of it, and now and then a layer in training."""
        random = self.random
        config = random_config(random)
        state = random_state(config, int(random.integers(1000)))
        fields: dict[str, Any] = {name: getattr(config, name) for name in config.__dataclass_fields__}
        arguments = fields | {"state": dict(state)}
        wrong = random.random() < 0.7
        if wrong:
            self._spoil(arguments)
        encoder = self._ask("Encoder", lambda: self.native.Encoder(**arguments), harmless=not wrong)
        if encoder is None:
            return
        config = ModelConfig(**{name: int(arguments[name]) for name in fields})
        for _ in range(int(random.integers(1, 5))):
            self._call(encoder, config, arguments["state"])
        if random.random() < 0.3:
            self._train(config, arguments["state"])
        self._crop()

    def _crop(self) -> None:
        """A crop of a picture, wherever it lies."""
        random = self.random
        rgb: Any = random.integers(0, 256, (*random.integers(1, 40, 2), 3), np.uint8)
        numbers: dict[str, Any] = {name: random.normal() * 10.0 ** random.integers(-2, 7) for name in ("x", "y")}
        numbers |= {name: random.normal() * 10.0 ** random.integers(-3, 4) for name in ("right_x", "right_y")}
        numbers["size"] = int(random.integers(1, 300))
        wrong = random.random() < 0.5
        if wrong:
            name = str(random.choice([*numbers, "rgb"]))
            if name == "rgb":
                pictures = [
                    rgb.astype(float),
                    rgb[0],
                    rgb[None],
                    rgb[..., :2],
                    rgb[:0],
                    rgb[::-1],
                    rgb[:, ::2],
                    rgb.T,
                    None,
                ]
                rgb = [*pictures, np.broadcast_to(rgb[:1], (2**40, *rgb.shape[1:]))][random.integers(10)]
            else:
                numbers[name] = random.choice(np.array(ABSURD, dtype=object))
        square = self._ask("crop", lambda: self.native.crop(rgb, **numbers), harmless=not wrong)
        if square is not None:
            side = int(numbers["size"])
            assert square.shape == (side, side, 3) and square.dtype == np.uint8, f"{square.dtype} {square.shape}"
            few = rgb[:40]
            assert few.min() <= square.min() and square.max() <= few.max(), "a pixel that lies between no pixels"

    def _spoil(self, arguments: dict[str, Any]) -> None:
        random, state = self.random, arguments["state"]
        for _ in range(int(random.integers(1, 3))):
            name = str(random.choice(list(state))) if state else ""
            kind = int(random.integers(8))
            if kind == 0:
                arguments[str(random.choice([n for n in arguments if n != "state"]))] = random.choice(
                    np.array(ABSURD, dtype=object)
                )
            elif kind == 1 and name:
                del state[name]
            elif kind == 2:
                arguments["simd_bits"] = random.choice(np.array([*ABSURD, 128, 256, 512, 64], dtype=object))
            elif kind == 3:
                other = random_state(random_config(random))
                state.update({name: other[name] for name in list(other)[: int(random.integers(len(other)))]})
            elif kind == 4:
                dimension = str(random.choice([n for n in arguments if n not in ("state", "simd_bits")]))
                arguments[dimension] = int(random.integers(0, 70_000))
            elif name:
                state[name] = wrong_array(np.asarray(random_state_like(state[name])), random)

    def _call(self, encoder: Any, config: ModelConfig, state: dict[str, np.ndarray]) -> None:
        random = self.random
        batch = int(random.choice([0, 1, 1, 2, 3, 17]))
        keyframes: Any = random.standard_normal((batch, config.num_keyframes, config.joint_dim)).astype(np.float32)
        options: dict[str, Any] = {}
        wrong = random.random() < 0.6
        if wrong:
            keyframes = wrong_array(keyframes, random)
        if random.random() < 0.3:
            threads = random.choice(np.array([*ABSURD, 2, 3, 256, 257], dtype=object))
            options = {"threads": threads}
            wrong = wrong or not isinstance(threads, int) or threads not in (2, 3, 256)
        # Weights of any size are right; a motion that overflows because of them is refused.
        small = all(_is_small(value) for value in state.values())
        before = keyframes.copy() if isinstance(keyframes, np.ndarray) and keyframes.size < 1e6 else None
        motion = self._ask("forward", lambda: encoder.forward(keyframes, **options), harmless=small and not wrong)
        if motion is None:
            return
        shape = (len(keyframes), config.seq_len, config.joint_dim)
        assert motion.shape == shape and motion.dtype == np.float32, f"{motion.dtype} {motion.shape}, expected {shape}"
        assert motion.flags.owndata and motion.flags.writeable, "the result is a view of other memory"
        assert np.isfinite(motion).all(), "the result is not finite"
        assert before is None or np.array_equal(before, keyframes), "the keyframes were changed"
        sane = small and np.abs(np.asarray(keyframes)).max(initial=0.0) < 100
        if sane and config.emb_dim >= 8 and random.random() < 0.2:
            plain = {name: np.asarray(value) for name, value in state.items()}  # the reference knows no masks
            truth = reference(config, plain, np.asarray(keyframes[:1])) if len(keyframes) else motion
            error = float(np.abs(motion[:1] - truth).max(initial=0.0))
            assert error < 1e-4, f"off by {error} with {config}"

    def _train(self, config: ModelConfig, state: dict[str, np.ndarray]) -> None:
        """Both passes of a layer, which do not refuse NaN."""
        random, prefix = self.random, "encoder.layers.0."
        fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
        layer = self._ask("TrainedLayer", lambda: self.native.TrainedLayer(**fields), harmless=config.emb_dim < 100)
        if layer is None:
            return
        weights: Any = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        shape = (int(random.choice([0, 1, 3])), config.seq_len, config.emb_dim)
        right = random.standard_normal((2, *shape)).astype(np.float32)
        x, d_out = (wrong_array(array, random) if random.random() < 0.4 else array for array in right)
        if random.random() < 0.2:
            weights = random.choice(np.array([None, (), {}], dtype=object))
        threads = int(random.choice([1, 2, 300]))
        shares = np.array([0.0, 0.1, 1.0, np.nan, "a", None], dtype=object)
        seeds = np.array([0, -1, 2**62, 2**70, "a"], dtype=object)
        wrong = {"dropout": random.choice(shares), "seed": random.choice(seeds)}
        options = wrong if random.random() < 0.3 else {"dropout": 0.5, "seed": 3}
        result = self._ask("backward", lambda: layer.backward(x, d_out, weights, threads, **options), harmless=False)
        if result is not None:
            d_x, gradients = result
            assert d_x.shape == x.shape and d_x.dtype == np.float32
            assert all(gradients[name].shape == weights[name].shape for name in gradients)
        self._ask("layer forward", lambda: layer.forward(x, weights, threads, **options), harmless=False)

    def glance(self) -> None:
        """Two pyramids, the flow of points between them and a body that is followed, some of it wrong."""
        random = self.random
        height, width, bits = (int(n) for n in random.integers((1, 1, 1), (90, 90, 17)))
        dtype = np.uint16 if bits > 8 else np.uint8
        luma: Any = random.integers(0, 1 << bits, (height, width)).astype(dtype)
        if random.random() < 0.2:
            luma = np.repeat(luma[..., None], 3, axis=2)
        arguments: list[Any] = [luma, tuple(random.integers(-50, 150, 4).tolist()), int(random.integers(1, 9)), bits]
        wrong = random.random() < 0.4
        if wrong:
            self._spoil_picture(arguments)
        pyramid = self._ask("Pyramid", lambda: self.native.Pyramid(*arguments), harmless=not wrong)
        if pyramid is None:
            return
        points: Any = random.normal(0, 60, (int(random.integers(0, 9)), 2)).astype(np.float32)
        guesses: Any = random.normal(0, 10, points.shape).astype(np.float32)
        if wrong:
            points, guesses = wrong_array(points, random), wrong_array(guesses, random)
        flows = self._ask("flow", lambda: self.native.flow(pyramid, pyramid, points, guesses), harmless=not wrong)
        assert flows is None or flows.shape == (len(points), 6), "not a row for each point"
        self._follow(pyramid)

    def _spoil_picture(self, arguments: list[Any]) -> None:
        random, which = self.random, int(self.random.integers(6))
        luma = arguments[0]
        changes: list[Callable[[], Any]] = [
            lambda: luma[:, ::-1],
            lambda: luma[::-1],
            lambda: luma[::2],
            lambda: luma.T,
            lambda: luma[0],
            lambda: luma.astype(random.choice(DTYPES)),
            lambda: np.broadcast_to(luma[:1], (2**20, *luma.shape[1:])),
            lambda: luma[:0],
            luma.tolist,
            lambda: None,
        ]
        if which < 2:
            arguments[0] = changes[int(random.integers(len(changes)))]()
        elif which == 2:
            arguments[1] = random.choice(np.array([None, "abcd", (1, 2), (0, 0, "x", 9)], dtype=object))
        elif which == 3:
            arguments[1] = tuple(random.choice(NUMBERS[:9], 4).tolist())
        else:
            arguments[int(random.integers(2, 4))] = random.choice(np.array(ABSURD, dtype=object))

    def _follow(self, pyramid: Any) -> None:
        random = self.random
        joints, count = int(random.integers(1, 25)), int(random.integers(1, 40))
        indices: Any = random.integers(0, joints, (count, 4)).astype(np.int32)
        numbers: Any = random.normal(0, 1, (count, 7)).astype(np.float32)
        wrong = random.random() < 0.4
        if wrong:
            numbers, indices = wrong_array(numbers, random), indices + int(random.choice([0, -1, 30]))
        body = self._ask("Body", lambda: self.native.Body(joints, indices, numbers), harmless=not wrong)
        pose: Any = random.normal(0, random.choice([1.0, 60.0, 1e5]), (joints, 2)).astype(np.float32).clip(-1e6, 1e6)
        step: Any = random.normal(0, 5, (joints, 2)).astype(np.float32)
        scale: Any = float(random.uniform(1, 100))
        if random.random() < 0.3:
            wrong = True
            pose, step = wrong_array(pose, random), wrong_array(step, random)
            scale = random.choice(np.array([*ABSURD, scale], dtype=object))
        if body is not None:
            followed = self._ask("follow", lambda: body.follow(pyramid, pyramid, pose, step, scale), harmless=not wrong)
            assert followed is None or np.isfinite(followed[2]).all(), "the evidence is not finite"

    def _ask(self, what: str, call: Callable[[], Any], harmless: bool) -> Any:
        """The result of a call, or None for an error of the right kind with the right words."""
        result: Any = None
        refusal: Exception | None = None
        try:
            result = call()
        except (TypeError, ValueError) as error:
            refusal = error
        assert _peak_memory() < MOST_MEMORY, f"{what} took {_peak_memory() >> 20} MiB"
        self.answers[f"{what}: {'result' if refusal is None else type(refusal).__name__}"] += 1
        if refusal is not None:
            sentence = str(refusal)
            assert not harmless, f"{what} refused what is right: {sentence}"
            assert any(word in sentence for word in ("must", "lacks", "would need", "far out of range")), sentence
        return result


def random_state_like(x: Any) -> np.ndarray:
    """The array itself, or zeros where an earlier change left no array."""
    return x if isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim else np.zeros((4, 4), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extension", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("mixsynth_stream._C", args.extension.resolve())
    assert spec is not None and spec.loader is not None, f"{args.extension} is no extension"
    native = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(native)
    end, rounds = time.monotonic() + args.seconds, 0
    fuzz = Fuzz(native, args.seed)
    while time.monotonic() < end:
        fuzz.random = np.random.default_rng([args.seed, rounds])
        try:
            fuzz.round()
            fuzz.glance()
            fuzz_poses(native, fuzz.random, wrong_array, fuzz._ask)
        except BaseException:
            print(f"round {rounds} of seed {args.seed}", file=sys.stderr)
            raise
        rounds += 1
    print(f"{rounds} rounds: " + ", ".join(f"{n} {answer}" for answer, n in sorted(fuzz.answers.items())))


if __name__ == "__main__":
    main()
