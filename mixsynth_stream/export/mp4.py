"""Mp4File: pictures with their own time stamps and the source's sound, as H.264 in a file that plays when cut off."""

from __future__ import annotations

import io
import logging
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace

from mixsynth_stream.console import shown
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export.sound import Sound
from mixsynth_stream.files import make_folder, output_error, output_errors, part_path
from mixsynth_stream.pipeline.frame import UNKNOWN_RATE_HZ
from mixsynth_stream.pipeline.sources.pixels.converter import converted

log = logging.getLogger(__name__)

# Good to the eye, and fast enough for a camera. Without B-frames every frame is decoded when it is shown, so the first
# one needs no shift in time.
_ENCODER_OPTIONS = {
    "crf": "20",
    "preset": "veryfast",
    "bf": "0",
    # x264's macroblock tree in assembler gives other bits by kind of processor; in plain C it costs no time, and 0.6 %
    # of the size.
    "x264-params": "cpu-independent=1",
}
# x264's threads on slices of one picture, which PyAV would ask for, race: of ten encodes one has other bytes, and where
# fewer of them look ahead nearly all. Threads on whole pictures do not, and four give the same bytes on any machine.
_THREADS = 4
_MUXER_OPTIONS = {
    # While it is written the file has fragments of a second, so that a part plays; close() makes an ordinary file.
    "movflags": "hybrid_fragmented+delay_moov",
    "flush_packets": "1",
}
# A keyframe comes after so many seconds by the time stamps, whatever the rate; a second is what players can jump by.
_KEYFRAME_S = Fraction(1)
_ANY_NUMBER = 1 << 30  # of frames between keyframes, for the encoder
# A recording of a broadcast may start at any time of day, and players would show black until then.
_LATEST_START_S = 10.0


