"""Parquet: what pandas and DuckDB read of it, and what a run that breaks off leaves of it."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.motions import AHEAD, motion, motions, pose_at, sigma_at, without_joint, world_at
from support.smpl_bodies import preset_weights, recording

from mixsynth_stream.cli import main
from mixsynth_stream.errors import OutputError
from mixsynth_stream.export import Settings, open_sinks, parquet
from mixsynth_stream.pipeline.frame import VideoInfo
from mixsynth_stream.skeleton import BLAZEPOSE_33

INFO = VideoInfo(source="walk.mp4", width=640, height=480, rate_hz=25.0)
WRIST = BLAZEPOSE_33.index("left_wrist")


def write(folder: Path, items, **options) -> Path:
    (sink,) = open_sinks(folder, INFO, formats=("parquet",), **options)
    with sink:
        for item in items:
            sink.write(item)
    return folder / "poses.parquet"


def test_pandas_reads_a_row_a_person_and_a_list_a_column(tmp_path):
    rgb = np.zeros((480, 640, 3), np.uint8)
    table = pd.read_parquet(write(tmp_path, motions(12, people=(0, 3), sigma=True, rgb=rgb)))
    names = ["source", "frame", "time_s", "keyframe", "person", "x_px", "y_px", "x_m", "y_m", "z_m", "score", "origin"]
    assert list(table.columns) == [*names, "sigma_px", "sigma_m", "width", "height"]
    assert table["frame"].tolist() == list(np.repeat(range(12), 2)) and table["person"].tolist() == [0, 3] * 12
    assert set(table["source"]) == {"walk.mp4"}
    assert table["keyframe"].tolist() == [True] * 2 + [False] * 18 + [True] * 2 + [False] * 2
    assert set(table["width"]) == {640} and set(table["height"]) == {480}
    row = table.iloc[15]
    assert (row["time_s"], row["person"]) == (pytest.approx(7 / 30), 3)
    np.testing.assert_allclose(np.stack([row["x_px"], row["y_px"]], -1), pose_at(7 / 30, 3), rtol=1e-6)
    np.testing.assert_allclose(np.stack([row["x_m"], row["y_m"], row["z_m"]], -1), world_at(7 / 30, 3), rtol=1e-6)
    np.testing.assert_allclose(row["sigma_px"], 2 * sigma_at(np.array([7 / 30]))[0], rtol=1e-6)
    assert np.isnan(table.iloc[0]["sigma_m"]).all()  # measured
    assert np.stack(table["origin"]).tolist() == [[1] * 33] * 2 + [[2] * 33] * 18 + [[1] * 33] * 2 + [[2] * 33] * 2


def test_duckdb_counts_no_joint_that_is_not_known(tmp_path):
    path = write(tmp_path, [without_joint(motion(0), WRIST), motion(1), motion(2)])
    n = WRIST + 1  # SQL counts from 1
    query = f"select count(x_px[{n}]), avg(x_px[{n}]), min(origin[{n}]), max(width) from '{path}'"
    count, mean, origin, width = duckdb.sql(query).fetchall()[0]
    assert (count, origin, width) == (2, 0, None)  # these Motions have no frame
    assert mean == pytest.approx(np.mean([pose_at(t)[WRIST, 0] for t in (1 / 30, 2 / 30)]))
    joints = duckdb.sql(f"select unnest(x_px) as x, unnest(score) as score from '{path}' where frame = 1").fetchall()
    np.testing.assert_allclose([x for x, _ in joints], pose_at(1 / 30)[:, 0], rtol=1e-6)


def test_many_results_are_one_table(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, motions(3))
    query = f"select filename, count(*) from read_parquet('{tmp_path}/*/poses.parquet', filename=true) group by all"
    assert sorted(count for _, count in duckdb.sql(query).fetchall()) == [3, 3]


def test_forecasts_are_a_table_of_their_own(tmp_path):
    write(tmp_path, motions(12, sigma=True))
    table = pd.read_parquet(tmp_path / "poses_forecast.parquet")
    assert list(table.columns[:5]) == ["source", "frame", "made_s", "time_s", "person"]
    assert table["frame"].tolist() == [0] * AHEAD + [10] * AHEAD
    np.testing.assert_allclose(table["time_s"] - table["made_s"], np.tile(np.arange(1, AHEAD + 1) / 30, 2))
    np.testing.assert_allclose(table["x_px"].iloc[-1], pose_at(16 / 30)[:, 0], rtol=1e-6)
    assert set(np.stack(table["origin"]).ravel()) == {3}


def test_the_schema_says_what_the_numbers_are(tmp_path):
    path = write(tmp_path, motions(12), settings=Settings(every=10, glance=True))
    schema = pq.read_schema(path)
    header = json.loads(schema.metadata[b"header"])
    assert (header["format"], header["source"], header["every"]) == ("mixsynth-stream poses", "walk.mp4", 10)
    assert header["rate_hz"] == 30.0  # as it came, whatever the source stated
    assert tuple(json.loads(schema.metadata[b"joints"])) == tuple(header["joints"]) == BLAZEPOSE_33.joints
    assert header["origins"][5] == "tracked"
    assert schema.field("x_px").metadata[b"unit"] == b"px" and schema.field("z_m").metadata[b"space"] == b"world"
    facts = json.loads(schema.metadata[b"columns"])
    assert list(facts) == schema.names and facts["sigma_m"]["unit"] == "m"
    stored = duckdb.sql(f"select decode(key), decode(value) from parquet_kv_metadata('{path}')").fetchall()
    assert dict(stored)["joints"] == json.dumps(list(BLAZEPOSE_33.joints))


def test_a_source_without_people_gives_a_table_without_rows(tmp_path):
    table = pq.read_table(write(tmp_path, motions(3, people=())))
    assert len(table) == 0 and "x_px" in table.column_names
    assert [path.name for path in tmp_path.iterdir()] == ["poses.parquet"]


def test_rotations_of_smpl(tmp_path):
    np.savez(tmp_path / "smpl.npz", **recording(seconds=1.0))
    weights = preset_weights(tmp_path, "3dpw-smpl-pare")
    options = ("--weights", str(weights), "--format", "parquet,npz", "--quiet", "--out", str(tmp_path / "out"))
    assert main(["run", str(tmp_path / "smpl.npz"), *options]) == 0
    table = pd.read_parquet(tmp_path / "out" / "poses.parquet")
    assert list(table.columns[5:]) == ["x_rad", "y_rad", "z_rad", "score", "origin"] and len(table) == 60
    with np.load(tmp_path / "out" / "poses.npz") as arrays:
        np.testing.assert_array_equal(np.stack(table["y_rad"]), arrays["rotation_rad"][..., 1])


def test_groups_are_of_one_size_whatever_the_people(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", 700)
    path = write(tmp_path, motions(520, people=(0, 1, 2), ahead=0))
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [700, 700, 160]
    assert pq.read_table(path)["frame"].to_pylist() == list(np.repeat(range(520), 3))


# A process that is killed in the middle of a run.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.motions import motion
from mixsynth_stream.export import open_sinks
(sink,) = open_sinks(Path(sys.argv[2]), None, formats=("parquet",))
for index in range(700):
    sink.write(motion(index, ahead=0))
(Path(sys.argv[2]) / "poses.parquet.part" / "_next").write_bytes(b"PAR1 half of a file")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_all_but_the_last_seconds(tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    folder = tmp_path / "poses.parquet.part"
    rows = 700 // parquet.PART_ROWS * parquet.PART_ROWS
    assert pd.read_parquet(folder)["frame"].tolist() == list(range(rows))
    assert duckdb.sql(f"select count(*) from '{folder}/*.parquet'").fetchall() == [(rows,)]
    assert json.loads(pq.read_schema(folder / "000001.parquet").metadata[b"joints"]) == list(BLAZEPOSE_33.joints)


def test_a_disk_that_is_full_at_the_end_keeps_the_rows(tmp_path, monkeypatch):
    (sink,) = open_sinks(tmp_path, INFO, formats=("parquet",))
    for item in motions(parquet.PART_ROWS + 5, ahead=0):
        sink.write(item)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "ParquetWriter", full)
    with pytest.raises(OutputError, match=r"poses.parquet cannot be written: the disk is full; .*rows are kept in"):
        sink.close()
    assert len(pd.read_parquet(tmp_path / "poses.parquet.part")) == parquet.PART_ROWS + 5


def test_without_the_library_a_sentence_comes_before_any_work(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    assert main(["run", "synthetic:", "--format", "parquet", "--out", str(tmp_path / "out")]) == 4
    assert "pip install 'mixsynth-stream[arrow]', or choose another format" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
