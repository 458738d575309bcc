"""Which files of a folder are results of ours: by their contents, whatever part of them is there."""

from __future__ import annotations

import shutil

import av
import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import write_table
from support.motions import motion, motions

from mixsynth_stream.errors import OutputError
from mixsynth_stream.export import FORMATS, open_sinks
from mixsynth_stream.export.earlier import clear, is_result, refuse_strangers, results_in
from mixsynth_stream.pipeline.frame import VideoInfo

INFO = VideoInfo(source="walk.mp4", width=160, height=120, rate_hz=30.0)
NAMES = {
    *("poses.jsonl", "poses.csv", "poses_forecast.csv", "poses.npz", "poses_person0.trc", "poses_person3.trc"),
    *("poses.parquet", "poses_forecast.parquet"),
    *("overlay.mp4", "plot.png"),
}


def write(folder, *, close=True, frames=12):
    """All results of a run; without `close` as a run that is killed leaves them."""
    sinks = open_sinks(folder, INFO, formats=FORMATS, overlay=True, plot=True)
    noise = np.random.default_rng(0)
    for item in motions(frames, people=(0, 3)):
        rgb = noise.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        for sink in sinks:
            sink.write(motion(item.index, people=(0, 3), rgb=rgb))
    for sink in sinks if close else ():
        sink.close()
    return sinks


def names(paths):
    return {path.name for path in paths}


def test_every_result_is_known_and_removed(tmp_path):
    write(tmp_path)
    assert names(tmp_path.iterdir()) == names(results_in(tmp_path)) == NAMES
    clear(tmp_path, keep={tmp_path / "poses.csv"})
    assert names(tmp_path.iterdir()) == {"poses.csv"}


@pytest.mark.parametrize("frames", [0, 2, 70])
def test_what_a_killed_run_leaves_is_known_and_removed(tmp_path, frames):
    sinks = write(tmp_path, close=False, frames=frames)
    leftovers = names(tmp_path.iterdir())
    assert {"poses.jsonl.part", "poses.csv.part", "poses.npz.part", "poses.parquet.part"} <= leftovers
    assert ("overlay.mp4.part" in leftovers) == bool(frames)
    assert names(results_in(tmp_path)) == leftovers
    copy = shutil.copytree(tmp_path, tmp_path / "copy")
    clear(copy, keep=())
    assert not list(copy.iterdir())
    for sink in sinks:
        sink.discard()
    assert names(tmp_path.iterdir()) == {"copy"}


def test_files_of_the_user_with_the_same_names_are_none(tmp_path):
    (tmp_path / "poses.jsonl").write_text('{"format": "mine"}\n')
    (tmp_path / "poses.csv").write_text("index,time_s,id,name\n1,2,3,me\n")
    (tmp_path / "poses_forecast.csv").write_bytes(b"\xff\xfe" + "weather".encode("utf-16-le"))
    (tmp_path / "poses_person0.trc").write_text("PathFileType\t4\t(X/Y/Z)\tposes_person0.trc\n\n\nFrame#\tTime\tLHIP\n")
    np.savez(tmp_path / "poses.npz", pose_px=np.zeros(3))
    (tmp_path / "plot.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with av.open(str(tmp_path / "overlay.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    (tmp_path / "poses.npz.part").mkdir()
    (tmp_path / "poses.npz.part" / "notes.npy").touch()
    (tmp_path / "poses.csv.part").write_text("half of a download")
    (tmp_path / "overlay.mp4.part").write_bytes((tmp_path / "overlay.mp4").read_bytes())
    (tmp_path / "plot.png.part").mkdir()
    write_table(pa.table({"frame": [1, 2]}), tmp_path / "poses.parquet")
    (tmp_path / "poses_forecast.parquet").write_bytes(b"PAR1" + bytes(5))
    (tmp_path / "poses.parquet.part").mkdir()
    write_table(pa.table({"frame": [1, 2]}), tmp_path / "poses.parquet.part" / "000000.parquet")
    before = names(tmp_path.iterdir())
    assert len(before) == 14 and results_in(tmp_path) == []
    clear(tmp_path, keep=())
    assert names(tmp_path.iterdir()) == before


@pytest.mark.parametrize("header", ["", "[1]", "5", "{"])
def test_an_archive_of_anything_is_none(tmp_path, header):
    np.savez_compressed(tmp_path / "poses.npz", header=header)
    assert not is_result(tmp_path / "poses.npz")


@pytest.mark.parametrize("content", ["nothing", "one array", "damaged"])
def test_what_is_no_archive_is_none(tmp_path, content):
    path = tmp_path / "poses.npz"
    with path.open("wb") as file:
        if content == "one array":
            np.save(file, np.zeros(3))
        if content == "damaged":
            np.savez_compressed(file, header=np.arange(5000))
            file.seek(60)
            file.write(bytes(30))
    assert not is_result(path)


def test_other_names_are_not_looked_at(tmp_path):
    write(tmp_path)
    for name, other in (("poses.jsonl", "copy.jsonl"), ("poses_person0.trc", "poses_person0_filtered.trc")):
        (tmp_path / name).rename(tmp_path / other)
    clear(tmp_path, keep=())
    assert names(tmp_path.iterdir()) == {"copy.jsonl", "poses_person0_filtered.trc"}


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("poses.jsonl", {}),
        ("poses.csv", {"formats": ("csv",)}),
        ("poses_forecast.csv", {"formats": ("csv",)}),
        ("poses.npz", {"formats": ("npz",)}),
        ("poses.parquet", {"formats": ("parquet",)}),
        ("poses_forecast.parquet", {"formats": ("parquet",)}),
        ("poses_person12.trc", {"formats": ("trc",)}),
        ("overlay.mp4", {"overlay": True}),
        ("plot.png", {"plot": True}),
        ("poses.jsonl.part", {}),
        ("overlay.mp4.part", {"overlay": True}),
    ],
)
def test_a_file_of_the_user_in_the_way_is_refused(tmp_path, name, outputs):
    requests = {"formats": ("jsonl",), "overlay": False, "plot": False} | outputs
    refuse_strangers(tmp_path, **requests)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name} would be written over, and it is no result of"):
        refuse_strangers(tmp_path, **requests)
    other = {"formats": ("npz",) if name.startswith("poses.jsonl") else ("jsonl",), "overlay": False, "plot": False}
    refuse_strangers(tmp_path, **other)


def test_links_and_pipes_in_the_way_are_refused(tmp_path):
    (tmp_path / "poses.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="no result"):
        refuse_strangers(tmp_path, ("jsonl",), overlay=False, plot=False)
    assert not is_result(tmp_path / "poses.jsonl")


def test_a_folder_that_does_not_exist_has_no_results(tmp_path):
    assert results_in(tmp_path / "new") == []
