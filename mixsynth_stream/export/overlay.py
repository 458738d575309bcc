"""Overlay: the source's video with everybody's pose drawn on it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import av
import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.draw.canvas import Canvas
from mixsynth_stream.draw.pose import Look, draw_legend, draw_motion, draw_status
from mixsynth_stream.export.header import Header, made_by
from mixsynth_stream.export.mp4 import Mp4File
from mixsynth_stream.export.sink import SinkBase
from mixsynth_stream.files import make_folder
from mixsynth_stream.pipeline.motion import Motion, forecast_of
from mixsynth_stream.pipeline.sources.pixels.converter import converted

log = logging.getLogger(__name__)

_MAX_SIDE_PX = 8192  # H.264's own limit is twice that, which few players show


class OverlaySink(SinkBase):
    """Draws each final Motion on its frame, into an MP4 with the source's display size, time stamps and sound.

    A frame of another size than the first (from a camera that came back) is scaled to fit, and a huge one to 8192 px.
    `ghost` also draws the last pose of the forecast, and `legend` the two boxes that explain the picture.
    """

    def __init__(self, path: Path, header: Header, *, ghost: bool = True, legend: bool = True) -> None:
        super().__init__(path)
        make_folder(path)
        self._path = path
        self._header = header
        self._ghost = ghost
        self._legend = legend
        self._video: Mp4File | None = None
        self._canvas: Canvas | None = None
        self._frames = 0
        self._calls = 0
        self._ahead_s: float | None = None

    def write(self, motion: Motion) -> None:
        """One picture, if the Motion is final."""
        if not motion.final:
            return
        if motion.frame is None:
            raise ValueError(f"the Motion of frame {motion.index} carries no picture to draw on")
        self._frames += 1
        self._calls += motion.keyframe
        rgb = self._draw(motion.frame.rgb, motion)
        if self._video is None:
            share = min(_MAX_SIDE_PX / max(rgb.shape[:2]), 1.0)
            self._video = self._open(max(round(rgb.shape[1] * share), 1), max(round(rgb.shape[0] * share), 1))
        if rgb.shape[:2] != (self._video.height, self._video.width):
            rgb = _fit(rgb, self._video.width, self._video.height)
        self._video.write(rgb, motion.time_s)

    def _draw(self, rgb: np.ndarray, motion: Motion) -> np.ndarray:  # [H, W, 3] uint8 -> the same shape
        canvas = self._canvas
        if canvas is None or canvas.rgb.shape != rgb.shape:
            canvas = self._canvas = Canvas(np.empty_like(rgb))
        np.copyto(canvas.rgb, rgb)  # others may still use the frame
        look = Look.of(canvas.width, canvas.height)
        draw_motion(canvas, motion, look, ghost=self._ghost)
        if self._legend:
            forecast = forecast_of(motion) if self._ghost and self._ahead_s is None else None
            if forecast is not None:
                self._ahead_s = float(forecast.time_s[-1]) - motion.time_s
            draw_legend(canvas, look, self._ahead_s)
            draw_status(canvas, look, motion, self._frames, self._calls)
        return canvas.rgb

    def _open(self, width: int, height: int) -> Mp4File:
        header = self._header
        source = header.source if header.has_audio and not header.live else None
        if source and (source == "-" or not os.path.isfile(source)):
            log.warning("the sound of %s is left out: it can be read only once", shown(source))
            source = None
        return Mp4File(
            self._path,
            width,
            height,
            comment=f"made by {made_by()}",
            rate_hz=header.rate_hz,
            time_base=header.time_base,
            start_at_zero=header.live,
            sound_of=source,
        )

    def _finish(self) -> None:
        if self._video is not None:
            self._video.finish()
        else:
            self.paths.clear()


def _fit(rgb: np.ndarray, width: int, height: int) -> np.ndarray:  # [H, W, 3] -> [height, width, 3]
    """The picture scaled to fit, with black bars where the shapes differ."""
    share = min(width / rgb.shape[1], height / rgb.shape[0])
    size = max(round(rgb.shape[1] * share), 1), max(round(rgb.shape[0] * share), 1)
    picture = converted(av.VideoFrame.from_ndarray(rgb, format="rgb24"), *size).to_ndarray()
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    frame = np.zeros((height, width, 3), np.uint8)
    frame[top : top + size[1], left : left + size[0]] = picture
    return frame
