"""Recordings of others as our 22 joints, and the checks of their units, axes and sides."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.mocap_files import markers, write_asf_amc, write_bvh

from mixsynth_stream.data.asf_amc import read_asf_amc
from mixsynth_stream.data.bvh import read_bvh
from mixsynth_stream.data.mocap import FILE_JOINTS, load_clips, stature
from mixsynth_stream.data.recordings import (
    clip_of,
    mocap_from_asf,
    mocap_from_bvh,
    mocap_from_markers,
    read_ui_prmd,
    save_clips,
)
from mixsynth_stream.data.sequences import check_height, check_up
from mixsynth_stream.errors import OutputError, SourceError


def test_both_formats_give_the_same_22_joints(tmp_path: Path) -> None:
    asf = mocap_from_asf(read_asf_amc(*write_asf_amc(tmp_path)))
    bvh = mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh", unit_m=0.0254 / 0.45), "cmu"))
    assert asf.joints == bvh.joints == FILE_JOINTS
    np.testing.assert_allclose(asf.poses, bvh.poses, atol=1e-4)
    assert stature(asf.poses) == pytest.approx(1.7, abs=0.05)


def test_joints_lie_between_the_markers_around_them() -> None:
    joints = mocap_from_markers(markers())
    place = dict(zip(FILE_JOINTS, joints.poses[0], strict=True))
    np.testing.assert_allclose(place["lwrist"], [0.21, 0.88, 0.025], atol=1e-6)
    # Inside the pelvis: below and behind the front markers, the left one on the left.
    assert 0.06 < place["lhip"][0] < 0.11
    assert 0.85 < place["lhip"][1] < 0.95
    assert place["lhip"][2] < 0.09
    np.testing.assert_allclose(place["lhip"] * [-1, 1, 1], place["rhip"], atol=1e-6)
    assert place["headtip"][1] > place["head"][1] > place["neck"][1] > place["chest"][1] > place["pelvis"][1]


def test_ui_prmd_files_are_turned_upright(tmp_path: Path) -> None:
    upright = markers()
    text = "\n".join(",".join(f"{x:.3f}" for x in row) for row in 1000 * upright.poses[..., [2, 0, 1]].reshape(40, -1))
    path = tmp_path / "m01_s07_e03_positions.txt"
    path.write_text(text)
    sequence = read_ui_prmd(path)
    assert sequence.subject == "ui07"
    np.testing.assert_allclose(sequence.poses, upright.poses, atol=1e-5)
    path.write_text(text.replace(",", ",1,", 1))
    with pytest.raises(SourceError, match="line 1 has 118 numbers, expected 117"):
        read_ui_prmd(path)


def test_a_full_disk_leaves_no_half_of_a_training_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = clip_of(mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh"))), "test")
    save_clips(tmp_path / "a.npz", [clip], "CC0")
    before = (tmp_path / "a.npz").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OutputError, match=r"a.npz cannot be written: the disk is full"):
        save_clips(tmp_path / "a.npz", [clip], "CC0")
    assert (tmp_path / "a.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bvh", "a.npz"]


def test_wrong_units_are_named(tmp_path: Path) -> None:
    path = write_bvh(tmp_path / "a.bvh", unit_m=0.0254)
    with pytest.raises(SourceError, match=r"64.* m tall.*looks like inches: multiply by 0.0254"):
        clip_of(mocap_from_bvh(read_bvh(path)), "test")
    for height, unit in ((1700.0, "millimetres"), (170.0, "centimetres"), (5.6, "feet"), (30.0, "cmu")):
        with pytest.raises(SourceError, match=unit):
            check_height("somebody", height)
    check_height("somebody", 1.5)


@pytest.mark.parametrize(("axes", "name"), [((0, 2, 1), "z"), ((1, 0, 2), "x")])
def test_swapped_axes_are_named(tmp_path: Path, axes: tuple[int, ...], name: str) -> None:
    standing = mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh")))
    with pytest.raises(SourceError, match=f"stand along {name}, expected up to be y"):
        clip_of(replace(standing, poses=standing.poses[..., axes]), "test")
    lying = np.tile([[0.0, 0.0, 1.5], [0.0, 1.5, 0.0]], (10, 1))
    check_up("people who lie half of the time", lying)
    with pytest.raises(SourceError, match="along -y"):
        check_up("people", -np.tile([0.0, 1.5, 0.2], (5, 1)))


@pytest.mark.parametrize("axes", [(2, 1, 0), (0, 1, -2)], ids=["x and z swapped", "z mirrored"])
def test_people_whose_left_is_on_their_right_are_refused(tmp_path: Path, axes: tuple[int, ...]) -> None:
    standing = mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh")))
    mistaken = replace(standing, poses=standing.poses[..., np.abs(axes)] * np.where(np.array(axes) < 0, -1, 1))
    with pytest.raises(SourceError, match="left and right exchanged in 100 % of the frames; x and z are swapped, an"):
        clip_of(mistaken, "test")
    clip = clip_of(standing, "test")
    save_clips(tmp_path / "a.npz", [replace(clip, positions=clip.positions * [-1, 1, 1])], "CC0")
    with pytest.raises(SourceError, match="left and right exchanged"):
        load_clips(tmp_path / "a.npz")
    # Turned around they are as they were.
    clip_of(replace(standing, poses=standing.poses * np.array([-1, 1, -1], np.float32)), "test")


def test_a_file_of_clips_with_swapped_axes_is_refused(tmp_path: Path) -> None:
    clip = clip_of(mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh"))), "test")
    save_clips(tmp_path / "a.npz", [replace(clip, positions=clip.positions[..., [0, 2, 1]])], "CC0")
    with pytest.raises(SourceError, match="stand along z"):
        load_clips(tmp_path / "a.npz")


def test_a_skeleton_without_a_joint_is_refused(tmp_path: Path) -> None:
    sequence = read_bvh(write_bvh(tmp_path / "a.bvh"))
    renamed = tuple("thing" if name == "LeftLeg" else name for name in sequence.joints)
    with pytest.raises(SourceError, match="no LeftLeg.* for the joint lknee"):
        mocap_from_bvh(replace(sequence, joints=renamed))


def test_recordings_at_other_rates_become_the_same_clip_and_a_file_has_one_rate(tmp_path: Path) -> None:
    recordings = [mocap_from_bvh(read_bvh(write_bvh(tmp_path / f"{rate}.bvh", rate_hz=rate))) for rate in (60, 120)]
    slow, fast = (clip_of(recording, "test") for recording in recordings)
    assert (slow.rate_hz, fast.rate_hz) == (30.0, 30.0)
    with pytest.raises(SourceError, match=r"mix 2 frame rates \(\[30.0, 60.0\]\)"):
        save_clips(tmp_path / "a.npz", [slow, clip_of(recordings[1], "test", rate_hz=60.0)], "CC0")
