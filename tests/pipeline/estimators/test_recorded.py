"""ArrayEstimator: recorded estimates by time, and files that are no recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fakes import person

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator

BLANK = np.zeros((2, 2, 3), np.uint8)


def recording(frames: int = 5, people: int = 2) -> dict[str, np.ndarray]:
    """`people` standing side by side who step right by 10 pixels a frame, at 10 Hz."""
    everybody = [[person(x_px=200.0 + 150 * p + 10 * f) for p in range(people)] for f in range(frames)]
    return {
        "time_s": np.arange(frames) / 10,
        "poses": np.array([[one.pose for one in row] for row in everybody]),
        "world": np.array([[one.world for one in row] for row in everybody]),
        "scores": np.array([[one.scores for one in row] for row in everybody]),
    }


def test_a_recording_replays_by_time(tmp_path: Path) -> None:
    arrays = recording()
    arrays["poses"][2, 1] = np.nan
    np.savez(tmp_path / "estimates.npz", **arrays)
    estimator = ArrayEstimator(tmp_path / "estimates.npz")
    assert [len(estimator(BLANK, t)) for t in (0.0, 0.1, 0.2, 0.3, 0.4)] == [2, 2, 1, 2, 2]
    np.testing.assert_array_equal(estimator(BLANK, 0.3)[1].pose, arrays["poses"][3, 1])
    np.testing.assert_array_equal(estimator(BLANK, 0.349)[1].pose, arrays["poses"][3, 1])
    np.testing.assert_array_equal(estimator(BLANK, 0.26)[0].world, arrays["world"][3, 0])
    with pytest.raises(ModelError, match=r"nothing within 0\.051 s of 0\.500 s \(they span 0\.000 to 0\.400 s\)"):
        estimator(BLANK, 0.5)


def test_one_person_may_leave_the_axis_of_people_out() -> None:
    arrays = {key: value if key == "time_s" else value[:, 0] for key, value in recording().items()}
    del arrays["scores"]
    one = ArrayEstimator(arrays)(BLANK, 0.2)
    assert len(one) == 1 and (one[0].scores == 1).all()
    np.testing.assert_array_equal(one[0].pose, arrays["poses"][2])


def test_sparse_recordings_do_not_answer_for_frames_between() -> None:
    arrays = recording()
    arrays["time_s"] = np.arange(5) / 3
    with pytest.raises(ModelError, match=r"nothing within 0\.051 s of 0\.500 s"):
        ArrayEstimator(arrays)(BLANK, 0.5)


def changed(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in {**recording(), **values}.items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (changed(poses=None), "no array 'poses'; found scores, time_s, world"),
        (changed(time_s=np.zeros(5)), "time_s must increase, found 0 after 0: give frames in the order of time"),
        (changed(time_s=np.array([0, 1, 2, 3, np.inf])), "time_s must be finite, found inf"),
        (changed(time_s=np.array(["a"] * 5)), "time_s must hold numbers, found dtype <U1"),
        (changed(time_s=np.float64(3)), r"time_s must be \[F\], .* found shape \[\]"),
        (changed(scores=np.full((5, 2, 33), "a")), "scores must hold numbers, found dtype <U1"),
        (changed(poses=np.full((5, 17, 2), 50.0)), r"poses must be \[5, P, 33, 2\] or .* found \[5, 17, 2\]"),
        (changed(world=recording(people=1)["world"]), "must agree in frames and people"),
        (changed(poses=recording()["poses"] / 640), "frame 0, person 0: pose must be in pixels.*look normalised"),
        (changed(poses=recording()["poses"] * 1e5), "frame 0, person 0: pose must be in pixels of the picture.*up to"),
        (changed(world=recording()["world"] * 1000), "world must be in metres"),
        (changed(scores=recording()["scores"] * 100), "scores must lie in 0..1, found 90.0.* at nose"),
        (changed(poses=recording()["poses"].astype(str)), "poses must hold numbers, found dtype <U"),
        (
            changed(skeleton="COCO-17"),
            r"poses must be \[5, P, 17, 2\] or .* found \[5, 2, 33, 2\]: .*may be BlazePose-33",
        ),
        (changed(skeleton="Kinect"), "'Kinect' is not known: give one of BlazePose-33, COCO-17, HALPE-26"),
        (changed(skeleton="SMPL-24"), "poses are of landmarks, but its skeleton says SMPL-24"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        ArrayEstimator(arrays)


def test_files_that_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file of recorded estimates"):
        ArrayEstimator(tmp_path / "none.npz")
    np.save(tmp_path / "array.npy", recording()["poses"])
    for name, data in (("text.npz", b"words"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04 cut off")):
        (tmp_path / name).write_bytes(data)
    for name in ("text.npz", "empty.npz", "cut.npz", "array.npy"):
        with pytest.raises(ModelError, match=f"{name} is not a file of recorded estimates"):
            ArrayEstimator(tmp_path / name)


def test_an_archive_that_was_damaged_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, **recording())
    data = bytearray(path.read_bytes())
    name = data.index(b"poses.npy")
    start = name + len(b"poses.npy") + int.from_bytes(data[name - 2 : name], "little")
    data[start] = 0xFF  # no kind of block that there is
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged.npz is not a file of recorded estimates .*invalid block type"):
        ArrayEstimator(path)
