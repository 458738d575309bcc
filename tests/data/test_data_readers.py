"""Readers of motion capture: BVH, ASF/AMC, C3D, markers; what they say of files that do not fit."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.recordings import STANDING, bent_hand, write_asf_amc, write_bvh

from mixsynth_stream.data.asf_amc import read_asf_amc
from mixsynth_stream.data.bvh import read_bvh
from mixsynth_stream.data.c3d import read_c3d
from mixsynth_stream.data.mocap import FILE_JOINTS, load_clips, stature
from mixsynth_stream.data.mocap_sources import (
    BODY_MARKERS,
    PLUG_IN_GAIT_39,
    clip_of,
    mocap_from_asf,
    mocap_from_bvh,
    mocap_from_markers,
    read_ui_prmd,
    save_clips,
)
from mixsynth_stream.data.sequences import PoseSequence, check_height, check_up
from mixsynth_stream.errors import OutputError, SourceError
from mixsynth_stream.files import CHECKOUT

Converter = Callable[..., tuple[int, str]]


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


def test_asf_and_amc_give_the_ends_of_the_bones(tmp_path: Path) -> None:
    sequence = read_asf_amc(*write_asf_amc(tmp_path))
    assert (sequence.subject, sequence.rate_hz) == ("07", 120.0)
    np.testing.assert_allclose(sequence.at("ltibia")[0], STANDING["LeftFoot"][1], atol=1e-5)
    np.testing.assert_allclose(sequence.at("lradius"), bent_hand(), atol=1e-5)


def test_both_formats_give_the_same_22_joints(tmp_path: Path) -> None:
    asf = mocap_from_asf(read_asf_amc(*write_asf_amc(tmp_path)))
    bvh = mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh", unit_m=0.0254 / 0.45), "cmu"))
    assert asf.joints == bvh.joints == FILE_JOINTS
    np.testing.assert_allclose(asf.poses, bvh.poses, atol=1e-4)
    assert stature(asf.poses) == pytest.approx(1.7, abs=0.05)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda asf, amc: (asf, amc.replace("lradius -4.0", "lradius -4.0 1", 1)), "does not fit"),
        (lambda asf, amc: (asf, amc.replace("lradius -4.0\n", "", 1)), "no line for lradius"),
        (lambda asf, amc: (asf.replace(":hierarchy", ":hier"), amc), "no :hierarchy"),
        (lambda asf, amc: (asf.replace("length 0.45", "length long"), amc), "damaged"),
        (lambda asf, amc: (asf, "tail 1 2 3\n"), "does not fit"),
        (lambda asf, amc: (asf, ":DEGREES\n"), "no frames"),
        (lambda asf, amc: (asf, amc.replace(":DEGREES", ":RADIANS")), "holds radians"),
    ],
)
def test_damaged_asf_and_amc_are_refused_in_a_sentence(tmp_path: Path, change: object, says: str) -> None:
    skeleton, motion = write_asf_amc(tmp_path)
    texts = change(skeleton.read_text(), motion.read_text())  # type: ignore[operator]
    for path, text in zip((skeleton, motion), texts, strict=True):
        path.write_text(text)
    with pytest.raises(SourceError, match=says):
        read_asf_amc(skeleton, motion)


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


def markers(turn: np.ndarray | None = None) -> PoseSequence:
    """Plug-in Gait markers of somebody who stands, y up and facing z."""
    one = {
        "HD": (0.07, 1.62, 0.08), "C7": (0, 1.46, -0.06), "T10": (0, 1.2, -0.1), "CLAV": (0, 1.4, 0.08),
        "STRN": (0, 1.22, 0.12), "SHO": (0.18, 1.42, 0), "ELB": (0.2, 1.12, 0), "WRA": (0.2, 0.88, 0.05),
        "WRB": (0.22, 0.88, 0), "FIN": (0.2, 0.8, 0.05), "ASI": (0.12, 0.98, 0.1), "PSI": (0.05, 1.0, -0.1),
        "KNE": (0.12, 0.5, 0.01), "ANK": (0.12, 0.08, -0.02), "TOE": (0.12, 0.04, 0.14),
    }  # fmt: skip
    places = []
    for name in PLUG_IN_GAIT_39:
        part = name[1:] if name[0] in "LR" else name
        x, y, z = one.get(part, one["HD"] if part.endswith("HD") else (0.1, 1.0, 0.0))
        places.append((x * (-1 if name[0] == "R" else 1), y, -z if part == "BHD" else z))
    poses = np.repeat(np.array(places)[None], 40, axis=0) @ (np.eye(3) if turn is None else turn).T
    return PoseSequence(name="stand", poses=poses, joints=PLUG_IN_GAIT_39, rate_hz=100.0, subject="ui01")


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


def write_c3d(path: Path, sequence: PoseSequence, prefix: str = "") -> Path:
    """Millimetres, z up, as laboratories write them; NaN: the marker was not seen."""
    ezc3d = pytest.importorskip("ezc3d")
    places = 1000 * sequence.poses[..., [2, 0, 1]].transpose(2, 1, 0)
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [sequence.rate_hz]
    file["parameters"]["POINT"]["LABELS"]["value"] = tuple(prefix + name for name in sequence.joints)
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = np.concatenate([places, np.ones((1, *places.shape[1:]))])
    file.write(str(path))
    return path


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Converter:
    """The converter: its exit code, and what it said."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "scripts"))
    import make_mocap_npz

    def run(folder: Path, out: Path, *words: str) -> tuple[int, str]:
        try:
            code = make_mocap_npz.main(["--c3d", str(folder), "--out", str(out), *words])
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_c3d_recordings_of_markers_become_the_training_npz(tmp_path: Path, converted: Converter) -> None:
    moving = markers()
    moving.poses[..., 2] += 0.01 * np.arange(40)[:, None]
    folder, out = tmp_path / "c3d", tmp_path / "out.npz"
    folder.mkdir()
    # Ten frames at 100 Hz without a marker of the wrist are joined, and one that nothing is made of may be missing.
    short = replace(moving, poses=moving.poses.copy())
    short.poses[5:15, PLUG_IN_GAIT_39.index("LWRA")] = np.nan
    short.poses[:, PLUG_IN_GAIT_39.index("RBAK")] = np.nan
    write_c3d(folder / "anna_01.c3d", short, "anna:")
    waist = {"LASI": "LFWT", "RASI": "RFWT", "LPSI": "LBWT", "RPSI": "RBWT"}
    write_c3d(folder / "07_02.C3D", replace(moving, joints=tuple(waist.get(name, name) for name in PLUG_IN_GAIT_39)))
    long = replace(moving, poses=moving.poses.copy())
    long.poses[5:16, PLUG_IN_GAIT_39.index("LWRA")] = np.nan
    write_c3d(folder / "ben_01.c3d", long)
    write_c3d(
        folder / "ben_02.c3d", replace(moving, joints=tuple(name.replace("LKNE", "KNEE") for name in moving.joints))
    )
    code, said = converted(folder, out)
    assert code == 0, said
    assert "2 clips of 2 people" in said
    assert "ben_01.c3d (marker LWRA): ben_01 holds NaN or infinite positions in 11 of 40 frames, first" in said
    assert "ben_02.c3d has no marker LKNE; it has LFHD" in said
    clips = load_clips(out)
    assert {(clip.subject, clip.source) for clip in clips} == {("anna", "c3d"), ("07", "c3d")}
    wanted = clip_of(mocap_from_markers(moving), "c3d").positions
    for clip in clips:
        np.testing.assert_allclose(clip.positions, wanted, atol=1e-4)


