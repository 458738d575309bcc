"""C3D files: markers in metres, and files that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.mocap_files import markers, write_c3d

from mixsynth_stream.data.c3d import read_c3d
from mixsynth_stream.data.recordings import (
    BODY_MARKERS,
)
from mixsynth_stream.errors import SourceError


def test_c3d_markers_come_in_the_unit_that_the_file_states(tmp_path: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    points = np.ones((4, 2, 5))
    points[:3, 0] = np.arange(15).reshape(3, 5) * 100.0
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [50.0]
    file["parameters"]["POINT"]["LABELS"]["value"] = ("LSHO", "RSHO")
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = points
    file.write(str(tmp_path / "a.c3d"))
    sequence = read_c3d(tmp_path / "a.c3d", ["LSHO"])
    assert (sequence.joints, sequence.rate_hz) == (("LSHO",), 50.0)
    np.testing.assert_allclose(sequence.poses[:, 0], points[:3, 0].T / 1000, atol=1e-6)
    with pytest.raises(SourceError, match="no marker CLAV; it has LSHO, RSHO"):
        read_c3d(tmp_path / "a.c3d", ["CLAV"])
    points[:3, 1, 2] = np.nan
    file["data"]["points"] = points
    file.write(str(tmp_path / "gap.c3d"))
    with pytest.raises(SourceError, match="NaN.*1 of 5 frames, first in frame 2"):
        read_c3d(tmp_path / "gap.c3d")
    (tmp_path / "no.c3d").write_text("hello")
    with pytest.raises(SourceError, match="cannot be read as C3D"):
        read_c3d(tmp_path / "no.c3d")


def test_c3d_of_two_people_is_refused(tmp_path: Path) -> None:
    both = markers()
    two = replace(
        both,
        poses=np.repeat(both.poses, 2, axis=1),
        joints=tuple(f"{who}:{name}" for name in both.joints for who in ("anna", "ben")),
    )
    with pytest.raises(SourceError, match=r"several markers LASI \(anna:LASI, ben:LASI\); give files of one person"):
        read_c3d(write_c3d(tmp_path / "two.c3d", two), BODY_MARKERS)
    read_c3d(tmp_path / "two.c3d", [name for name in two.joints if name.startswith("ben")])
