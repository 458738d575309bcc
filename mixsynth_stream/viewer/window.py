"""Window: the frames with their poses drawn on them, by tkinter, which comes with most Pythons."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from mixsynth_stream.draw.canvas import Canvas
from mixsynth_stream.draw.pose import Look, draw_legend, draw_motion
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export.sink import SinkBase

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.motion import Motion

# The largest picture that fits on a screen and that tkinter can take 30 times a second; larger ones are shown smaller.
MAX_WIDTH, MAX_HEIGHT = 1280, 720


def window_possible() -> bool:
    """Whether there is a display and a tkinter. This opens no window."""
    display = sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY"))
    return display and importlib.util.find_spec("_tkinter") is not None


class Window(SinkBase):
    """A sink that shows the newest frame. `closed` is True once q, Esc or the close button has ended the view."""

    def __init__(self, title: str = "mixsynth-stream") -> None:
        """Raises `OutputError` where no window can be opened."""
        super().__init__(None)
        self.closed = False
        self._newest = -1
        self._waits = False
        self._title = f"{title} - q or Esc ends"
        self._tk: Any = _open_window(title)
        self._tk.title(self._title)
        self._label: Any = self._tk.children["picture"]
        self._picture: Any = None  # tkinter shows a picture only while there is a reference to it
        self._tk.protocol("WM_DELETE_WINDOW", self._end)
        for key in ("q", "<Escape>"):
            self._tk.bind(key, lambda _: self._end())

    def write(self, motion: Motion) -> None:
        """Show the frame if it is newer than the present one; finals of earlier frames change nothing."""
        if self.closed or motion.index <= self._newest:
            return
        self._newest = motion.index
        if self._waits:
            self._waits = False
            self._tk.title(self._title)
        picture = subsample(picture_of(motion), MAX_WIDTH, MAX_HEIGHT)
        from tkinter import PhotoImage, TclError

        try:
            self._picture = PhotoImage(master=self._tk, data=ppm(picture), format="PPM")
            self._label.configure(image=self._picture)
            self._tk.update()
        except TclError as error:
            self.closed = True
            raise OutputError(f"the window cannot show frames any more ({error}): run with --view none") from error

    def wait(self) -> None:
        """Nothing comes from the source: say so, and take keys meanwhile."""
        from tkinter import TclError

        if self.closed:
            return
        try:
            if not self._waits:
                self._waits = True
                self._tk.title(f"{self._title} - camera lost, trying again")
            self._tk.update()
        except TclError:
            self.closed = True

    def _finish(self) -> None:
        self._tk.destroy()

    def _end(self) -> None:
        self.closed = True


def picture_of(motion: Motion) -> np.ndarray:  # -> [H, W, 3] uint8
    """The frame with its poses and the legend, as in an overlay video."""
    assert motion.frame is not None
    canvas = Canvas(motion.frame.rgb.copy())  # others may still use the frame
    look = Look.of(canvas.width, canvas.height)
    draw_motion(canvas, motion, look)
    draw_legend(canvas, look, None)
    return canvas.rgb


def ppm(rgb: np.ndarray) -> bytes:  # [H, W, 3] uint8
    """A picture in the plainest format that tkinter reads."""
    height, width = rgb.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + np.ascontiguousarray(rgb).tobytes()


def subsample(rgb: np.ndarray, max_width: int, max_height: int) -> np.ndarray:  # [H, W, 3] -> [h, w, 3]
    """Every nth pixel, so that the picture fits."""
    height, width = rgb.shape[:2]
    step = max(-(-width // max_width), -(-height // max_height), 1)
    return rgb[::step, ::step]


def _open_window(title: str) -> Any:
    try:
        import tkinter
    except ImportError as error:
        raise OutputError(
            f"no window can be opened because this Python has no tkinter ({error}): install python3-tk, "
            "or run with --view none"
        ) from error
    try:
        root = tkinter.Tk(className=title)
    except tkinter.TclError as error:
        raise OutputError(f"no window can be opened ({error}): run with --view none") from error
    tkinter.Label(root, name="picture", borderwidth=0).pack()
    return root
