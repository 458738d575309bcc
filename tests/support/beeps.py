"""Clips that flash and beep at the same times, and when a video flashes and beeps."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

STARTS_S = (0.5, 1.5)
_RATE = 48_000


def clip(
    path: Path,
    codec: str = "aac",
    *,
    rate: int = _RATE,
    start_s: float = 0.0,
    delay_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """Two seconds at 30 Hz. `start_s`: the first time stamp. `delay_s`: how much later the sound comes."""
    strict = {"strict": "experimental"}
    with av.open(str(path), "w", options={**strict, **(options or {})}) as container:
        video = container.add_stream("libx264", rate=30, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono", options=strict)
        sound.bit_rate = 64_000
        for index in range(60):
            rgb = np.full((120, 160, 3), 230 if _is_on(np.array(index / 30)) else 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index + round(30 * start_s), Fraction(1, 30)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        times_s = np.arange(2 * rate) / rate
        samples = np.where(_is_on(times_s), np.sin(2 * np.pi * 1000 * times_s) * 20_000, 0).astype(np.int16)
        tone = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        tone.sample_rate, tone.time_base = rate, Fraction(1, rate)
        tone.pts = round((start_s + delay_s) * rate)
        for frame in av.AudioResampler(format=sound.format, layout="mono", rate=rate).resample(tone):
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def flashes(path: Path) -> list[float]:
    """When the picture becomes light, in seconds."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return _starts((float(f.pts * f.time_base), f.to_ndarray(format="gray").mean() > 100) for f in frames)


def beeps(path: Path) -> list[float]:
    """When the sound becomes loud, in seconds, to a millisecond."""
    blocks: list[tuple[float, bool]] = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
        for frame in container.decode(audio=0):
            start_s = float(frame.pts * frame.time_base)
            loud = np.concatenate([np.abs(part.to_ndarray()[0]) for part in resampler.resample(frame)])
            rows = loud[: len(loud) // 48 * 48].reshape(-1, 48).max(1) > 0.2
            blocks += [(start_s + row / 1000, bool(is_loud)) for row, is_loud in enumerate(rows)]
    return _starts(blocks)


def _is_on(times_s: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce([(times_s >= start - 1e-6) & (times_s < start + 0.1) for start in STARTS_S])


def _starts(states: Iterable[tuple[float, bool]]) -> list[float]:
    """The times at which something begins that was not there for 0.3 s."""
    starts: list[float] = []
    last_s = -1.0
    for time_s, is_on in states:
        if is_on and time_s - last_s > 0.3:
            starts.append(time_s)
        last_s = time_s if is_on else last_s
    return starts
