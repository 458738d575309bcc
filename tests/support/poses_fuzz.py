"""Curves and glimpses for the fuzz of the binding, now and then with an array or a number that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# The result of a call, or None for an error with the right words; an error where the arguments were harmless is none.
Ask = Callable[[str, Callable[[], Any], bool], Any]
Spoil = Callable[[np.ndarray, np.random.Generator], Any]


def fuzz_poses(native: Any, random: np.random.Generator, spoil: Spoil, ask: Ask) -> None:
    """A curve at some times, and glimpses beside some poses."""
    numbers, arrays = _curve(random)
    wrong = _spoil_one(arrays, random, spoil)
    if wrong and random.random() < 0.3:
        name = str(random.choice(["interval", "newest", "horizon", "dims"]))
        numbers[name] = random.choice(np.array([0, -1, 2**31, 2**63, 10**30, 1.5, "3", None, True, 7], dtype=object))
    curve = ask("Curve", lambda: native.Curve(**arrays, **numbers), not wrong)
    times: Any = random.uniform(-1, 3, int(random.integers(0, 5)))
    if random.random() < 0.3:
        wrong, times = True, spoil(times, random)
    if curve is not None:
        ask("Curve.at", lambda: curve.at(times), not wrong)

    arrays, window = _glimpses(random)
    wrong = _spoil_one(arrays, random, spoil)
    if random.random() < 0.3:
        wrong, which = True, int(random.integers(len(window)))
        window[which] = spoil(window[which], random)
    own = {"trust": 0.5, "worth": 1.0, "no_sigma_share": 0.7, "jitter": 1.0, "newest_s": (0.1, 0.0)}
    own |= {"velocity_s": 0.1, "same_time_s": 1e-6}
    glimpses = ask("Glimpses", lambda: native.Glimpses(**arrays, **own), not wrong)
    if glimpses is not None:
        ask("Glimpses.at", lambda: glimpses.at(*window), not wrong)


def _spoil_one(arrays: dict[str, Any], random: np.random.Generator, spoil: Spoil) -> bool:
    """Whether one of the arrays was made wrong."""
    if random.random() < 0.5:
        return False
    name = str(random.choice(list(arrays)))
    arrays[name] = spoil(arrays[name], random)
    return True


def _curve(random: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    keyframes, joints, dims, interval, horizon = (int(n) for n in random.integers(1, 6, 5))
    newest = keyframes * interval
    steps = newest + 1 + horizon
    arrays = {
        "knot_s": np.arange(keyframes + 1) / 3,
        "knot_steps": np.minimum(np.arange(1, keyframes + 2) * interval, steps - 1).astype(np.float64),
        "rows": random.normal(0, 1, (keyframes, joints * dims + joints)),
        "sighting_s": np.where(random.random((3, joints)) < 0.5, random.random((3, joints)), np.nan),
        "moves": random.normal(0, 1, (steps, joints * dims)),
        "sigma": random.random((steps, joints)),
        "offset": random.normal(0, 1, (joints, dims)),
    }
    numbers = {"interval": interval, "newest": newest, "horizon": horizon, "dims": dims, "scale": 1.0}
    return numbers | {"bridge_s": (0.0, 0.1), "rate_hz": 30.0, "same_time_s": 1e-6, "wide_gap_s": 0.1}, arrays


def _glimpses(random: np.random.Generator) -> tuple[dict[str, Any], list[Any]]:
    """The arrays of glimpses, and times, poses and sigma of a window."""
    count, joints, times = (int(n) for n in random.integers(1, 6, 3))
    arrays = {
        "time_s": np.arange(count) / 30,
        "poses": random.normal(0, 1, (count, joints, 2)),
        "sigma": random.random((count, joints)),
        "followed": random.random((count, joints)) < 0.5,
    }
    rows = times + 2
    return arrays, [random.random(rows), random.normal(0, 1, (rows, joints, 2)), random.random((rows, joints))]
