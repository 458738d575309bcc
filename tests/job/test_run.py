"""Pieces of the `run` job: where results go, when it stops, and how interruption waits for a write."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.networks import SHAPES, core_info, random_state
from support.smpl_bodies import preset_weights

from mixsynth_stream.commands.patterns import expand
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.interrupt import Interrupt
from mixsynth_stream.job.models import load_models
from mixsynth_stream.job.outputs import folders
from mixsynth_stream.job.process import limited
from mixsynth_stream.viewer.window import ppm, smaller
from mixsynth_stream.weights import save_weights

SEVEN = replace(SHAPES["image-n10"], sample_interval=7)


def test_patterns_become_the_files_that_match_in_order(tmp_path):
    for name in ("b.mp4", "a.mp4", "c.txt"):
        (tmp_path / name).touch()
    assert expand([f"{tmp_path}/*.mp4", "webcam"]) == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4", "webcam"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    (tmp_path / "take[1].mp4").touch()
    assert expand([f"{tmp_path}/take[1].mp4"]) == [f"{tmp_path}/take[1].mp4"]


def test_an_address_is_never_a_pattern():
    assert expand(["http://host/video?id=*"]) == ["http://host/video?id=*"]
    with pytest.raises(SourceError, match="no file matches"):
        expand(["nothing-here-*.mp4"])


def test_one_source_writes_into_the_folder_several_into_one_each():
    out = Path("out")
    assert folders(["x/a.mp4"], out) == [out]
    assert folders(["x/a.mp4", "y/a.mp4", "b.avi"], out) == [out / "a", out / "a-2", out / "b"]
    assert folders(["a.mp4", "b.mp4"], None) == [None, None]


def sequence(lag: int, count: int = 21, every: int = 10) -> list[SimpleNamespace]:
    """Motions in the order that a stream gives them."""
    motions = []
    for start in range(0, count, every):
        if lag == 0:
            motions += [SimpleNamespace(index=i, final=True) for i in range(max(start - every, 0), start)]
            motions += [SimpleNamespace(index=i, final=False) for i in range(start, min(start + every, count))]
        else:
            motions += [SimpleNamespace(index=i, final=True) for i in range(start, min(start + every, count))]
    return [*motions, *([SimpleNamespace(index=count - 1, final=True)] if lag == 0 else [])]


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("frames", [1, 5, 10, 13])
def test_a_limit_gives_each_of_the_first_frames_a_final(lag, frames):
    given = list(limited(sequence(lag), frames))
    assert sorted(m.index for m in given if m.final) == list(range(frames))
    assert max(m.index for m in given) < frames


def test_without_a_limit_everything_passes():
    assert len(list(limited(sequence(1), None))) == 21


def test_an_interrupt_waits_for_the_end_of_a_write():
    done = []
    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt):
        with interrupt.held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the write")
        done.append("the next step")
    assert done == ["the write"]


def test_an_interrupt_outside_a_write_is_at_once_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before


def test_pictures_for_the_window_fit_and_keep_their_pixels():
    rgb = np.arange(900 * 1600 * 3, dtype=np.uint32).astype(np.uint8).reshape(900, 1600, 3)
    shown = smaller(rgb, 1280, 720)
    assert shown.shape[0] <= 720
    assert shown.shape[1] <= 1280
    header, _, data = ppm(shown).partition(b"\n")
    assert header == b"P6 800 450 255"
    assert np.array_equal(np.frombuffer(data, np.uint8).reshape(450, 800, 3), rgb[::2, ::2])


@pytest.fixture
def weights(tmp_path):
    """Weights of a spacing that does not ship, and of joints that a stream does not have."""
    save_weights(tmp_path / "seven.safetensors", random_state(SEVEN), SEVEN, core_info())
    return {"seven": str(tmp_path / "seven.safetensors"), "h36m": str(preset_weights(tmp_path, "h36m-prediction"))}


def asked(*names: str) -> SimpleNamespace:
    return SimpleNamespace(weights=names, every=None, backend="auto")


def test_weights_for_other_joints_are_named_first(weights):
    with pytest.raises(
        ModelError, match=r"--weights .*h36m-prediction\.safetensors: .* skeleton H36M.* is needed; use"
    ):
        load_models(asked(weights["h36m"]))


def test_a_spacing_whose_other_weights_do_not_ship_takes_two_files(weights):
    says = r"--weights .*seven\.safetensors has a keyframe every 7 steps in image space, and no world weights ship for"
    with pytest.raises(ModelError, match=rf"{says} that \(shipped weights: image-n10, .*\); give --weights twice"):
        load_models(asked(weights["seven"]))
    assert [model.info.space for model in load_models(asked("image-n5"))] == ["image", "world"]
