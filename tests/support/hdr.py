"""HDR clips of known colours, made from SDR ones by the inverse formulas of ITU-R BT.2100."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

PQ, HLG = 16, 18
BT2020, P3 = 9, 12
_LUMA = np.array([0.2627, 0.6780, 0.0593])
# Linear light of BT.709 in other primaries (ITU-R BT.2087; SMPTE EG 432-1).
_FROM_BT709 = {
    BT2020: np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]),
    P3: np.array([[0.8225, 0.1775, 0.0], [0.0332, 0.9668, 0.0], [0.0171, 0.0724, 0.9105]]),
}


def pq_code(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg_code(nits: np.ndarray) -> np.ndarray:  # [..., 3]
    """The code of light on a screen of 1000 nits, whose system gamma is 1.2."""
    luma = np.maximum(nits @ _LUMA / 1000, 1e-9)[..., None]
    scene = nits / 1000 * luma ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def hdr_clip(
    path: Path,
    pictures: Sequence[np.ndarray],  # [H, W, 3] 0..255, SDR of BT.709 for a screen of gamma 2.4
    transfer: int,
    *,
    primaries: int = BT2020,
    white_nits: float = 203.0,
) -> Path:
    """A lossless clip, 10 bits, 4:4:4, in which white is `white_nits`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv444p10le"
        codec = stream.codec_context
        codec.color_trc, codec.color_primaries, codec.colorspace, codec.color_range = transfer, primaries, 9, 1
        for index, picture in enumerate(pictures):
            nits = (np.asarray(picture) / 255) ** 2.4 @ _FROM_BT709[primaries].T * white_nits
            frame = _frame(pq_code(nits) if transfer == PQ else hlg_code(nits))
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _frame(code: np.ndarray) -> av.VideoFrame:  # [H, W, 3] 0..1
    luma = code @ _LUMA
    blue, red = (code[..., 2] - luma) / 1.8814, (code[..., 0] - luma) / 1.4746
    height, width = luma.shape
    frame = av.VideoFrame(width, height, "yuv444p10le")
    for plane, values in zip(frame.planes, (219 * luma + 16, 224 * blue + 128, 224 * red + 128), strict=True):
        rows = np.zeros((height, plane.line_size // 2), np.uint16)
        rows[:, :width] = np.round(values * 4)
        plane.update(rows.tobytes())
    return frame