class Mp4File:
    """An MP4 video: yuv420p, BT.709, even sizes (an odd picture gets one more row or column).

    It is written as `<name>.part`, which whoever calls finish() renames. When a write fails, the pictures before it can
    be played.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        comment: str = "",
        rate_hz: float | None,
        time_base: Fraction,
        start_at_zero: bool = False,
        sound_of: str | None = None,
    ) -> None:
        """`sound_of` is the file whose sound is copied. With `start_at_zero` the first frame's time becomes 0."""
        self.path = path
        self.width, self.height = width, height
        self._time_base = time_base
        self._start_at_zero = start_at_zero
        self._shift: int | None = None  # ticks taken off every time
        self._last = -1
        self._count = 0
        self._first = self._keyframe = 0  # the times of the first picture and of the newest keyframe
        self._reported = False
        make_folder(path)
        with output_errors(path):
            self._file = _MuxerFile(part_path(path))
        # The time of the first frame is stored in ticks of the movie, by default milliseconds.
        options = _MUXER_OPTIONS | {"movie_timescale": str(time_base.denominator)}
        self._container = av.open(self._file, "w", format="mp4", options=options)
        self._container.metadata["comment"] = comment
        rate = Fraction(rate_hz or UNKNOWN_RATE_HZ).limit_denominator(1001)
        self._video = self._container.add_stream("libx264", rate=rate, options=_ENCODER_OPTIONS)
        self._video.width, self._video.height = width + width % 2, height + height % 2
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = self._video.codec_context.time_base = time_base
        self._video.codec_context.gop_size = _ANY_NUMBER
        self._video.codec_context.thread_type, self._video.codec_context.thread_count = "FRAME", _THREADS
        self._video.codec_context.colorspace = Colorspace.ITU709
        self._video.codec_context.color_range = ColorRange.MPEG
        self._sound = Sound.open(sound_of, self._container) if sound_of else None

    def write(self, rgb: np.ndarray, time_s: float) -> None:  # rgb: [H, W, 3] uint8
        """Append a picture. A time that does not grow becomes one tick after the last."""
        if rgb.shape[0] % 2 or rgb.shape[1] % 2:
            rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        frame = converted(
            av.VideoFrame.from_ndarray(rgb, format="rgb24"),
            width=self._video.width,
            height=self._video.height,
            pixel_format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        ticks = round(Fraction(time_s) / self._time_base)
        if self._shift is None:
            far = not 0 <= time_s <= _LATEST_START_S
            self._shift = ticks if self._start_at_zero or far else 0
        self._last = max(ticks - self._shift, self._last + 1)
        self._first = self._last if self._count == 0 else self._first
        self._count += 1
        frame.pts, frame.time_base = self._last, self._time_base
        if self._count == 1 or (self._last - self._keyframe) * self._time_base >= _KEYFRAME_S:
            self._keyframe, frame.pict_type = self._last, PictureType.I
        self._mux_sound(self._last * self._time_base)
        self._mux(self._video.encode(frame))

    def finish(self) -> None:
        """Complete the file. Safe to call twice."""
        if self._file.closed:
            return
        try:
            if self._last >= 0 and self._file.error is None:
                step = self._average_step()
                self._mux_sound((self._last + step) * self._time_base)
                packets = self._video.encode()
                for packet in packets[-1:]:
                    packet.duration = round(step)  # the others last until the next
                self._mux(packets)
            # This writes the index. After a failed write it writes nothing, and the fragments stay as they are.
            self._container.close()
            self._check()
        except av.error.FFmpegError as error:
            raise self._failure(error) from error
        finally:
            if self._sound is not None:
                self._sound.close()
            with output_errors(self.path):
                self._file.close()
                if not part_path(self.path).stat().st_size:  # the disk had no room for the first fragment
                    part_path(self.path).unlink()

    def _average_step(self) -> Fraction:
        """Ticks from picture to picture."""
        if self._count > 1:
            return Fraction(self._last - self._first, self._count - 1)
        return 1 / (Fraction(self._video.average_rate or UNKNOWN_RATE_HZ) * self._time_base)

    def _mux_sound(self, until_s: Fraction) -> None:
        if self._sound is not None:
            shift_s = (self._shift or 0) * self._time_base
            self._mux(self._sound.packets(until_s, shift_s))

    def _mux(self, packets: list[av.Packet]) -> None:
        try:
            self._container.mux(packets)
        except av.error.FFmpegError as error:
            if self._sound is None or self._file.error is not None:
                raise self._failure(error) from error
            # Pictures are encoded for this muxer, and sound is what it finds. What it refuses must not end the video.
            log.warning("the sound of %s ends early: %s", shown(self._sound.name), error.strerror)
            self._sound.close()
            self._sound = None
        self._check()

    def _check(self) -> None:
        """Raise the first error of the file, once."""
        if self._file.error is not None and not self._reported:
            raise self._failure(self._file.error)

    def _failure(self, error: Exception) -> OutputError:
        self._reported = True
        if self._file.error is not None:
            return output_error(self.path, self._file.error, "the pictures before that are kept")
        return OutputError(f"{self.path} cannot be written: {error}")


class _MuxerFile(io.RawIOBase):
    """A file for the muxer that remembers its first error, and afterwards accepts everything and writes nothing.

    The muxer writes its index at the end and then changes the start of the file to point at it. On a full disk the
    index would fail and the change would not, so that nothing could be played any more.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        rest = memoryview(data)
        size = len(rest)
        while rest and self.error is None:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as error:
                self.error = error
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if self.error is not None and not self._file.closed:
            self._cut_after_last_fragment()
        self._file.close()
        super().close()

    def _cut_after_last_fragment(self) -> None:
        """Players fail on half a fragment. A file is a row of boxes: 4 bytes of size, 4 of name, and the contents."""
        size = self._file.seek(0, os.SEEK_END)
        start = end = 0
        while start + 8 <= size:
            self._file.seek(start)
            box = self._file.read(8)
            start += max(int.from_bytes(box[:4], "big"), 8)
            if box[4:] in (b"mdat", b"moov") and start <= size:
                end = start
        with suppress(OSError):
            self._file.truncate(end)
