"""Mending: joints where BlazePose has them, by source, and the script that mends files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.walker import clip, person

from mixsynth_stream.data.mending import RATIOS, RIGS, Rig, mended, mended_core, ratios
from mixsynth_stream.data.mocap import FILE_JOINTS, Clip, load_clips
from mixsynth_stream.data.recordings import save_clips
from mixsynth_stream.errors import SourceError
from mixsynth_stream.files import CHECKOUT
from mixsynth_stream.skeleton import CORE_17

MOCAP = CHECKOUT / "benchmarks" / "mocap"
RECORDED = CHECKOUT / "tests" / "support" / "data" / "recorded_mocap.npz"
Mender = Callable[..., tuple[int, str]]


@pytest.fixture
def mend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mender:
    """The script, which returns its exit code and its output."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "scripts"))
    import mend_mocap

    def run(*words: object) -> tuple[int, str]:
        try:
            code = mend_mocap.main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out + output.err

    return run


def of_source(source: str, name: str = "walk", frames: int = 60) -> Clip:
    return replace(clip(person(frames), name), source=source)


# How far the people of a file may be from the average of all, and how they hold their heads.
NEAR = {"rel": 0.12, "abs": 0.03}


def test_files_of_every_source_get_the_proportions_of_people() -> None:
    clips, left_out = mended(load_clips(RECORDED))
    assert left_out == []
    for source in sorted({c.source for c in clips} - {"uiprmd"}):
        values = ratios(np.concatenate([c.positions for c in clips if c.source == source]))
        assert values == pytest.approx(RATIOS, **NEAR), source


def test_the_nose_lies_before_the_head_whichever_way_it_looks() -> None:
    rig = Rig(-0.1, 0.12)
    for turn in (0.0, 1.0, 2.5):
        rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        positions = (person(5) @ rotation.T).astype(np.float32)
        nose = mended_core(positions, rig, 30.0)[:, CORE_17.index("nose")] - positions[:, FILE_JOINTS.index("headtip")]
        size = 1.72 / 1.7
        np.testing.assert_allclose(nose @ rotation, [[0, -0.1 * size, 0.12 * size]] * 5, atol=0.003)


@pytest.mark.parametrize(("turns_hz", "share"), [(0.05, 1.0), (1.5, 0.4)])
def test_a_face_follows_slow_turns_of_the_shoulders_and_a_part_of_quick_ones(turns_hz: float, share: float) -> None:
    time, shoulders = np.arange(900) / 30, [FILE_JOINTS.index(name) for name in ("lshoulder", "rshoulder")]
    positions, angle = np.repeat(person(1), 900, axis=0), 0.2 * np.sin(2 * np.pi * turns_hz * time)
    positions[:, shoulders, 2] += np.array([[-0.18, 0.18]]) * np.sin(angle)[:, None]
    positions[:, shoulders, 0] = np.array([[0.18, -0.18]]) * np.cos(angle)[:, None]
    core = mended_core(positions, Rig(0.0, 0.1), 30.0)
    face = core[:, CORE_17.index("nose")] - positions[:, FILE_JOINTS.index("headtip")]
    turned = np.arctan2(face[:, 0], face[:, 2])[90:-90]
    assert turned.std() / angle[90:-90].std() == pytest.approx(share, abs=0.04)