def test_what_the_converter_says_to_a_new_user(tmp_path: Path, converted: Converter) -> None:
    folder, out = tmp_path / "c3d", tmp_path / "out.npz"
    assert converted(folder, out) == (3, f"error: there is no folder {folder}\n")
    folder.mkdir()
    assert converted(folder, out) == (3, f"error: {folder} and the folders in it hold no *.c3d\n")
    write_c3d(folder / "anna_01.c3d", markers())
    code, said = converted(folder, out, "--up", "y", "--strict")
    assert code == 3
    assert "people stand along z, expected up to be y" in said
    assert converted(folder, out, "--subjects", "ben") == (3, "error: nobody is called ben; the files are of anna\n")
    code, said = converted(folder, tmp_path / "none" / "out.npz")
    assert code == 2
    assert f"there is no folder {tmp_path / 'none'}" in said
    assert "must end in .npz" in converted(folder, tmp_path / "out")[1]
    assert list(tmp_path.iterdir()) == [folder]


def test_c3d_of_two_people_is_refused(tmp_path: Path) -> None:
    both = markers()
    two = replace(both, poses=np.repeat(both.poses, 2, axis=1), joints=tuple(
        f"{who}:{name}" for name in both.joints for who in ("anna", "ben")))  # fmt: skip
    with pytest.raises(SourceError, match=r"several markers LASI \(anna:LASI, ben:LASI\); give files of one person"):
        read_c3d(write_c3d(tmp_path / "two.c3d", two), BODY_MARKERS)
    read_c3d(tmp_path / "two.c3d", [name for name in two.joints if name.startswith("ben")])


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


@pytest.mark.parametrize(("axes", "found"), [((0, 2, 1), "z"), ((1, 0, 2), "x")])
def test_swapped_axes_are_named(tmp_path: Path, axes: tuple[int, ...], found: str) -> None:
    standing = mocap_from_bvh(read_bvh(write_bvh(tmp_path / "a.bvh")))
    with pytest.raises(SourceError, match=f"stand along {found}, expected up to be y"):
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


def test_the_converter_makes_a_file_that_training_reads(tmp_path: Path) -> None:
    folder = tmp_path / "subjects" / "07"
    folder.mkdir(parents=True)
    write_asf_amc(folder)
    (folder / "07_02.amc").write_text("nonsense 1\n")
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "scripts/make_mocap_npz.py"), "--asf-amc", str(tmp_path / "subjects"), "--out",
         str(tmp_path / "out.npz"), "--licence", "free"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 clips of 1 people" in done.stdout
    assert "07_02.amc" in done.stderr
    strict = subprocess.run([*done.args, "--strict"], capture_output=True, text=True, check=False)
    assert (strict.returncode, strict.stderr.count("\n")) == (3, 1)
    assert "07_02.amc" in strict.stderr
    (clip,) = load_clips(tmp_path / "out.npz")
    assert (clip.rate_hz, clip.subject, clip.source, len(clip.positions)) == (30.0, "07", "asf", 8)
    np.testing.assert_allclose(clip.positions[:, FILE_JOINTS.index("lwrist")], bent_hand()[::4], atol=1e-4)
