"""A job ends within two seconds, whatever waits at that moment: the camera, the estimator, who watches, all of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import clips, fakes
from support.tcp_sender import sender

from mixsynth_stream.errors import SourceError
from mixsynth_stream.job import outputs, process
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.sources.live.request import LiveRequest
from mixsynth_stream.pipeline.sources.open import open_source
from mixsynth_stream.pipeline.stream import Stream

pytest.importorskip("websockets", reason="the view in a browser needs websockets: make dev")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C for another process, and none is stopped")
LIMIT_S = 2.0


class HangingEstimator:
    """Sees one person some times, and then does not answer until `hang` is set."""

    def __init__(self, looks: int) -> None:
        self.hang = threading.Event()
        self._looks = looks

    def __call__(self, rgb: Any, time_s: float) -> list[Any]:
        self._looks -= 1
        if self._looks < 0:
            self.hang.wait(30)
        return [fakes.person()]


def soon(happened: Callable[[], bool]) -> bool:
    end_s = time.perf_counter() + 20
    while not happened() and time.perf_counter() < end_s:
        time.sleep(0.02)
    return happened()


@contextlib.contextmanager
def viewers(port: int) -> Iterator[None]:
    """Three pages: two that ask now and then, and one that takes nothing."""
    from websockets.sync.client import connect

    with contextlib.ExitStack() as stack:
        for receives in (True, True, False):
            url, origin = f"ws://127.0.0.1:{port}/stream", f"http://127.0.0.1:{port}"
            page = stack.enter_context(connect(url, origin=origin, compression=None, close_timeout=0.1))
            page.recv(timeout=5)
            for _ in range(2 if receives else 3):
                page.send(json.dumps({"type": "draw"}))
                if receives:
                    page.recv(timeout=5)
        yield


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A job of a camera that has fallen silent, with an estimator that hangs and pages that watch: `end` it."""
    path = clips.make(tmp_path / "live.ts", frames=60)
    state: dict[str, Any] = {"estimator": HangingEstimator(3), "has_ended": threading.Event()}
    with sender(path) as (camera, port), contextlib.ExitStack() as stack:

        def open_stream(*_: Any) -> Stream:
            reader = LiveReader(f"tcp://127.0.0.1:{port}")
            state["stream"] = Stream(reader, estimator=as_estimator(state["estimator"], "BlazePose-33"))
            threading.Thread(target=direct).start()
            return state["stream"]

        def direct() -> None:
            stream = state["stream"]
            state["hung"] = soon(lambda: stream.stats.estimator_calls > 3)
            stack.enter_context(viewers(state["page"].server.port))
            camera.send_signal(signal.SIGSTOP)
            frames = -1
            while frames < stream.stats.frames:  # those on their way still come
                frames = stream.stats.frames
                time.sleep(0.2)
            state["begun_s"] = time.perf_counter()
            state["end"]()
            state["has_ended"].set()

        def open_page(source: str, options: JobOptions) -> Any:
            state["page"] = outputs.open_page(source, options)
            return state["page"]

        monkeypatch.setattr(process, "open_stream", open_stream)
        monkeypatch.setattr(process, "open_page", open_page)
        yield state
        state["estimator"].hang.set()


