"""Recordings in every form that is read: the same people at the same times, and a sentence for all else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.fakes import models
from support.walks import recording, times_of, walker, write_markers, write_openpose, write_results

from mixsynth_stream.errors import SourceError
from mixsynth_stream.forecast.reading import poses_in, read_recording
from mixsynth_stream.forecast.recording import Recording
from mixsynth_stream.skeleton import BLAZEPOSE_33, BODY_25, COCO_17


def read(path: Path, **options) -> Recording:
    return read_recording(path, models(), **options)


def assert_walks(read_back: Recording, expected: Recording, digits: float) -> None:
    """The measured half of the frames, within what a format rounds to."""
    np.testing.assert_allclose(read_back.time_s, expected.time_s[::2], atol=1e-6)
    assert read_back.numbers.tolist() == list(range(0, len(expected.time_s), 2))
    for people, others in zip(read_back.people, expected.people[::2], strict=True):
        assert people.keys() == others.keys()
        for number, person in people.items():
            np.testing.assert_allclose(person.pose, others[number].pose, atol=digits)
            np.testing.assert_allclose(person.world, others[number].world, atol=digits)
            np.testing.assert_allclose(person.scores, others[number].scores, atol=1e-3)


@pytest.mark.parametrize("skeleton", [BLAZEPOSE_33, COCO_17], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["poses.jsonl", "poses.csv", "poses.npz"])
def test_results_of_a_run_are_read_as_far_as_they_were_measured(tmp_path, name, skeleton):
    walk = recording(times_of(7), skeleton, ids=(0, 3))
    write_results(tmp_path, walk, ["jsonl", "csv", "npz"])
    read_back = read(tmp_path / name)
    assert read_back.skeleton == skeleton and read_back.name == name
    assert_walks(read_back, walk, 1e-2)
    assert poses_in(tmp_path) == tmp_path / "poses.npz"


def test_markers_of_this_package_come_back_with_a_warning(tmp_path, caplog):
    walk = recording(times_of(5), ids=(4,))
    write_results(tmp_path, walk, ["trc"])
    read_back = read(tmp_path / "poses_person4.trc")
    assert "poses.npz or poses.jsonl" in caplog.text
    assert read_back.spaces == ("world",) and read_back.skeleton == BLAZEPOSE_33
    for people, others in zip(read_back.people, walk.people, strict=True):
        np.testing.assert_allclose(people[4].world, others[4].world, atol=1e-4)


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_markers_of_pose2sim_are_read_about_the_hips(tmp_path, unit):
    read_back = read(write_markers(tmp_path / "walk.trc", times_of(5), unit=unit))
    assert read_back.skeleton == BODY_25
    wrist, ankle = (BODY_25.index(joint) for joint in ("left_wrist", "right_ankle"))
    for time_s, people in zip(read_back.time_s.tolist(), read_back.people, strict=True):
        expected = walker(time_s).world
        np.testing.assert_allclose(people[0].world[[wrist, ankle]], expected[[15, 28]], atol=1e-5)
        assert np.isnan(people[0].world[BODY_25.index("left_eye")]).all()


def test_who_is_who_is_found_where_a_folder_does_not_say_it(tmp_path):
    times = times_of(20, 25.0)
    read_back = read(write_openpose(tmp_path / "json", times, people=2), rate_hz=25.0)
    np.testing.assert_allclose(read_back.time_s, times)
    left = [min(people, key=lambda number: people[number].pose[0, 0]) for people in read_back.people]
    assert len(set(left)) == 1 and all(len(people) == 2 for people in read_back.people)


def test_json_without_times_has_30_frames_a_second_and_says_so(tmp_path, caplog):
    read_back = read(write_openpose(tmp_path / "json", times_of(4)))
    assert read_back.spacing_s == pytest.approx(1 / 30) and "(--rate)" in caplog.text


def test_a_last_line_that_breaks_off_is_left_out(tmp_path, caplog):
    write_results(tmp_path, recording(times_of(7)), ["jsonl", "csv"])
    table = tmp_path / "poses.csv"
    table.write_bytes(table.read_bytes()[:-60])
    assert len(read(table).people) == 3
    path = tmp_path / "poses.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    assert len(read(path).people) == 3 and "breaks off" in caplog.text


def _arrays(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


REFUSED = {
    "nothing": (lambda folder: folder / "none.npz", "there is no file or folder .*none.npz"),
    "empty folder": (lambda folder: folder, "holds no files such as"),
    "video": (lambda folder: _text(folder / "clip.mp4", "x"), r"its name ends in .mp4.*: give poses of `run`"),
    "junk": (lambda folder: _text(folder / "poses.npz", "x"), "it is no npz archive"),
    "junk csv": (lambda folder: _text(folder / "a.csv", "index,id,joint\n1,0,nose\n"), "which are those of none of"),
    "other csv": (lambda folder: _text(folder / "a.csv", "x,y\n1,2\n"), "cannot be read as a recording of poses"),
    "empty csv": (lambda folder: _text(folder / "a.csv", "index\n"), "holds no poses"),
    "other jsonl": (lambda folder: _text(folder / "a.jsonl", '{"format": "x"}\n'), "says that its format is 'x'"),
    "damaged": (
        lambda folder: _text(
            folder / "a.jsonl", '{"format": "mixsynth-stream poses", "skeleton": "COCO-17"}\n{"in\n{}\n'
        ),
        "cannot be read as a recording",
    ),
    "rotations": (
        lambda folder: _arrays(folder / "a.npz", time_s=[0.0, 0.1], rotations=np.zeros((2, 24, 3))),
        "holds rotations of SMPL-24, for which no weights ship",
    ),
    "nobody": (
        lambda folder: _arrays(folder / "a.npz", time_s=[0.0, 0.1], poses=np.full((2, 33, 2), np.nan)),
        "holds no measured pose of anybody",
    ),
    "no hips": (
        lambda folder: _text(
            folder / "a.trc",
            write_markers(folder / "b.trc", times_of(2)).read_text().replace("LHip", "Lance"),
        ),
        "no marker left_hip",
    ),
    "words": (
        lambda folder: _text(folder / "a.trc", write_markers(folder / "b.trc", times_of(2)).read_text() + "3\tlate\n"),
        "line 8: cells must be numbers",
    ),
    "inches": (
        lambda folder: _text(
            folder / "a.trc",
            write_markers(folder / "b.trc", times_of(2), unit="m").read_text().replace("\tm\t", "\tin\t"),
        ),
        "units must be m or mm, found 'in'",
    ),
}


def test_a_damaged_result_is_told_of(tmp_path):
    write_results(tmp_path, recording(times_of(3)), ["npz"])
    path = tmp_path / "poses.npz"
    path.write_bytes(path.read_bytes().replace(b"{'descr'", b"{{{descr"))
    with pytest.raises(SourceError, match="poses.npz cannot be read as a recording of poses"):
        read(path)


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_is_no_recording_is_refused_in_a_sentence(tmp_path, case):
    write, sentence = REFUSED[case]
    with pytest.raises(SourceError, match=sentence):
        read(write(tmp_path))


def test_options_that_do_not_fit_are_refused(tmp_path):
    write_results(tmp_path, recording(times_of(3)), ["npz"])
    with pytest.raises(SourceError, match="has times of its own: leave --rate out"):
        read(tmp_path / "poses.npz", rate_hz=30.0)
    with pytest.raises(SourceError, match="is of BlazePose-33: leave --skeleton COCO-17 out"):
        read(tmp_path / "poses.npz", skeleton="COCO-17")


def test_markers_that_lie_down_are_told_of(tmp_path, caplog):
    text = write_markers(tmp_path / "a.trc", times_of(3), unit="m").read_text().splitlines()
    rows = [line.split("\t") for line in text[5:]]
    turned = [
        [*row[:2], *(row[2 + 3 * m + axis] for m in range((len(row) - 2) // 3) for axis in (2, 0, 1))] for row in rows
    ]
    (tmp_path / "b.trc").write_text("\n".join([*text[:5], *("\t".join(row) for row in turned)]) + "\n")
    read(tmp_path / "b.trc")
    assert "y, which has to point upwards" in caplog.text


def test_a_header_names_the_skeleton_of_a_result(tmp_path):
    write_results(tmp_path, recording(times_of(3)), ["jsonl"])
    path = tmp_path / "poses.jsonl"
    header, *lines = path.read_text().splitlines()
    other = json.dumps(json.loads(header) | {"skeleton": "Centaur"}, separators=(",", ":"))
    path.write_text("\n".join([other, *lines]) + "\n")
    with pytest.raises(SourceError, match="has the skeleton 'Centaur': give one of BlazePose-33"):
        read(path)
