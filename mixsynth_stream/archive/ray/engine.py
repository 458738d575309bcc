"""RayEngine: the sources of an archive as tasks of Ray, on this machine or on many.

Ray starts processes, keeps them for the next source, and decides which machine takes which; a task that fails is tried
again by the rules of all engines. Outcomes come to the process of the run only, which alone writes the manifest.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

from mixsynth_stream.archive.engine import Assignment
from mixsynth_stream.archive.hand import ONE_THREAD
from mixsynth_stream.archive.limits import next_attempt, set_aside
from mixsynth_stream.archive.ray.cluster import Share, connected
from mixsynth_stream.archive.ray.task import Board, Place, remote_perform
from mixsynth_stream.archive.work import Outcome, Task, lost, name_of
from mixsynth_stream.export.header import made_by

log = logging.getLogger(__name__)

_TICK_S = 0.5
# Sources in work complete their files within so long where a run is interrupted.
_STOP_S = 5.0
# Ray has so many tasks for each that runs, so that no process waits for one, and a cluster knows that it may grow.
_QUEUE = 2


class RayEngine:
    """An `Engine`: see there. `jobs` bounds how many sources are in work at once; None: as many as have room.

    `results` is the URL of a store that results go to, instead of the folders of their tasks.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        jobs: int | None = None,
        share: Share | None = None,
        results: str | None = None,
    ) -> None:
        self._address = address
        self.results = results
        self._jobs = jobs
        self._share = share or Share()

    def __call__(self, assignment: Assignment) -> Generator[Outcome, None, None]:
        """The outcome of each task, as each ends. Raises `BackendUnavailableError` where there is no Ray."""
        if not assignment.tasks:
            return
        with connected(self._address, self._share, self._jobs) as ray:
            place = Place(folder=os.getcwd(), made_by=made_by(), results=self.results)
            yield from _Run(ray, self._share, self._jobs, place, assignment).outcomes()


