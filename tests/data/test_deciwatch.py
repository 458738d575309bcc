"""DeciWatch folders: what the network gets from them, and folders that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.published_data import SETS, objects, write_folder

from mixsynth_stream.data.deciwatch import LAYOUTS, load_pairs
from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.errors import SourceError
from mixsynth_stream.rotations import axis_angle_to_matrix, geodesic_error, matrix_from_6d


@pytest.mark.parametrize(
    ("preset", "shape"),
    [
        ("jhmdb", (15, 2)),
        ("h36m", (17, 3)),
        ("3dpw-eft", (14, 3)),
        ("aist", (14, 3)),
        ("3dpw-smpl-pare", (24, 6)),
    ],
)
def test_each_family_is_read_as_the_network_takes_it(tmp_path: Path, preset: str, shape: tuple[int, int]) -> None:
    pairs = load_pairs(write_folder(tmp_path, preset), preset, "test")
    assert [pair.truth.shape for pair in pairs] == [(frames, *shape) for frames in (130, 150, 40)]
    assert all(pair.estimates.shape == pair.truth.shape for pair in pairs)
    assert all(0 < np.abs(pair.estimates - pair.truth).mean() < 0.1 for pair in pairs)


def test_two_dimensions_are_fractions_of_the_frame(tmp_path: Path) -> None:
    pair = load_pairs(write_folder(tmp_path, "jhmdb"), "jhmdb", "train")[0]
    assert pair.size_px is not None and pair.frame_px is not None
    np.testing.assert_array_equal(pair.frame_px, [320, 240])
    np.testing.assert_array_equal(pair.size_px, 140)
    raw = load_arrays(tmp_path / "groundtruth_poses/jhmdb/jhmdb_gt_train.npz", ["joints_2d"])["joints_2d"][0]
    np.testing.assert_allclose((pair.truth * pair.frame_px).reshape(130, 30), raw, rtol=1e-5)


@pytest.mark.parametrize("preset", ["3dpw-pare", "aist"])
def test_three_dimensions_start_at_the_hips_with_the_right_leg_first(tmp_path: Path, preset: str) -> None:
    for pair in load_pairs(write_folder(tmp_path, preset), preset, "train"):
        np.testing.assert_allclose(pair.truth[:, [2, 3]].mean(axis=1), 0, atol=1e-6)
        mean = pair.truth.mean(axis=0)
        # y points down; J14: right ankle, knee, hip; the person's right is at -x here.
        assert mean[0, 1] > mean[1, 1] > mean[2, 1]
        assert mean[0, 0] < 0 < mean[5, 0]
        assert mean[13, 1] < mean[12, 1] < mean[8, 1] + 0.1


def test_smpl_poses_are_the_same_rotations(tmp_path: Path) -> None:
    pair = load_pairs(write_folder(tmp_path, "aist-smpl"), "aist-smpl", "train")[0]
    raw = load_arrays(tmp_path / "groundtruth_poses/aist/aist_gt_train.npz", ["pose"])["pose"][0].reshape(-1, 24, 3)
    assert geodesic_error(matrix_from_6d(pair.truth), axis_angle_to_matrix(raw)).max() < 1e-3


def test_sequences_of_one_length_are_read_too(tmp_path: Path) -> None:
    """numpy stores them as one array of three axes."""
    folder = write_folder(tmp_path, "aist", lengths=(60, 60))
    for path in folder.rglob("*.npz"):
        with np.load(path, allow_pickle=True) as data:
            np.savez(path, **{key: np.stack(list(data[key])) for key in data.files})
    assert [len(pair.truth) for pair in load_pairs(folder, "aist", "train")] == [60, 60]


def change(folder: Path, name: str, key: str, edit: Callable[[list[np.ndarray]], object]) -> None:
    (path,) = folder.rglob(name)
    with np.load(path, allow_pickle=True) as data:
        arrays = {k: list(data[k]) for k in data.files}
    edit(arrays[key])
    np.savez(path, **{k: objects(v) for k, v in arrays.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "key", "edit", "says"),
    [
        ("*gt_train.npz", "joints_3d", lambda a: a[1].__setitem__((5, 3), np.nan), "sequence 1 holds NaN.* 1 of 150"),
        ("*gt_train.npz", "joints_3d", lambda a: a.__setitem__(0, a[0][:, :42]), r"\[130, 42\], expected 130 frames"),
        ("*spin_train.npz", "joints_3d", lambda a: a.__setitem__(0, a[0][:-1]), r"\[129, 51\], expected 130"),
        ("*spin_train.npz", "imgname", lambda a: a.pop(), "2 sequences and has joints_3d of 3|names 2"),
        ("*gt_train.npz", "joints_3d", lambda a: a.__setitem__(0, [[1.0], [1.0, 2.0]]), "sequence 0 is ragged"),
        ("*gt_train.npz", "joints_3d", lambda a: [x.__imul__(1000) for x in a], "looks like millimetres"),
        ("*gt_train.npz", "imgname", lambda a: a.__setitem__(2, a[2][:1]), "1 frames; motion takes two"),
        (
            "*gt_train.npz",
            "imgname",
            lambda a: a.__setitem__(slice(None), ["a.jpg", "b.jpg", "c.jpg"]),
            "gt_train.npz: imgname of sequence 0 is 'a.jpg', expected an array; .* counts sequences",
        ),
        (
            "*spin_train.npz",
            "joints_3d",
            lambda a: a.__setitem__(slice(None), [0.1, 0.2, 0.3]),
            "spin_train.npz: joints_3d of sequence 0 is 0.1, expected an array",
        ),
        (
            "*spin_train.npz",
            "joints_3d",
            lambda a: a.__setitem__(1, np.full((150, 51), "far")),
            r"spin_train.npz: joints_3d of sequence 1 holds text \('far'\), expected numbers",
        ),
    ],
)
def test_folders_that_do_not_fit_are_refused_in_a_sentence(
    tmp_path: Path, name: str, key: str, edit: Callable[[list[np.ndarray]], object], says: str
) -> None:
    folder = write_folder(tmp_path, "3dpw-spin")
    change(folder, name, key, edit)
    with pytest.raises(SourceError, match=says):
        load_pairs(folder, "3dpw-spin", "train")


def box(frame: int, numbers: list[float]) -> Callable[[list[np.ndarray]], object]:
    """The box of one frame of sequence 1."""

    def edit(boxes: list[np.ndarray]) -> None:
        boxes[1] = boxes[1].astype(float)
        boxes[1][frame] = numbers

    return edit


@pytest.mark.parametrize(
    ("key", "edit", "says"),
    [
        (
            "bbox",
            box(7, [90, 50, np.nan, 190]),
            r"bbox of sequence 1 is no box in 1 of 30 .* frame 7 \(90, 50, nan, 190",
        ),
        ("bbox", box(0, [90, 50, np.inf, 190]), "no box in 1 of 30"),
        ("bbox", box(0, [90, 50, 90, 50]), "no box in 1 of 30"),
        # Left, top, width and height.
        ("bbox", box(0, [90, 50, 60, 140]), "no box in 1 of 30 .*expected left, top, right, bottom in pixels"),
        ("bbox", lambda a: a.__setitem__(0, np.full((40, 4), "wide")), "bbox of sequence 0 holds text"),
        (
            "imgshape",
            lambda a: a.__setitem__(1, np.array([240])),
            r"imgshape of sequence 1 is \[240\], expected the he",
        ),
        (
            "imgshape",
            lambda a: a.__setitem__(0, np.array([0, 320, 3])),
            r"sequence 0 is \[0, 320, 3\], expected the he",
        ),
        ("imgshape", lambda a: a.__setitem__(0, np.array([np.nan, 320])), r"imgshape of sequence 0 is \[nan, 320.0\]"),
        (
            "imgshape",
            lambda a: a.__setitem__(0, np.array(["high", "wide"])),
            r"holds text \('high'\), expected numbers",
        ),
    ],
)
def test_boxes_and_frames_that_have_no_size_are_refused(
    tmp_path: Path, key: str, edit: Callable[[list[np.ndarray]], object], says: str
) -> None:
    folder = write_folder(tmp_path, "jhmdb", lengths=(40, 30))
    change(folder, "*gt_train.npz", key, edit)
    with pytest.raises(SourceError, match=rf"jhmdb_gt_train.npz: .*{says}"):
        load_pairs(folder, "jhmdb", "train")


def backwards(arrays: list[np.ndarray]) -> None:
    arrays[:] = [a[::-1] for a in arrays]


@pytest.mark.parametrize(("preset", "key"), [("3dpw-smpl-pare", "pose"), ("aist", "joints_3d"), ("jhmdb", "joints_2d")])
def test_estimates_from_the_last_frame_to_the_first_are_refused(tmp_path: Path, preset: str, key: str) -> None:
    folder = write_folder(tmp_path, preset, lengths=(130, 45, 2))
    change(folder, f"*{SETS[preset][1]}_train.npz", key, backwards)
    with pytest.raises(SourceError, match=rf"{SETS[preset][1]}_train.npz: .* their frames are in reverse, turn them"):
        load_pairs(folder, preset, "train")


@pytest.mark.parametrize("still", [True, False])
def test_poor_estimates_of_people_who_hardly_move_pass(tmp_path: Path, still: bool) -> None:
    """Backwards they are as near to the truth as they were, give or take."""
    rng = np.random.default_rng(2)
    folder = write_folder(tmp_path, "aist-smpl", lengths=(12, 20, 9))

    def rest(arrays: list[np.ndarray]) -> None:
        arrays[:] = [np.mean(a, axis=0) + (0 if still else 0.1) * (a - np.mean(a, axis=0)) for a in arrays]

    def noisy(arrays: list[np.ndarray]) -> None:
        rest(arrays)
        arrays[:] = [a + rng.normal(0, 0.3, a.shape) for a in arrays]

    change(folder, "*gt_train.npz", "pose", rest)
    change(folder, "*spin_train.npz", "pose", noisy)
    assert len(load_pairs(folder, "aist-smpl", "train")) == 3


def turned(axes: int, order: list[int]) -> Callable[[list[np.ndarray]], object]:
    """All poses with their axes in another order."""
    return lambda arrays: [
        a.__setitem__(slice(None), a.reshape(len(a), -1, axes)[..., order].reshape(a.shape)) for a in arrays
    ]


def times(factor: float) -> Callable[[list[np.ndarray]], object]:
    return lambda arrays: [a.__imul__(factor) for a in arrays]


@pytest.mark.parametrize(
    ("preset", "name", "key", "edit", "says"),
    [
        ("3dpw-spin", "*spin_train.npz", "joints_3d", times(1000), "spin_train.* tall; it looks like millimetres"),
        ("h36m", "*fcn_train.npz", "joints_3d", times(1 / 0.0254), "fcn_train.* tall; it looks like inches"),
        ("aist", "*spin_train.npz", "joints_3d", turned(3, [0, 2, 1]), "its axes look like x, z, y"),
        ("jhmdb", "*simplepose_train.npz", "joints_2d", turned(2, [1, 0]), "its axes look like y, x"),
        ("jhmdb", "*gt_train.npz", "joints_2d", times(1 / 320), "gt_train.*looks like fractions of the frame"),
        ("jhmdb", "*simplepose_train.npz", "joints_2d", times(1 / 320), "simplepose.*looks like fractions"),
        (
            "3dpw-spin",
            "*gt_train.npz",
            "joints_3d",
            lambda a: a[1].__imul__(100),
            "gt_train.*in sequence 1 people would be 195 m tall; it looks like centimetres",
        ),
        ("aist-smpl", "*gt_train.npz", "pose", times(180 / np.pi), "expected radians; are these degrees"),
    ],
)
def test_units_and_axes_of_truth_and_estimates_are_looked_at(
    tmp_path: Path, preset: str, name: str, key: str, edit: Callable[[list[np.ndarray]], object], says: str
) -> None:
    folder = write_folder(tmp_path, preset, lengths=(40, 30))
    change(folder, name, key, edit)
    with pytest.raises(SourceError, match=says):
        load_pairs(folder, preset, "train")


def test_missing_files_and_keys_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "h36m")
    with pytest.raises(SourceError, match="no file .*pw3d_gt_train.npz; give the folder that holds groundtruth"):
        load_pairs(folder, "3dpw-spin", "train")
    (path,) = folder.rglob("h36m_fcn_train.npz")
    np.savez(path, imgname=objects([np.array(["a"])]))
    with pytest.raises(SourceError, match="no joints_3d; found imgname"):
        load_pairs(folder, "h36m", "train")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="cannot be read"):
        load_pairs(folder, "h36m", "train")


def test_every_preset_has_a_generated_folder() -> None:
    assert {name: (layout.folder, layout.estimator) for name, layout in LAYOUTS.items()} == SETS
