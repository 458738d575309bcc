"""Human3.6M exponential maps: the skeleton, the protocol, and files that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.layouts import write_expmaps

from mixsynth_stream.data import h36m
from mixsynth_stream.errors import SourceError


def test_a_resting_skeleton_has_the_published_bones() -> None:
    joints = h36m.joints_from_expmap(np.zeros((1, 99)))[0]
    place = dict(zip(h36m.JOINTS_32, joints, strict=True))
    assert place["right_ankle"][1] == pytest.approx(-442.894612 - 454.206447)
    assert place["head_top"][1] == pytest.approx(0.1 + 233.383263 + 257.077681 + 121.134938 + 115.002227)
    assert place["left_hip"][0] == pytest.approx(132.948826)


def test_a_knee_that_bends_moves_what_hangs_on_it_only() -> None:
    numbers = np.zeros((1, 99))
    numbers[0, 3 + 3 * 2] = np.pi / 2  # the right knee, about x
    bent, straight = h36m.joints_from_expmap(numbers)[0], h36m.joints_from_expmap(np.zeros((1, 99)))[0]
    moved = np.abs(bent - straight).max(axis=-1) > 1
    assert [h36m.JOINTS_32[j] for j in np.flatnonzero(moved)] == ["right_ankle", "right_foot", "right_toe"]
    # Row vectors: a shank along -y comes to lie along z.
    np.testing.assert_allclose(bent[3] - bent[2], [0, 0, 454.206447], atol=1e-6)


def test_the_root_is_left_out_and_the_rest_can_be_put_back(tmp_path: Path) -> None:
    sequence = h36m.read_expmap(write_expmaps(tmp_path) / "h3.6m/dataset/S5/walking_1.txt")
    assert (sequence.name, sequence.rate_hz, sequence.poses.shape) == ("S5/walking_1", 50.0, (120, 32, 3))
    np.testing.assert_allclose(np.ptp(sequence.poses[:, h36m.STILL], axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(h36m.all_joints(sequence.poses[:, h36m.MOVING]), sequence.poses, atol=1e-6)
    assert len(h36m.MOVING) == 22


def test_the_protocol_takes_every_second_frame_of_its_subjects(tmp_path: Path) -> None:
    folder = write_expmaps(tmp_path)
    train, test = h36m.load_split(folder, "train"), h36m.load_split(folder / "h3.6m", "test")
    assert {s.subject for s in train} == {"S1", "S6", "S7", "S8", "S9"}
    assert {(s.subject, s.rate_hz, len(s.poses)) for s in test} == {("S5", 25.0, 60)}
    whole = h36m.read_expmap(folder / f"h3.6m/dataset/{test[0].name}.txt")
    np.testing.assert_allclose(test[0].poses, whole.poses[::2, h36m.MOVING] / 1000)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text.replace(",", "", 1), "line 1 has 98 numbers, expected 99"),
        (lambda text: "", "0 frames"),
        (lambda text: text.splitlines()[0], "1 frames"),
        (lambda text: text.replace("0.", "nan;", 1).replace("nan;", "x", 1), "no number"),
        (lambda text: "\n".join(",".join(["90"] * 99) for _ in range(9)), "degrees"),
        (lambda text: text + ",".join(["inf"] * 99), "infinite positions in 1 of 121 frames, first in frame 120"),
    ],
)
def test_damaged_expmap_files_are_refused(tmp_path: Path, edit: Callable[[str], str], says: str) -> None:
    path = write_expmaps(tmp_path) / "h3.6m/dataset/S5/walking_1.txt"
    path.write_text(edit(path.read_text()))
    with pytest.raises(SourceError, match=says):
        h36m.read_expmap(path)


def test_a_missing_subject_is_named(tmp_path: Path) -> None:
    folder = write_expmaps(tmp_path)
    for path in (folder / "h3.6m/dataset/S7").iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="S7 holds no .txt files"):
        h36m.load_split(folder, "train")
    with pytest.raises(SourceError, match="holds no h3.6m/dataset"):
        h36m.load_split(tmp_path / "elsewhere", "train")
