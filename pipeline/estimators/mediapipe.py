"""MediaPipeEstimator: MediaPipe's PoseLandmarker (Tasks API). MediaPipe itself is imported on construction only."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mixsynth_stream.console import open_descriptors
from mixsynth_stream.errors import ModelError
from mixsynth_stream.memory import give_memory_back
from mixsynth_stream.normalise import distance_in_scales
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, bundle_path, is_cut, read_bundle
from mixsynth_stream.pipeline.motion import Person
from mixsynth_stream.skeleton import BLAZEPOSE_33
from mixsynth_stream.spaces import SPACES

MODES = ("keyframe", "video", "image")
_CORE = SPACES["image"].core
# Two estimates closer than this, as a mean over the joints in body scales, are one person seen twice. On real clips
# such doubles are less than 0.3 apart, and different people, even when they cross, more than 0.5.
SAME_PERSON = 0.4
# Where more than `max_people` are seen, those within this many body scales of people of the last call come first.
_SAME_AS_BEFORE = 2.0
# Information and warnings that MediaPipe's C++ side writes to standard error. Errors do not match.
_NOISE = re.compile(rb"(?:[IW]\d{4} [\d:.]+ |INFO: Created TensorFlow|WARNING: All log messages before absl).*\n?")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then pass it on without MediaPipe's log lines.

    The C++ library logs before its log levels can be set, so that only the text itself can be held back.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # no standard error: nothing to keep clean
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            text = _NOISE.sub(b"", file.read())
            if text and sys.stderr is not None:
                with contextlib.suppress(OSError):  # a full disk under a log
                    os.write(2, text)


class MediaPipeEstimator:
    """Poses of up to `max_people` people by MediaPipe on the CPU.

    model: "lite", "full" (shipped), "heavy", one of them with "-official" (as published, with a mask that nobody
    reads: the same numbers, more slowly), or the path of a pose landmarker bundle.
    mode: "keyframe" for frames that lie far apart: detects afresh in each and also follows the people of the last one.
    "video" for every frame of a video: follows, detects only when somebody is lost, and smooths a single person over
    time. "image" for unrelated pictures. docs/estimator-modes.md has the measurements behind the default.
    Scores are the smaller of MediaPipe's visibility and presence. Raises `ModelError` where MediaPipe or the model
    cannot be used.
    """

    skeleton = BLAZEPOSE_33.name

    def __init__(self, model: str = DEFAULT_MODEL, *, max_people: int = 1, mode: str = "keyframe") -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, found {mode!r}")
        if max_people < 1:
            raise ValueError(f"max_people must be at least 1, found {max_people}")
        self.model = str(model)
        self.path = bundle_path(self.model)
        self.mode = mode
        self.max_people = max_people
        self._mediapipe: Any = import_mediapipe()
        self._landmarker: Any = None
        # The C++ side logs until it has seen a person; after that its calls need no quiet.
        self._quiet = True
        self._size: tuple[int, ...] = ()
        self._first_s = self._last_s = 0.0
        self._before: list[Person] = []  # the people of the last call that saw somebody
        self._time_ms = -1
        self._open_landmarker()

    def _open_landmarker(self) -> None:
        """A fresh landmarker: nothing tracked, no time stamp seen."""
        self.close()
        # MediaPipe runs its detector only while it follows fewer people than it may return. One more than the
        # user asks for keeps the detector running, and the crops right, when people move far between calls.
        people = self.max_people + (self.mode == "keyframe")
        # A file is mapped; what is cut from it has to be read.
        bundle = read_bundle(self.model).packed() if is_cut(self.model) else self.path
        self._landmarker = open_bundle(self._mediapipe, bundle, self.path, people=people, follows=self.mode != "image")
        self._end = weakref.finalize(self, close_landmarker, self._landmarker)
        self._time_ms = -1
        self._before = []

    def __call__(self, rgb: np.ndarray, time_s: float) -> list[Person]:  # rgb: [H, W, 3] uint8
        """The people in one frame, duplicates suppressed; at most `max_people`."""
        # mp.Image ignores strides: rows that are padded would be read skewed, with no error and no pose.
        picture = np.ascontiguousarray(checked_rgb(rgb))
        if self._landmarker is None:
            raise ValueError("this MediaPipeEstimator is closed")
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, picture)
        with quiet_stderr() if self._quiet else contextlib.nullcontext():
            result = self._detect(image, rgb.shape, time_s)
        if result.pose_landmarks:
            self._quiet = False
        height, width = rgb.shape[:2]
        people = [
            person_of(landmarks, world, width, height)
            for landmarks, world in zip(result.pose_landmarks, result.pose_world_landmarks, strict=True)
        ]
        return self._limit(without_duplicates(people))

    def _limit(self, people: list[Person]) -> list[Person]:
        """At most `max_people`: first those of the last call, then those with the best scores."""
        if len(people) > self.max_people:
            others, people = people, []
            for before in self._before:
                nearest = min(others, key=lambda person: scale_distance(person, before))
                if scale_distance(nearest, before) < _SAME_AS_BEFORE:
                    others = [person for person in others if person is not nearest]
                    people.append(nearest)
            people = (people + others)[: self.max_people]
        self._before = people or self._before
        return people

    def _detect(self, image: Any, shape: tuple[int, ...], time_s: float) -> Any:
        """MediaPipe's result for an image."""
        if self.mode == "image":
            return self._landmarker.detect(image)
        # Another size or a jump back in time is another video, where the last pose would mislead the tracking.
        is_resized = shape != self._size
        if self._time_ms >= 0 and (time_s < self._last_s or (is_resized and self.mode == "video")):
            self._open_landmarker()
        elif self._time_ms >= 0 and is_resized:  # only the smoothing of "video" outlasts a black picture
            self.forget()
        if self._time_ms < 0:
            self._first_s = time_s
        self._size, self._last_s = shape, time_s
        # MediaPipe wants time stamps that increase strictly, in whole milliseconds.
        self._time_ms = max(round((time_s - self._first_s) * 1000), self._time_ms + 1)
        return self._landmarker.detect_for_video(image, self._time_ms)

    def forget(self) -> None:
        """Forget the people of earlier frames: the next frame shows another scene.

        A black picture makes MediaPipe lose everybody. A fresh landmarker gives the same and takes longer.
        """
        if self._landmarker is not None and self._time_ms >= 0:
            self._time_ms += 1
            black = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, np.zeros((64, 64, 3), np.uint8))
            with quiet_stderr() if self._quiet else contextlib.nullcontext():
                self._landmarker.detect_for_video(black, self._time_ms)
        self._before = []

    def close(self) -> None:
        """Free the networks; the estimator cannot be used afterwards."""
        if self._landmarker is not None:
            self._end()
            self._landmarker = None
            give_memory_back()

    def __enter__(self) -> MediaPipeEstimator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked_rgb(rgb: Any) -> np.ndarray:
    """The picture itself. `ValueError` where it is not [H, W, 3] uint8."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        kind = f"{rgb.dtype} {list(rgb.shape)}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(f"rgb must be a uint8 array [H, W, 3], found {kind}")
    return rgb


def open_bundle(mediapipe: Any, bundle: bytes | Path, path: Path, *, people: int, follows: bool = False) -> Any:
    """`open_landmarker` of a bundle that was made from the file `path`. `ModelError` where MediaPipe refuses it."""
    try:
        return open_landmarker(mediapipe, bundle, people=people, follows=follows)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"MediaPipe cannot use the pose model {path}: {first_line(error)}. "
            "It has to be a pose landmarker bundle (.task)"
        ) from error


def open_landmarker(mediapipe: Any, bundle: bytes | Path, *, people: int, follows: bool) -> Any:
    """MediaPipe's PoseLandmarker of a bundle, packed or in a file, for at most so many people.

    `follows`: VIDEO mode, which looks where people were before; else IMAGE mode. Raises what MediaPipe raises.
    """
    vision = mediapipe.tasks.vision
    asset = {"model_asset_path": str(bundle)} if isinstance(bundle, Path) else {"model_asset_buffer": bundle}
    options = vision.PoseLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(**asset),
        running_mode=vision.RunningMode.VIDEO if follows else vision.RunningMode.IMAGE,
        num_poses=people,
    )
    with quiet_stderr():
        return vision.PoseLandmarker.create_from_options(options)


def close_landmarker(landmarker: Any) -> None:
    """Free the networks. At the exit of Python MediaPipe cannot do that any more, and would print a traceback."""
    try:
        landmarker.close()
    except RuntimeError:  # its thread has ended, and all memory is about to be freed
        landmarker._handle = None  # what its __del__ looks at


def without_duplicates(people: list[Person]) -> list[Person]:
    """The people, best scores first, each of them once: MediaPipe may return a person twice."""
    unique: list[Person] = []
    for person in sorted(people, key=lambda one: -float(one.scores[_CORE].mean())):
        if all(scale_distance(person, other) > SAME_PERSON for other in unique):
            unique.append(person)
    return unique


def scale_distance(person: Person, other: Person) -> float:
    """How far apart two estimates are, as a mean over the core joints in body scales."""
    return distance_in_scales(person.pose[_CORE], other.pose[_CORE], min_scale=1.0)


def person_of(landmarks: Any, world: Any, width: float, height: float) -> Person:
    """A Person of MediaPipe's landmarks, which are shares of the frame's width and height."""
    size = np.array([width, height], np.float64)
    pose = np.array([(one.x, one.y) for one in landmarks]) * size
    scores = np.array([min(one.visibility, one.presence) for one in landmarks])
    metres = np.array([(one.x, one.y, one.z) for one in world])
    return Person(pose, metres, np.clip(scores, 0.0, 1.0))


def import_mediapipe() -> Any:
    """The package. `ModelError` where it cannot be used."""
    open_descriptors()
    try:
        with quiet_stderr():
            import mediapipe
            import mediapipe.tasks.python
    except (ImportError, OSError) as error:
        raise ModelError(
            f"MediaPipe cannot be used here ({first_line(error)}). It has wheels for Linux x86_64, Windows and macOS "
            f"on arm64; this is {platform.system()} {platform.machine()}, Python {platform.python_version()}. Install "
            "mediapipe==0.10.31, or pass an estimator of your own"
        ) from error
    return mediapipe


def first_line(error: BaseException) -> str:
    """The first line of an error, for a sentence of ours."""
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
