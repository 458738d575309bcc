"""Run many commands in one process, each announced in the file CONNECTIONS: `every_command.py FOLDER PORT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import av
from support import clips, pose_networks
from support.swing_clips import write_swings

from mixsynth_stream.cli import main
from mixsynth_stream.files import ASSETS
from mixsynth_stream.pipeline.sources import capture

# Of the contenders that are installed, those that do not compile for a minute.
ENCODERS = ("eager", "ONNX Runtime", "OpenVINO")


def run(*arguments: str, code: int = 0) -> None:
    """One command, and its exit code."""
    with open(os.environ["CONNECTIONS"], "a") as file:
        file.write(f"command {' '.join(arguments[:2])}\n")
    result = main(list(arguments))
    assert result == code, f"{' '.join(arguments)}: exit code {result}, expected {code}"


def run_all(folder: Path, port: str) -> None:
    """Whatever a user types, on so few frames that all of it takes seconds."""
    clip = str(clips.PERSON)
    run("info")
    run("run", clip, "--out", f"{folder}/run", "--format", "jsonl,parquet", "--limit-frames", "2")
    run("forecast", f"{folder}/run", "--out", f"{folder}/forecast")
    run("run", clip, "--model", "movenet-lightning", "--out", f"{folder}/movenet", "--limit-frames", "2")
    network = pose_networks.yolo(Path(folder) / "yolo.onnx")
    run("run", clip, "--model", str(network), "--out", f"{folder}/onnx", "--limit-frames", "2")
    # A camera on every machine.
    capture.opener_for = lambda source, silence_s, request: lambda: av.open(str(ASSETS / "demo.mp4"))
    run("webcam", "--view", "none", "--limit-frames", "2", "--out", f"{folder}/webcam")
    run("demo", "--limit-frames", "2", "--out", f"{folder}/demo")
    run("bench", "pipeline", clip, "--frames", "4", "--rounds", "1")
    # It ends where the truth is read. What comes after that, `bench pipeline` does, too.
    truth = ["--trc", f"{folder}/none.trc", "--calibration", f"{folder}/none.toml"]
    run("bench", "truth", "--video", clip, *truth, code=1)
    run("bench", "push", "--rounds", "1")
    run("bench", "encoder", "--case", "3dpw", "--batch", "1", "--rounds", "1", "--contender", *ENCODERS)
    run("bench", "training", "--case", "image-n5", "--batch", "2", "--rounds", "1", "--seconds", "0")
    run("bench", "kernels", "--case", "3dpw", code=4)
    data = str(write_swings(folder / "swings.npz"))
    run("train", "--data", data, "--out", f"{folder}/train", "--steps", "1", "--batch", "2", "--validate-every", "1")
    # The one connection that is asked for. FFmpeg opens it, which shows that what libraries do is seen.
    run("run", f"http://127.0.0.1:{port}/clip.mp4", "--out", f"{folder}/stream", code=3)


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), sys.argv[2])
