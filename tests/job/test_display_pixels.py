"""A person in samples that are not square, from the file to its results."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support import clips

from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.process import process
from mixsynth_stream.skeleton import BLAZEPOSE_33

# Bones below the head. Feet and hands are too small in the clip for a length within 2 %.
_BONES = np.array(
    [bone for bone in BLAZEPOSE_33.bones if set(bone) <= {11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28}]
)


def person_clip(path: Path, across: int = 1, *, frames: int = 35) -> Path:
    """The person in samples that are `across` times as wide as high."""
    with av.open(str(clips.PERSON)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 360 // across, 636, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(across)
        for index, picture in zip(range(frames), source.decode(video=0), strict=False):
            squeezed = picture.reformat(width=stream.width, interpolation="AREA")
            squeezed.pts, squeezed.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(squeezed))
        container.mux(stream.encode(None))
    return path


def results(folder: Path, across: int) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """The header, the arrays and a picture of the overlay."""
    clip = person_clip(folder / f"clip{across}.mp4", across)
    out = folder / f"out{across}"
    process(str(clip), out, JobOptions(formats=("npz",), overlay=True, progress=False))
    with np.load(out / "poses.npz") as arrays:
        poses = dict(arrays)
    with av.open(str(out / "overlay.mp4")) as container:
        *_, last = container.decode(video=0)
    return json.loads(str(poses["header"])), poses, last.to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    return results(tmp_path_factory.mktemp("plain"), 1)


def test_squeezed_people_are_measured_as_they_are(tmp_path: Path, plain) -> None:
    _, poses, picture = plain
    header, squeezed, shown = results(tmp_path, 2)
    sizes = [header[name] for name in ("width", "height", "display_width", "display_height")]
    assert sizes == [180, 636, 360, 636]
    assert set(squeezed["id"]) == set(poses["id"]) == {0}
    assert (set(squeezed["frame_width"]), set(squeezed["frame_height"])) == ({180}, {636})

    lengths = [bone_lengths_m(arrays["world_m"]).sum() for arrays in (squeezed, poses)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.02)
    apart_px = np.linalg.norm(squeezed["pose_px"] * [2, 1] - poses["pose_px"], axis=2)
    assert np.median(apart_px) < 4, "of a torso of 75 pixels"
    # The overlay plays as wide as that of the plain clip, and shows the same.
    assert shown.shape == picture.shape == (636, 360, 3)
    assert np.abs(shown.astype(int) - picture).mean() < 6


def bone_lengths_m(world: np.ndarray) -> np.ndarray:  # [R, 33, 3] -> [E]
    return np.nanmedian(np.linalg.norm(world[:, _BONES[:, 0]] - world[:, _BONES[:, 1]], axis=2), axis=0)
