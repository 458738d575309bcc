"""scripts/make_mocap_npz.py: recordings in, the training npz out, and what it tells a new user."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.mocap_files import bent_hand, markers, write_asf_amc, write_c3d

from mixsynth_stream.data.mocap import FILE_JOINTS, load_clips
from mixsynth_stream.data.recordings import (
    PLUG_IN_GAIT_39,
    clip_of,
    mocap_from_markers,
)
from mixsynth_stream.files import CHECKOUT

Converter = Callable[..., tuple[int, str]]


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Converter:
    """The converter, which returns its exit code and its output."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "scripts"))
    import make_mocap_npz

    def run(folder: Path, out: Path, *words: str) -> tuple[int, str]:
        try:
            code = make_mocap_npz.main(["--c3d", str(folder), "--out", str(out), *words])
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out + output.err

    return run


def test_c3d_recordings_of_markers_become_the_training_npz(tmp_path: Path, convert: Converter) -> None:
    moving = markers()
    moving.poses[..., 2] += 0.01 * np.arange(40)[:, None]
    folder, out = tmp_path / "c3d", tmp_path / "out.npz"
    folder.mkdir()
    # Ten frames at 100 Hz without a marker of the wrist are joined. A marker that makes up no joint may be missing.
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
    code, output = convert(folder, out)
    assert code == 0, output
    assert "2 clips of 2 people" in output
    assert "ben_01.c3d (marker LWRA): ben_01 holds NaN or infinite positions in 11 of 40 frames, first" in output
    assert "ben_02.c3d has no marker LKNE; it has LFHD" in output
    clips = load_clips(out)
    assert {(clip.subject, clip.source) for clip in clips} == {("anna", "c3d"), ("07", "c3d")}
    expected = clip_of(mocap_from_markers(moving), "c3d").positions
    for clip in clips:
        np.testing.assert_allclose(clip.positions, expected, atol=1e-4)


def test_what_the_converter_says_to_a_new_user(tmp_path: Path, convert: Converter) -> None:
    folder, out = tmp_path / "c3d", tmp_path / "out.npz"
    assert convert(folder, out) == (3, f"error: there is no folder {folder}\n")
    folder.mkdir()
    assert convert(folder, out) == (3, f"error: {folder} and the folders in it hold no *.c3d\n")
    write_c3d(folder / "anna_01.c3d", markers())
    code, output = convert(folder, out, "--up", "y", "--strict")
    assert code == 3
    assert "people stand along z, expected up to be y" in output
    assert convert(folder, out, "--subjects", "ben") == (3, "error: nobody is called ben; the files are of anna\n")
    code, output = convert(folder, tmp_path / "none" / "out.npz")
    assert code == 2
    assert f"there is no folder {tmp_path / 'none'}" in output
    assert "must end in .npz" in convert(folder, tmp_path / "out")[1]
    assert list(tmp_path.iterdir()) == [folder]


def test_the_converter_makes_a_file_that_training_reads(tmp_path: Path) -> None:
    folder = tmp_path / "subjects" / "07"
    folder.mkdir(parents=True)
    write_asf_amc(folder)
    (folder / "07_02.amc").write_text("nonsense 1\n")
    command = [sys.executable, str(CHECKOUT / "scripts/make_mocap_npz.py"), "--asf-amc", str(tmp_path / "subjects")]
    command += ["--out", str(tmp_path / "out.npz"), "--licence", "free"]
    lenient = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1 clips of 1 people" in lenient.stdout
    assert "07_02.amc" in lenient.stderr
    strict = subprocess.run([*command, "--strict"], capture_output=True, text=True, check=False)
    assert (strict.returncode, strict.stderr.count("\n")) == (3, 1)
    assert "07_02.amc" in strict.stderr
    (clip,) = load_clips(tmp_path / "out.npz")
    assert (clip.rate_hz, clip.subject, clip.source, len(clip.positions)) == (30.0, "07", "asf", 8)
    np.testing.assert_allclose(clip.positions[:, FILE_JOINTS.index("lwrist")], bent_hand()[::4], atol=1e-4)