def run(job: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Run the job until it is ended; what it has written of frames."""
    with contextlib.suppress(process.JobInterrupted):
        process.process("camera", folder, JobOptions(view="web", view_at="0", progress=False))
    assert job["has_ended"].wait(10)
    assert time.perf_counter() - job["begun_s"] < LIMIT_S
    assert job["hung"]
    lines = [json.loads(line) for line in (folder / "poses.jsonl").read_text().splitlines()[1:]]
    assert any(line["people"] for line in lines)
    return lines


def interrupt(job: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def end_in_page(job: dict[str, Any]) -> None:
    """What the page's button does."""
    from websockets.sync.client import connect

    port = job["page"].server.port
    with connect(f"ws://127.0.0.1:{port}/stream", origin=f"http://127.0.0.1:{port}", close_timeout=0.1) as page:
        assert json.loads(page.recv(timeout=5))["may_end"]
        page.send(json.dumps({"type": "end"}))


@pytest.mark.parametrize("end", [interrupt, end_in_page])
def test_a_job_in_which_everything_hangs_ends_in_time(
    job: dict[str, Any], tmp_path: Path, end: Callable[[dict[str, Any]], None]
) -> None:
    job["end"] = lambda: end(job)
    lines = run(job, tmp_path / "out")
    indices = [line["index"] for line in lines]
    assert indices == sorted(set(indices))
    assert len(indices) == job["stream"].stats.frames


def test_closing_the_stream_ends_a_job_in_which_everything_hangs(job: dict[str, Any], tmp_path: Path) -> None:
    late: list[Any] = []
    job["end"] = lambda: late.extend(job["stream"].close())
    lines = run(job, tmp_path / "out")
    indices = [line["index"] for line in lines] + [motion.index for motion in late if motion.final]
    assert indices == sorted(set(indices))
    assert len(indices) == job["stream"].stats.frames


@pytest.mark.parametrize("is_there", [True, False], ids=["hangs", "is not there"])
def test_a_source_that_is_waited_for_in_another_thread_can_be_closed(is_there: bool) -> None:
    closing, errors = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if is_there else 9
        request = LiveRequest(wait=True, timeout_s=30, closing=closing)

        def open_it() -> None:
            try:
                open_source(f"tcp://127.0.0.1:{port}", request=request)
            except SourceError as error:
                errors.append(str(error))

        thread = threading.Thread(target=open_it)
        thread.start()
        time.sleep(0.3)
        closing.set()
        thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert errors == [f"tcp://127.0.0.1:{port} was closed before it was open: open it again"]


@pytest.mark.parametrize("is_there", [True, False], ids=["hangs", "is not there"])
def test_the_page_ends_the_wait_for_a_camera(is_there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    job: dict[str, Any] = {}

    def open_page(source: str, options: JobOptions) -> Any:
        def end() -> None:
            time.sleep(0.5)
            job["begun_s"] = time.perf_counter()
            end_in_page(job)

        job["page"] = outputs.open_page(source, options)
        threading.Thread(target=end).start()
        return job["page"]

    monkeypatch.setattr(process, "open_page", open_page)
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"tcp://127.0.0.1:{server.getsockname()[1] if is_there else 9}"
        options = JobOptions(view="web", view_at="0", wait=True, timeout_s=30, progress=False)
        with pytest.raises(KeyboardInterrupt):
            process.process(source, None, options)
        assert time.perf_counter() - job["begun_s"] < LIMIT_S


def test_ctrl_c_ends_a_job_whose_model_loads_without_end(tmp_path: Path) -> None:
    (tmp_path / "mediapipe").mkdir()
    (tmp_path / "mediapipe/__init__.py").write_text(
        "import pathlib, time\npathlib.Path(__file__).with_name('begun').touch()\ntime.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "mixsynth_stream", "run", str(clips.make(tmp_path / "a.mp4")), "--quiet"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        assert soon((tmp_path / "mediapipe/begun").exists)
        time.sleep(0.3)
        start_s = time.perf_counter()
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=30)
        assert time.perf_counter() - start_s < LIMIT_S
    assert run.returncode == 130
    assert errors.decode() == "mixsynth-stream: interrupted; what was written so far is complete\n"


def test_ctrl_c_ends_a_wait_with_closed_standard_input() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        shell = f"exec {sys.executable} -m mixsynth_stream run {source} --wait --quiet <&-"
        with subprocess.Popen(["sh", "-c", shell], stderr=subprocess.PIPE) as run:
            connection, _ = server.accept()
            start_s = time.perf_counter()
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate(timeout=30)
            assert time.perf_counter() - start_s < LIMIT_S
            connection.close()
    assert run.returncode == 130
    assert errors.decode() == "mixsynth-stream: interrupted; what was written so far is complete\n"
