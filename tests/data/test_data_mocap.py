"""Motion capture clips: files that fit, files that are refused, and the joints of the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.layouts import objects
from support.walker import person

from mixsynth_stream.data.mocap import DEFAULT_DATA, FILE_JOINTS, core_from_mocap, data_hash, load_clips, stature
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.skeleton import CORE_17, MOCAP_22

CLIP = CHECKOUT / DEFAULT_DATA[0]


def write_clips(path: Path, positions: np.ndarray, **changes: object) -> Path:
    content = {
        "joints": np.array(FILE_JOINTS),
        "fps": 30.0,
        "positions": positions,
        "starts": [0],
        "lengths": [len(positions)],
    } | changes
    np.savez(path, **{key: value for key, value in content.items() if value is not None})  # type: ignore[arg-type]
    return path


def test_clips_are_read_with_their_borders(tmp_path: Path) -> None:
    positions = person(100)
    path = write_clips(tmp_path / "a.npz", positions, starts=[0, 60], lengths=[60, 40], trial=objects(["x", "y"]))
    clips = load_clips(path)
    assert [(c.name, len(c.positions), c.rate_hz) for c in clips] == [("x", 60, 30.0), ("y", 40, 30.0)]
    np.testing.assert_array_equal(clips[1].positions, positions[60:])


@pytest.mark.parametrize(
    ("factor", "unit"), [(1000, "millimetres"), (100, "centimetres"), (1 / 0.0254, "inches"), (1 / 0.3048, "feet")]
)
def test_other_units_are_refused_by_name(tmp_path: Path, factor: float, unit: str) -> None:
    path = write_clips(tmp_path / "a.npz", person(30) * factor)
    with pytest.raises(SourceError, match=unit):
        load_clips(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"starts": None}, "no starts"),
        ({"joints": np.array(FILE_JOINTS[::-1])}, "expected pelvis"),
        ({"lengths": [500]}, "0 to 500 of 30"),
        ({"lengths": [1]}, "clip 0 has 1 frames; motion takes two"),
        ({"lengths": [0]}, "clip 0 has 0 frames; motion takes two"),
        ({"fps": 0.0}, "0 frames a second, expected 1 to 10000$"),
        ({"fps": float("nan")}, "nan frames a second"),
        ({"fps": float("inf")}, "inf frames a second"),
        ({"fps": [30, 60]}, "2 frame rates; all clips of a file share one"),
        ({"fps": "fast"}, "must be numbers"),
        ({"starts": [], "lengths": []}, "no clips"),
        ({"starts": ["a"]}, "must be numbers"),
        ({"lengths": [20.5]}, r"lengths whole numbers \(found fractions\)"),
        ({"lengths": objects([np.zeros(2), np.zeros(3)])}, "must be numbers"),
        ({"trial": ["a", "b"]}, r"1 clips and trial \[2\]"),
    ],
)
def test_files_that_do_not_fit_say_why(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        load_clips(write_clips(tmp_path / "a.npz", person(30), **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fps": 1e-9}, r"a.npz has 1e-09 frames a second, expected 1 to 10000; is this the seconds of a frame\?"),
        ({"fps": 1 / 30}, "has 0.03333 frames a second, .* seconds of a frame"),
        ({"lengths": [1e30]}, r"a.npz: .* lengths whole numbers \(found 1e\+30 in lengths\)"),
        ({"starts": [-1e30]}, r"\(found -1e\+30 in starts\)"),
        ({"starts": [np.nan]}, r"\(found nan in starts\)"),
        ({"lengths": [np.inf]}, r"\(found inf in lengths\)"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_rates_and_borders_of_clips_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with np.load(CLIP) as data:
        content = {key: data[key] for key in ("joints", "fps", "positions")}
    np.savez(tmp_path / "a.npz", **content | {"starts": [0], "lengths": [30]} | changes)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=says):
        load_clips(tmp_path / "a.npz")


def test_nan_and_things_that_are_not_npz_are_refused(tmp_path: Path) -> None:
    broken = person(30)
    broken[3, 4] = np.nan
    with pytest.raises(SourceError, match="clip 0 holds NaN .* in 1 of 30 frames, first in frame 3; cut"):
        load_clips(write_clips(tmp_path / "a.npz", broken))
    (tmp_path / "b.npz").write_text("hello")
    with pytest.raises(SourceError, match=r"b.npz is no npz, or a damaged one; .*make_mocap_npz.py makes them of BVH"):
        load_clips(tmp_path / "b.npz")
    with pytest.raises(SourceError, match="is a folder; motion capture is read from .npz"):
        load_clips(tmp_path)
    with pytest.raises(SourceError, match="no file"):
        load_clips(tmp_path / "missing.npz")


def test_stature_does_not_depend_on_the_pose() -> None:
    standing = person(30)
    lying = standing[..., [0, 2, 1]]
    assert stature(standing) == pytest.approx(1.72, abs=0.05)
    assert stature(lying) == pytest.approx(stature(standing), abs=1e-4)


@pytest.mark.parametrize("turn", [0.0, 1.0, 2.5])
def test_the_nose_lies_before_the_face_whichever_way_it_looks(turn: float) -> None:
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    positions = (person(5) @ rotation.T).astype(np.float32)
    nose = core_from_mocap(positions)[:, CORE_17.index("nose")] - positions[:, FILE_JOINTS.index("head")]
    ahead = rotation @ np.array([0.0, 0.0, 1.0])
    assert (nose @ ahead).min() > 0.05
    assert nose[:, 1].max() < 0
    assert np.abs(nose @ (rotation @ np.array([1.0, 0.0, 0.0]))).max() < 0.01


def test_core_joints_take_hands_and_toes() -> None:
    positions = person(5)
    core = core_from_mocap(positions)
    for ours, theirs in (("left_index", "lhand"), ("right_foot_index", "rtoe"), ("right_knee", "rknee")):
        np.testing.assert_array_equal(core[:, CORE_17.index(ours)], positions[:, FILE_JOINTS.index(theirs)])


def test_data_hash_follows_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    first = data_hash([tmp_path / "a"])
    (tmp_path / "a").write_bytes(b"two")
    assert len(first) == 64
    assert data_hash([tmp_path / "a"]) != first


def test_the_joints_of_the_files_are_those_of_the_skeleton() -> None:
    long = {"l": "left_", "r": "right_"}
    named = tuple(long[n[0]] + n[1:] if f"l{n[1:]}" in FILE_JOINTS and n[0] in "lr" else n for n in FILE_JOINTS)
    assert named == MOCAP_22.joints
