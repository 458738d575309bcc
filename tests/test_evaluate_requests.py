"""What `evaluate` says to requests that cannot be met, before it starts."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from mixsynth_stream import evaluate, evaluate_report
from mixsynth_stream.errors import ModelError, OutputError, SourceError
from mixsynth_stream.weights import ASSETS

FILE = Path(__file__).parent.parent / evaluate.DEFAULT_DATA[0]


def _asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args(list(words))


def test_bad_requests_say_what_to_do(tmp_path, monkeypatch, capsys):
    weights = str(ASSETS / "world-n10.safetensors")
    with pytest.raises(ModelError, match="no weights named 'no-such'"):
        evaluate.main(_asked("--model", "no-such"))
    with pytest.raises(SourceError, match="missing\\.npz"):
        evaluate.main(_asked("--model", weights, "--data", str(tmp_path / "missing.npz")))
    # Before the minutes that the evaluation takes, not after them.
    data = ["--model", weights, "--data", str(FILE)]
    for option in ("--json", "--plot"):
        with pytest.raises(OutputError, match=r"cannot write .*: there is no folder"):
            evaluate.main(_asked(*data, option, str(tmp_path / "none" / "file")))
    with pytest.raises(SourceError, match="missing\\.npz"):
        evaluate.main(_asked(*data, str(tmp_path / "missing.npz")))
    with pytest.raises(SourceError, match="no file missing.mp4"):
        evaluate.main(_asked(*data, "--video", "missing.mp4"))
    with pytest.raises(ValueError, match="--data names no file"):
        evaluate.main(_asked("--model", weights, "--data"))
    with pytest.raises(ValueError, match="--seed must be 0 or more, found -1"):
        evaluate.main(_asked(*data, "--seed", "-1"))
    assert capsys.readouterr().out == ""
    with pytest.raises(OutputError, match=r"cannot write .*rows\.json"):
        evaluate_report.write_json(tmp_path / "none" / "rows.json", [])
    monkeypatch.setattr(evaluate, "__file__", str(tmp_path / "site-packages" / "mixsynth_stream" / "evaluate.py"))
    with pytest.raises(SourceError, match="run evaluate from a checkout, or give"):
        evaluate.main(_asked("--model", weights))