class _Run:
    """The tasks of one run that Ray has."""

    def __init__(self, ray: Any, share: Share, jobs: int | None, place: Place, assignment: Assignment) -> None:
        self._ray, self._share, self._jobs, self._place = ray, share, jobs, place
        self._tasks, self._limits = assignment.tasks, assignment.limits
        self._interrupt, self._on_step = assignment.interrupt, assignment.on_step
        # Threads as in the processes of one machine. Ray tries nothing again: `next_attempt` counts attempts.
        self._perform = ray.remote(
            num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0, runtime_env={"env_vars": ONE_THREAD}
        )(remote_perform)
        self._board = ray.remote(num_cpus=0)(Board).remote()
        self._notes: Any = None
        self._is_ending = False
        self._working: dict[Any, Task] = {}  # by Ray's reference
        self._causes: dict[str, str] = {}  # by the source's name
        self._frames: dict[str, int] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """The outcome of each, once. Whatever happens, Ray has nothing of ours to do afterwards."""
        try:
            while (self._tasks or self._working) and not self._interrupt.is_received:
                while self._tasks and len(self._working) < self._room():
                    task = self._tasks.popleft()
                    self._working[self._perform.remote(task, self._limits, self._place, self._board)] = task
                for task, outcome in self._ended(_TICK_S):
                    if outcome.entry.cause == "interrupted" and not (self._interrupt.is_received or self._is_ending):
                        outcome = self._lost(task, "crash", "its process was told to end, and not by this run")
                    another = next_attempt(task, outcome.entry, self._limits)
                    if another is not None:
                        self._tasks.append(another)
                    else:
                        waiting = len(self._tasks)
                        yield set_aside(outcome, self._limits)
                        if waiting and not self._tasks:  # the run is to end
                            self._recall()
            yield from self._stop()
        finally:
            for reference in self._working:
                self._ray.cancel(reference, force=True)
            with suppress(Exception):  # it may have gone with its machine
                self._ray.kill(self._board)

    def _recall(self) -> None:
        """Take back what Ray has not begun."""
        self._is_ending = True
        self._read_board(waits=True)
        for reference, task in self._working.items():
            if name_of(task.source) not in self._frames:
                self._ray.cancel(reference, force=False)

    def _room(self) -> int:
        if self._jobs is not None:
            return self._jobs
        total = self._ray.cluster_resources()
        counts = [total.get(name, 0) / part for name, part in self._parts() if part]
        return _QUEUE * max(int(min(counts, default=1)), 1)

    def _parts(self) -> tuple[tuple[str, float], ...]:
        return ("CPU", self._share.cpus), ("GPU", self._share.gpus)

    def _ended(self, timeout_s: float) -> Iterator[tuple[Task, Outcome]]:
        """The tasks that have ended, after a while in which others may."""
        ready, _ = self._ray.wait(list(self._working), num_returns=1, timeout=timeout_s)
        self._read_board()
        for reference in ready:
            task = self._working.pop(reference)
            self._on_step(task, None)
            outcome = self._outcome(task, reference)
            if outcome is not None:
                yield task, outcome

    def _outcome(self, task: Task, reference: Any) -> Outcome | None:
        """What came of a task; None where it was cancelled before it began."""
        exceptions = self._ray.exceptions
        try:
            answer = self._ray.get(reference)
        except exceptions.OutOfMemoryError:
            return self._lost(task, "memory", "its process was ended by Ray, because its machine was short of memory")
        except exceptions.TaskCancelledError:
            return None
        except exceptions.RayTaskError as error:
            return self._failed(task, error)
        except exceptions.RayError as error:
            self._read_board(waits=True)
            cause = self._causes.pop(name_of(task.source), "crash")
            is_known = cause != "crash"
            reason = self._limits.reason(cause) if is_known else f"its process was lost ({type(error).__name__})"
            return self._lost(task, cause, reason)
        for line in answer.warnings:
            log.warning("%s: %s", task.source, line)
        return answer.outcome

    def _failed(self, task: Task, error: Exception) -> Outcome:
        """The outcome of a task that Ray could not run, most often because its machine lacks this package."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, KeyboardInterrupt):
            return self._lost(task, "interrupted", "it was interrupted")
        if isinstance(cause, ImportError) or "No module named" in str(error):
            words = f"a machine of the cluster lacks a package ({cause or 'mixsynth_stream'}): install the same on all"
            return self._lost(task, "model", words)
        return self._lost(task, "error", f"{type(cause or error).__name__}: {cause or error}")

    def _lost(self, task: Task, cause: str, reason: str) -> Outcome:
        """The outcome of a task that has none of its own."""
        return lost(task, cause, reason, frames=self._frames.get(name_of(task.source), 0))

    def _read_board(self, *, waits: bool = False) -> None:
        """Take the notes that have come, without waiting for more, or with `waits` all that there are."""
        exceptions = self._ray.exceptions
        self._notes = self._notes or self._board.take.remote()
        ready, _ = self._ray.wait([self._notes], timeout=_STOP_S if waits else 0)
        if not ready:
            return
        try:
            notes, self._notes = self._ray.get(self._notes), None
        except exceptions.RayError:  # the board has gone with its machine: progress is not shown any more
            self._board, self._notes = self._ray.remote(num_cpus=0)(Board).remote(), None
            return
        tasks = {name_of(task.source): task for task in self._working.values()}
        for name, note in notes.items():
            if isinstance(note, str):
                self._causes[name] = note
            elif name in tasks:
                self._frames[name] = note.frames
                self._on_step(tasks[name], note)

    def _stop(self) -> Iterator[Outcome]:
        """Let what is in work complete its files, and give its outcomes. What Ray has not begun has none."""
        if not self._working:
            return
        for reference in self._working:
            self._ray.cancel(reference, force=False)
        due_s = time.monotonic() + _STOP_S
        while self._working and time.monotonic() < due_s:
            for _, outcome in self._ended(_TICK_S):
                yield outcome