def test_the_wrist_of_cmu_moves_to_where_the_hand_turns() -> None:
    """The hand goes round a point half as far again from the elbow as the file's wrist: its distance stays the same."""
    positions = np.repeat(person(1), 30, axis=0)
    column = {name: FILE_JOINTS.index(name) for name in ("lelbow", "lwrist", "lhand")}
    elbow, wrist = positions[0, column["lelbow"]], positions[0, column["lwrist"]]
    pivot, angle = elbow + 1.5 * (wrist - elbow), np.linspace(0, 1, 30)
    positions[:, column["lhand"]] = pivot + 0.04 * np.stack([np.sin(angle), -np.cos(angle), 0 * angle], axis=-1)
    core = mended_core(positions, RIGS["asf"], 30.0)
    wrists, indices = (core[:, CORE_17.index(f"left_{part}")] for part in ("wrist", "index"))
    np.testing.assert_allclose(np.ptp(wrists, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(indices - wrists, axis=-1), 0.08, atol=1e-4)


def test_sources_without_a_rig_are_refused_unless_one_is_named() -> None:
    with pytest.raises(SourceError, match=r"walk is of the source 'test', of which .*; name one of asf, "):
        mended([clip(person(30))])
    clips, _ = mended([clip(person(30))], "uiprmd")
    np.testing.assert_array_equal(clips[0].positions, mended([of_source("uiprmd", frames=30)])[0][0].positions)
    with pytest.raises(SourceError, match="walk has 17 joints, so it is mended;"):
        mended(clips, "uiprmd")


def test_a_person_without_a_bone_of_the_spine_is_left_out() -> None:
    short = of_source("expmap8", "short")
    lower = [FILE_JOINTS.index(n) for n in FILE_JOINTS if n.removeprefix("l").removeprefix("r") not in LEGS]
    short.positions[:, lower, 1] -= 0.12
    clips, left_out = mended([of_source("expmap8", "whole"), short])
    assert [c.name for c in clips] == ["whole"]
    assert left_out == ["short: its torso is 0.43 of the leg, so a bone of the spine is missing"]


LEGS = ("pelvis", "hip", "knee", "ankle", "toe")


def test_mended_files_are_read_and_keep_who_it_is(tmp_path: Path, mend: Mender) -> None:
    source = tmp_path / "a.npz"
    save_clips(source, [of_source("asf", "16_01"), of_source("dazbvh", "x")], "free")
    code, output = mend(source, "--out", tmp_path / "out")
    assert (code, output.splitlines()[-1].split()) == (0, ["dazbvh", "1", "1", "0.0", "free"])
    clips = load_clips(tmp_path / "out" / "a.npz")
    assert [(c.name, c.source, c.licence, c.positions.shape) for c in clips] == [
        ("16_01", "asf", "free", (60, 17, 3)),
        ("x", "dazbvh", "free", (60, 17, 3)),
    ]
    np.testing.assert_allclose(clips[0].core, mended_core(person(60), RIGS["asf"], 30.0), atol=2e-4)
    with pytest.raises(SourceError, match="mix clips of"):
        save_clips(tmp_path / "b.npz", [clips[0], clip(person(60))], "free")


def test_simplified_figures_give_way_to_whole_ones(tmp_path: Path, mend: Mender) -> None:
    simple = [of_source("dmtxt", name) for name in ("16_08_dm", "90_05_dm")]
    save_clips(tmp_path / "old.npz", simple, "free")
    save_clips(tmp_path / "new.npz", [of_source("asf", "16_08#1")], "free")
    assert mend(tmp_path / "old.npz", tmp_path / "new.npz", "--out", tmp_path / "out")[0] == 0
    assert [c.name for c in load_clips(tmp_path / "out" / "old.npz")] == ["90_05_dm"]


def test_an_excerpt_has_pieces_of_all_clips(tmp_path: Path, mend: Mender) -> None:
    clips = [of_source("asf", f"clip {number}", 1800) for number in range(4)]
    save_clips(tmp_path / "a.npz", [*clips, of_source("uiprmd", frames=90)], "free")
    words = ("--sources", "asf", "--minutes", "2", "--name", "short", "--out", tmp_path / "out")
    assert mend(tmp_path / "a.npz", *words)[0] == 0
    pieces = load_clips(tmp_path / "out" / "short.npz")
    assert {piece.name.partition("@")[0] for piece in pieces} == {f"clip {number}" for number in range(4)}
    assert sum(len(piece.positions) for piece in pieces) == 3600
    assert {len(piece.positions) for piece in pieces} == {450}


def test_proportions_are_printed_before_and_after(tmp_path: Path, mend: Mender) -> None:
    save_clips(tmp_path / "a.npz", load_clips(RECORDED)[:3], "free")
    _, output = mend(tmp_path / "a.npz", "--ratios", "--out", tmp_path / "out")
    rows = {line[:20].strip(): line[20:].split() for line in output.splitlines()[-3:]}
    column = output.splitlines()[-4].split().index("shoulder")
    assert rows["people"][column] == "0.66"
    assert float(rows["dazbvh, as recorded"][column]) < 0.52
    assert float(rows["dazbvh, mended"][column]) == pytest.approx(0.66, abs=0.05)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("a.npz", "--sources", "uiprmd"), 3, "has no clips of uiprmd; its sources are asf"),
        (("a.npz", "--minutes", "0"), 2, "--minutes must be positive, found 0"),
        (("a.npz", "b.npz", "--name", "c"), 2, "--name goes with one file"),
        (("a.npz", "--out", "."), 2, "a.npz would be written over"),
        (("b.npz",), 3, "no file"),
    ],
)
def test_what_cannot_be_mended_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mend: Mender, words: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save_clips(tmp_path / "a.npz", [of_source("asf")], "free")
    result, output = mend(*(("--out", "out") if "--out" not in words else ()), *words)
    assert result == code
    assert says in output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", ["cmu_val", "extra_val", "basket_val", "play_val", "jump_val"])
def test_validation_files_that_ship_are_small_mended_and_licensed(file: str) -> None:
    assert (MOCAP / f"{file}.npz").stat().st_size < 1.6e6
    clips = load_clips(MOCAP / f"{file}.npz")
    assert all(c.positions.shape[1] == len(CORE_17) and c.licence != "not stated" for c in clips)
    # The one man of uiprmd has narrow shoulders of his own.
    people = np.concatenate([c.positions for c in clips if c.source != "uiprmd"])
    assert ratios(people) == pytest.approx(RATIOS, **NEAR)
