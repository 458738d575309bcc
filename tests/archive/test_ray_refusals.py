"""Where there is no Ray that fits: one sentence, and nothing is begun."""

from __future__ import annotations

import socket
import sys
from types import ModuleType

import pytest

from mixsynth_stream.archive.limits import Limits
from mixsynth_stream.archive.ray import task as ray_task
from mixsynth_stream.archive.ray.cluster import Share, _check_share, require_ray
from mixsynth_stream.archive.ray.task import Place, perform
from mixsynth_stream.archive.work import Task
from mixsynth_stream.cli import main
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.export.header import made_by
from mixsynth_stream.job.options import JobOptions

RUN = ("run", "synthetic:seconds=1", "--engine", "ray")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "--engine ray needs the package ray"),
        ("2.9.3", "--engine ray needs ray 2.60 or newer, found 2.9.3"),
    ],
)
def test_ray_that_is_missing_or_old(version, words, tmp_path, monkeypatch, capsys):
    module = None
    if version is not None:
        module = ModuleType("ray")
        module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)
    assert main([*RUN, "--out", str(tmp_path / "out")]) == 4
    error = capsys.readouterr().err
    assert words in error and "pip install 'mixsynth-stream[ray]', or leave --engine ray out" in error
    assert not (tmp_path / "out").exists()


def test_an_address_where_nothing_answers(tmp_path, capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert main([*RUN, "--address", address, "--out", str(tmp_path)]) == 4
    assert f"no Ray answers at {address} within 5 s" in capsys.readouterr().err
    assert main([*RUN, "--address", "ray://127.0.0.1:10001", "--out", str(tmp_path)]) == 4
    assert "is that of a proxy: give HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cpus-per-job", "0", "--engine", "ray"], "--cpus-per-job must be above 0, found 0"),
        (["--address", "auto"], "--address is for --engine ray: give both"),
        (["--gpus-per-job", "1"], "--gpus-per-job is for --engine ray: give both"),
    ],
)
def test_options_of_ray_that_make_no_sense(options, words, tmp_path, capsys):
    assert main(["run", "synthetic:seconds=1", "--out", str(tmp_path), *options]) == 2
    assert words in capsys.readouterr().err


class Cluster:
    """The part of ray that tells machines."""

    @staticmethod
    def nodes() -> list[dict[str, object]]:
        return [
            {"Alive": True, "Resources": {"CPU": 4.0}},
            {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}},
            {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        ]


def test_a_share_that_no_machine_has():
    for share in (Share(cpus=4.0), Share(cpus=0.5, gpus=0.25)):
        _check_share(Cluster, share)
    for share in (Share(cpus=8.0), Share(cpus=4.0, gpus=1.0)):
        with pytest.raises(BackendUnavailableError, match="no machine of the cluster has .* give less"):
            _check_share(Cluster, share)


@pytest.mark.parametrize(
    ("place", "cause", "words"),
    [
        (Place(folder=".", made_by="mixsynth-stream 0.0.1"), "model", "install the same version on all machines"),
        (Place(folder="/no/such/folder", made_by=made_by()), "output", "has no folder /no/such/folder"),
    ],
    ids=["another version", "another disk"],
)
def test_a_machine_that_does_not_fit_is_named_and_does_nothing(place, cause, words, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_task, "work", None)
    task = Task(source="synthetic:seconds=1", folder=tmp_path / "one", out=tmp_path, options=JobOptions())
    entry = perform(task, Limits(), place, lambda note, waits: None).outcome.entry
    assert (entry.state, entry.cause) == ("failed", cause) and words in entry.reason
    assert not list(tmp_path.iterdir())


def test_the_library_that_is_tested_fits():
    assert require_ray().__version__
