"""ToneMap: HDR pictures (PQ or HLG) as SDR ones, which estimators know and every screen shows.

FFmpeg's `lut3d` looks every colour up in a table that is computed from the formulas of ITU-R BT.2100 and BT.2408. The
other ways are no choice: its `tonemap` needs zscale, which PyAV's FFmpeg lacks, and swscale computes 2 seconds first.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import av
import numpy as np

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.pixels.converter import converted
from mixsynth_stream.pipeline.sources.pixels.filters import PictureFilter

# FFmpeg's numbers (AVCOL_TRC_..., AVCOL_PRI_...).
PQ, HLG = 16, 18
_BT709, _P3 = 1, 12
# White of the SDR picture, and the peak of an HLG screen, in nits.
_WHITE_NITS, _HLG_PEAK_NITS = 203.0, 1000.0
# Light above this share of white is compressed, so that highlights keep their shape.
_KNEE = 0.6
_SDR_GAMMA = 2.4
_GRID = 33  # colours of the table along each axis
_FORMAT = "gbrp16le"  # the one that lut3d is quick with
_BT2020_LUMA = (0.2627, 0.6780, 0.0593)
# Linear light of BT.709 from that of other primaries.
_FROM_BT2020 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
_FROM_P3 = ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979))


class ToneMap:
    """Converts HDR pictures of one transfer curve and one set of primaries to SDR. Threads may share it."""

    def __init__(self, transfer: int, primaries: int) -> None:
        self._table = _cube(transfer, primaries)
        self._filter: PictureFilter | None = None
        self._size: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def __call__(self, picture: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
        """An SDR picture of this width and height, with 16 bits a sample."""
        planes = converted(picture, *size, _FORMAT)
        with self._lock:
            if self._filter is not None and self._size == size:
                return self._filter(planes)
            try:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "sdr.cube"
                    path.write_text(self._table)
                    self._filter, self._size = PictureFilter([("lut3d", {"file": str(path)})]), size
                    return self._filter(planes)  # this reads the file
            except OSError as error:
                raise SourceError(
                    f"an HDR picture needs a temporary file, which cannot be written ({error.strerror}): "
                    "set TMPDIR to a folder with a megabyte to spare"
                ) from error


def is_hdr(picture: av.VideoFrame) -> bool:
    """Whether the codes of a picture mean more light than an SDR screen has."""
    return picture.color_trc in (PQ, HLG)


def light(code: np.ndarray, transfer: int) -> np.ndarray:  # [..., 3] 0..1, BT.2020 -> [..., 3]
    """The light of an HDR picture's codes, in shares of SDR white (ITU-R BT.2100, tables 4 and 5)."""
    if transfer == PQ:
        power = code ** (1 / 78.84375)
        return (
            10_000
            / _WHITE_NITS
            * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        )
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    luma = np.maximum(scene @ _BT2020_LUMA, 1e-9)[..., None]
    return _HLG_PEAK_NITS / _WHITE_NITS * scene * luma**0.2


def _sdr(code: np.ndarray, transfer: int, primaries: int) -> np.ndarray:  # [..., 3] 0..1 -> [..., 3] 0..1, BT.709
    """The SDR codes of HDR codes. What is brighter than the knee approaches white."""
    share = light(code, transfer)
    above = np.maximum(share - _KNEE, 0)
    share = np.minimum(share, _KNEE) + (1 - _KNEE) * above / (above + 1 - _KNEE)
    matrix = {_BT709: np.eye(3), _P3: np.array(_FROM_P3)}.get(primaries, np.array(_FROM_BT2020))
    return np.clip(share @ matrix.T, 0, 1) ** (1 / _SDR_GAMMA)


def _cube(transfer: int, primaries: int) -> str:
    """The table as a .cube file, in which red changes fastest."""
    axis = np.linspace(0, 1, _GRID)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    colors = _sdr(np.stack([red, green, blue], axis=-1), transfer, primaries).reshape(-1, 3)
    rows = "\n".join("{:.6f} {:.6f} {:.6f}".format(*color) for color in colors.tolist())
    return f"LUT_3D_SIZE {_GRID}\n{rows}\n"
