"""`--frontier`: one table, one picture and rows that say what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import clips

from mixsynth_stream.bench import frontier
from mixsynth_stream.cli import main
from mixsynth_stream.errors import ModelError
from mixsynth_stream.evaluate import contenders
from mixsynth_stream.evaluate.contenders import DENSE_CUT, FOLLOWING, Contender, dense_contender
from mixsynth_stream.pipeline.estimators.bundle import bundle_path

CONTENDERS = [
    dense_contender(),
    dense_contender("heavy"),
    Contender(family=DENSE_CUT, every=None),
    Contender(default_of=("filled",)),
    Contender(every=5, glance=True, family="following, glance", default_of=("now",)),
]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few contenders; `heavy` is not installed."""

    def without_heavy(model: str) -> Path:
        if model.startswith("heavy"):
            raise ModelError("the heavy pose model is not installed")
        return bundle_path(model)

    monkeypatch.setattr(contenders, "bundle_path", without_heavy)
    monkeypatch.setattr(frontier, "all_contenders", lambda: CONTENDERS)


@pytest.mark.usefixtures("few")
def test_bench_pipeline_shows_the_frontier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, picture = tmp_path / "f.json", tmp_path / "f.png"
    options = ["--rounds", "1", "--frames", "50", "--phases", "1", "--json", str(report), "--plot", str(picture)]
    assert main(["bench", "pipeline", str(clips.PERSON), "--frontier", *options]) == 0
    output = capsys.readouterr()
    assert "left out: the heavy pose model is not installed" in output.err
    assert "default for filled, following: N = 10: dominated by none of MediaPipe's" in output.out
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 60_000
    rows = {row["contender"]: row for row in json.loads(report.read_text())["rows"]}
    dense, cut, following, glance = rows.values()
    assert (dense["bundle"], dense["is_cut"], dense["eye"]) == ("pose_landmarker_full.task", False, "video")
    assert (glance["is_cut"], glance["eye"], glance["glance"]) == (True, "follow", True)
    # The reference is the dense estimator, which is 0 from itself, with the mask and without.
    assert dense["now_torso"] == cut["now_torso"] == 0.0
    assert 0.0 < following["filled_torso"] < 0.3 and 0.0 < glance["now_torso"] < 0.3
    assert dense["cheaper_than_dense"] == 1.0 < following["cheaper_than_dense"]
    assert dense["calls_hz"] == pytest.approx(30) and following["calls_hz"] == pytest.approx(6 / 50 * 30)
    assert set(following["filled_dominated_by"]).isdisjoint({dense["contender"], cut["contender"]})
    assert f"{following['cpu_ms']:.2f}" in output.out and following["family"] == FOLLOWING


@pytest.mark.usefixtures("few")
def test_evaluate_takes_several_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second, report = tmp_path / "second.mp4", tmp_path / "f.json"
    second.write_bytes(clips.PERSON.read_bytes())
    effort = frontier.Effort(rounds=1, frames=30, phases=1)
    frontier.measure([clips.PERSON, second], truth=None, effort=effort, json=report, plot=None)
    assert "mean of person.mp4, second.mp4" in capsys.readouterr().out
    rows = json.loads(report.read_text())["rows"]
    assert [row["case"] for row in rows[::4]] == ["person.mp4", "second.mp4", "mean of person.mp4, second.mp4"]
    following = [row for row in rows if row["contender"] == "following: N = 10"]
    assert following[2]["cpu_ms"] == pytest.approx((following[0]["cpu_ms"] + following[1]["cpu_ms"]) / 2)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "--frontier compares streams of videos; name them with --video"),
        (["--video", "a.mp4", "--model", "image-n5", "--seed", "1"], 2, "--model, --seed does not go with --frontier"),
        (["--video", "dense.npz"], 3, "--frontier needs the pictures of a video file, and dense.npz is none"),
        (["--preset", "h36m"], 2, "--frontier does not go with --preset"),
    ],
)
def test_evaluate_refuses_what_does_not_go_with_the_frontier(
    options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--frontier", *options]) == code
    assert words in capsys.readouterr().err
