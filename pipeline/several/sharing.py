"""SharedLooks: one stream's part of the looks of several. SharedEstimator: what these streams look with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL
from mixsynth_stream.pipeline.estimators.choose import estimator_of, is_pose_model, open_network, stream_estimator
from mixsynth_stream.pipeline.estimators.keypoint_files import KeypointFiles
from mixsynth_stream.pipeline.estimators.recorded import ArrayEstimator
from mixsynth_stream.skeleton import SMPL_24

if TYPE_CHECKING:
    from mixsynth_stream.pipeline.estimators.estimator import Estimator
    from mixsynth_stream.pipeline.estimators.onnx.model import OnnxModel
    from mixsynth_stream.pipeline.estimators.region import Eye
    from mixsynth_stream.pipeline.frame import Frame
    from mixsynth_stream.pipeline.looks import Look, Looks
    from mixsynth_stream.pipeline.motion import Person


class SharedLooks:
    """The looks of one stream among `looks`, which work for several. The methods are those of `Looks`."""

    def __init__(self, looks: Looks) -> None:
        self._all = looks
        self._own: deque[Look] = deque()

    def begin(self, frame: Frame, call: Callable[[], list[Person]]) -> Look:
        """Look at a frame as soon as the looks before it have ended, those of other streams included."""
        self._own.append(self._all.begin(frame, call))
        return self._own[-1]

    @property
    def is_busy(self) -> bool:
        """Whether a look of this stream has not been taken yet."""
        return bool(self._waiting())

    @property
    def has_ended(self) -> bool:
        """Whether there is a look to take."""
        return bool(self._waiting()) and self._own[0].has_ended

    @property
    def frames(self) -> list[Frame]:
        """The frames whose pictures are still needed, in order."""
        return [look.frame for look in self._waiting()]

    def ended(self) -> list[Look]:
        """Take the looks of this stream that have ended, in order."""
        ended = []
        while self.has_ended:
            ended.append(self._own.popleft())
        return ended

    def now(self, frame: Frame, call: Callable[[], list[Person]]) -> list[Person]:
        """Look at a frame in this thread, while no other look has begun."""
        return self._all.now(frame, call)

    def last(self, patience_s: float = 0.0) -> list[Look]:
        """`ended`: nobody waits for one stream while others go on."""
        return self.ended()

    def until(self, time_s: float) -> list[Look]:
        """`ended`, too."""
        return self.ended()

    def cancel(self, looks: Container[Look] | None = None) -> list[Look]:
        """Leave out the looks of this stream, or those of them, that have not begun; returns which."""
        return self._all.cancel([look for look in self._own if looks is None or look in looks])

    def close(self, patience_s: float = 0.0) -> bool:
        """End the work for this stream. False: the estimator works for others."""
        self.cancel()
        return False

    def __enter__(self) -> SharedLooks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _waiting(self) -> deque[Look]:
        """The looks that nobody has taken, without those that were left out."""
        if any(look.is_left_out for look in self._own):
            self._own = deque(look for look in self._own if not look.is_left_out)
        return self._own


class SharedEstimator:
    """What several streams look with, in one thread: MediaPipe's networks once, and whom they follow for each stream.

    `choice` is the user's, as for one stream, or a list of one for each stream. Raises `ModelError`.
    """

    def __init__(self, choice: Any, streams: int, skeleton: str, *, max_people: int, eye: str) -> None:
        is_list = isinstance(choice, (list, tuple))
        if is_list and len(choice) != streams:
            raise ValueError(f"give one estimator for all sources or one for each, found {len(choice)} for {streams}")
        self._choices: Sequence[Any] = choice if is_list else [choice] * streams
        has_memory = callable(getattr(choice, "forget", None)) and not isinstance(
            choice, ArrayEstimator | KeypointFiles
        )
        if has_memory and streams > 1:
            raise ModelError(
                f"the estimator follows people from call to call (it has `forget`), which mixes {streams} sources up: "
                "give a list with one for each source"
            )
        self.is_own = all(is_pose_model(one) for one in self._choices)
        self._eye_mode = eye
        self._skeleton, self._max_people = skeleton, max_people
        self._networks: dict[str, Eye | OnnxModel] = {}  # by model
        # Made now, so that what does not work is refused before the first frame.
        self._ready = {number: self._new(choice) for number, choice in enumerate(self._choices)}

    def choice_of(self, number: int) -> Any:
        """What the user has chosen for a stream."""
        return self._choices[number]

    def of_stream(self, number: int) -> Estimator:
        """The estimator of one stream, new where it is ours. It is to be called where the others are, in one thread."""
        return self._ready.pop(number, None) or self._new(self._choices[number])

    def _new(self, choice: Any) -> Estimator:
        skeleton, max_people = self._skeleton, self._max_people
        if not is_pose_model(choice) or self._eye_mode != "follow" or skeleton == SMPL_24.name:
            return stream_estimator(choice, None, skeleton, max_people=max_people, eye=self._eye_mode)
        model = str(choice or DEFAULT_MODEL)
        if model not in self._networks:
            self._networks[model] = open_network(model)
        return estimator_of(self._networks[model], max_people=max_people)

    def renew(self) -> bool:
        """Give up networks that hang, for new ones with the next look. Those of a user cannot be made anew."""
        if self.is_own:
            self._networks = {}
        return self.is_own

    def close(self) -> None:
        """Free the networks."""
        for network in self._networks.values():
            network.close()
