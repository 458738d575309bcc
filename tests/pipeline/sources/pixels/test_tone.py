"""HDR videos look as their SDR versions do, to the estimator and in everything drawn."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from support import clips, hdr

from mixsynth_stream.errors import SourceError
from mixsynth_stream.pipeline.sources.pixels.tone import light
from mixsynth_stream.pipeline.sources.video import VideoReader

# Patches of 16x16: greys, skin, the strongest colours of a screen at three quarters of their light.
GREYS = ([0, 0, 0], [20, 20, 20], [64, 64, 64], [128, 128, 128], [200, 200, 200], [255, 255, 255])
COLOURS = ([224, 172, 105], [141, 85, 36], [190, 40, 40], [40, 180, 40], [40, 40, 190], [190, 190, 30])
PATCHES = np.array([*GREYS, *COLOURS])


def shown(path: Path) -> np.ndarray:  # -> [12, 3]
    """The colours in the middle of the patches of the first frame."""
    with VideoReader(path) as reader:
        return next(reader).rgb[8::16, 8::16].reshape(-1, 3).astype(int)


def patches() -> np.ndarray:  # -> [32, 96, 3]
    return np.kron(PATCHES.reshape(2, 6, 3), np.ones((16, 16, 1)))


@pytest.mark.parametrize(("transfer", "primaries"), [(hdr.PQ, hdr.BT2020), (hdr.PQ, hdr.P3), (hdr.HLG, hdr.BT2020)])
def test_hdr_has_the_colours_of_sdr(tmp_path: Path, transfer: int, primaries: int) -> None:
    colours = shown(hdr.hdr_clip(tmp_path / "clip.mkv", [patches()], transfer, primaries=primaries))
    below_knee = (PATCHES <= 200).all(axis=1)
    errors = np.abs(colours - PATCHES)[below_knee]
    # The table is linear between its colours, which shows most in the dark channel of a strong colour.
    assert errors.mean() < 2 and errors.max() <= 10, errors
    assert np.abs(colours - PATCHES)[[0, 1, 2, 3, 4]].max() <= 2, "greys"
    # SDR white leaves room for brighter highlights. Untreated PQ shows it at 148, and a grey of 128 at 89.
    assert 225 <= colours[5].min() <= colours[5].max() <= 240


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_highlights_keep_their_order_and_stay_in_range(tmp_path: Path, transfer: int) -> None:
    levels = np.repeat([60, 120, 180, 220, 255], 16)[None].repeat(16, axis=0)[..., None].repeat(3, axis=-1)
    with VideoReader(hdr.hdr_clip(tmp_path / "clip.mkv", [levels], transfer, white_nits=1000)) as reader:
        row = next(reader).rgb[8, 8::16]
    assert (np.diff(row[:, 0].astype(int)) > 0).all(), row[:, 0]
    assert np.ptp(row.astype(int), axis=1).max() <= 1, "grey stays grey"


def test_light_is_that_of_the_standards() -> None:
    """BT.2408: white of SDR graphics is 58 % of PQ and 75 % of HLG. BT.2100: PQ of 1 is 10 000 nits."""
    codes = np.array([[0.5807] * 3, [1.0] * 3, [0.0] * 3])
    np.testing.assert_allclose(light(codes, hdr.PQ)[:, 0], [1.0, 10_000 / 203, 0.0], rtol=2e-3, atol=1e-6)
    codes = np.array([[0.75] * 3, [1.0] * 3, [0.0] * 3])
    np.testing.assert_allclose(light(codes, hdr.HLG)[:, 0], [1.0, 1000 / 203, 0.0], rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le", "yuv444p"])
def test_sdr_is_left_as_it_is(tmp_path: Path, pix_fmt: str) -> None:
    with VideoReader(clips.make(tmp_path / "clip.mkv", frames=2, pix_fmt=pix_fmt)) as reader:
        np.testing.assert_allclose(np.array(clips.corners(next(reader).rgb), int), clips.CORNERS, atol=6)


def test_without_room_for_a_temporary_file_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hdr.hdr_clip(tmp_path / "clip.mkv", [patches()], hdr.PQ)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with VideoReader(path) as reader, pytest.raises(SourceError, match="TMPDIR"):
        _ = next(reader).rgb
