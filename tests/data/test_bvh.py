"""BVH files: joint positions in metres, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.recordings import STANDING, bent_hand, write_bvh

from mixsynth_stream.data.bvh import read_bvh
from mixsynth_stream.errors import SourceError


def test_a_bvh_gives_joint_positions_in_metres(tmp_path: Path) -> None:
    sequence = read_bvh(write_bvh(tmp_path / "walk.bvh", unit_m=0.0254), "inches")
    assert (sequence.name, len(sequence.poses), round(sequence.rate_hz)) == ("walk", 31, 120)
    for name, (_, place) in STANDING.items():
        np.testing.assert_allclose(sequence.at(name)[0], place, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(sequence.at("LeftHand"), bent_hand(), atol=1e-4)


def test_a_byte_order_mark_is_no_part_of_the_hierarchy(tmp_path: Path) -> None:
    plain = write_bvh(tmp_path / "a.bvh")
    marked = tmp_path / "marked.bvh"
    marked.write_text(plain.read_text(), encoding="utf-8-sig")
    np.testing.assert_array_equal(read_bvh(marked).poses, read_bvh(plain).poses)


def test_bvh_rotations_are_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "arm.bvh").write_text(
        "HIERARCHY ROOT base { OFFSET 9 9 9 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation "
        "End Site { OFFSET 0 1 0 } } MOTION Frames: 2 Frame Time: 0.1 0 0 0 90 90 0  1 2 3 0 0 0"
    )
    sequence = read_bvh(tmp_path / "arm.bvh")
    # Z first: y goes to -x; then X about the turned x axis: y goes to z.
    np.testing.assert_allclose(sequence.poses[0], [[0, 0, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(sequence.poses[1], [[1, 2, 3], [1, 3, 3]], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.rsplit("\n", 2)[0][:-40], "ragged"),
        (lambda text: text.replace("MOTION", "MOTIO"), "no MOTION"),
        (lambda text: text.replace("Zrotation", "Wrotation", 1), "wrotation"),
        (lambda text: text.replace("}", "", 1), "not closed"),
        (lambda text: text.replace("Frames: 31", "Frames: many"), "damaged"),
        (lambda text: text.replace(text.splitlines()[-1], text.splitlines()[-1].replace("0.000000", "nan", 1)), "NaN"),
        (lambda text: text.replace("Frame Time: 0", "Frame Time: -0"), "frame time"),
    ],
)
def test_a_damaged_bvh_is_refused_in_a_sentence(tmp_path: Path, change: object, says: str) -> None:
    path = write_bvh(tmp_path / "a.bvh")
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(SourceError, match=says) as error:
        read_bvh(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("frames", [0, 1])
def test_recordings_without_motion_are_refused(tmp_path: Path, frames: int) -> None:
    with pytest.raises(SourceError, match=f"{frames} frames; motion takes two"):
        read_bvh(write_bvh(tmp_path / "a.bvh", frames=frames))
