"""Contenders: the ways to a pose for every frame that are compared, as settings of a Stream or of MediaPipe alone.

`bench pipeline`, `bench truth` and `evaluate --video --frontier` open what they compare through this file only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mixsynth_stream.errors import ModelError
from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL, MODELS, bundle_path, is_cut, official
from mixsynth_stream.pipeline.estimators.choose import DEFAULT_EYE, is_bundle, pose_estimator
from mixsynth_stream.pipeline.estimators.follow import FollowingEstimator
from mixsynth_stream.pipeline.estimators.mediapipe import MediaPipeEstimator
from mixsynth_stream.pipeline.estimators.onnx.yolo import YoloEstimator
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.presets import AUTO, DEFAULT_EVERY, SHIPPED_INTERVALS
from mixsynth_stream.spaces import GRID_HZ

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model

NOW, FILLED = QUESTIONS = ("now", "filled")
# Families of contenders, as tables and pictures name them.
DENSE, DENSE_CUT = "MediaPipe on every frame", "the same without its mask"
KEYFRAME, FOLLOWING, GLANCE = "whole picture at keyframes", "following", "following, glance"
SPARSE, BY_NEED = "following, needed pictures only", "keyframes by need"
# Estimator calls a second of the streams that choose their keyframes, which glance for that.
AUTO_BUDGETS_HZ = (2.0, 3.0, 4.5, 6.0)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to the poses of one person. `every` is None where MediaPipe tracks on every frame (VIDEO mode).

    `budget` is for keyframes that a Stream chooses (`every="auto"`): estimator calls a second. Without `pictures`
    nobody reads those of the frames, and files need not be decoded whole.
    """

    family: str = FOLLOWING
    model: str = DEFAULT_MODEL
    every: int | str | None = DEFAULT_EVERY
    budget: float | None = None
    eye: str = DEFAULT_EYE
    glance: bool = False
    pictures: bool = True
    default_of: tuple[str, ...] = ()  # the questions for which a user gets these settings without an option

    @property
    def is_dense(self) -> bool:
        """Whether MediaPipe looks at every frame, and there is no Stream."""
        return self.every is None

    @property
    def label(self) -> str:
        """What tells it from others of its family."""
        if self.is_dense:
            return self.model.removesuffix("-official")
        return f"N = {self.every}" if self.budget is None else f"{self.budget:g}/s"

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.family}: {self.label}"

    @property
    def questions(self) -> tuple[str, ...]:
        """What it answers: where pictures are left out, the source is a file, which has no present."""
        return QUESTIONS if self.pictures else (FILLED,)

    @property
    def interval_s(self) -> float:
        """Seconds between keyframes, on average where the Stream chooses them; 0 on every frame."""
        if isinstance(self.every, int):
            return self.every / GRID_HZ
        return 0.0 if self.budget is None else 1 / self.budget

    def facts(self) -> dict[str, Any]:
        """What rows of results say of it. The mask of a cut bundle is not computed."""
        return {
            "model": self.model,
            "bundle": bundle_path(self.model).name,
            "is_cut": is_cut(self.model),
            "eye": "video" if self.is_dense else self.eye,
            "glance": self.glance,
            "budget": self.budget,
            "pictures": self.pictures,
        }

    def same_poses(self) -> Contender:
        """The one that stands for all that give the same poses at another price."""
        model = official(self.model) if self.is_dense else self.model
        return replace(self, family="", model=model, pictures=True, default_of=())

    def open_stream(self, source: Any, *, lag: int = 1, models: Sequence[Model] | None = None) -> Stream:
        """A Stream with these settings; with networks of the user's own, `every` is theirs."""
        options: dict[str, Any] = {"every": DEFAULT_EVERY if self.every is None else self.every}
        if self.budget is not None:
            options["budget"] = self.budget
        if not self.pictures:
            options["pictures"] = False
        return Stream(
            source,
            **options,
            estimator=self.model,
            eye=self.eye,
            glance=self.glance,
            max_people=1,
            lag=lag,
            models=models,
        )

    def open_dense(self) -> MediaPipeEstimator | FollowingEstimator | YoloEstimator:
        """The pose model for every frame: MediaPipe as it tracks in videos, others as they look at keyframes."""
        if not is_bundle(self.model):
            return pose_estimator(self.model)
        return MediaPipeEstimator(self.model, mode="video")


# Streams that the frontier shows at each spacing of keyframes; `default_of` is for the default spacing only.
STREAMS = (
    Contender(family=KEYFRAME, model=official(DEFAULT_MODEL), eye="keyframe"),
    Contender(family=FOLLOWING),
    Contender(family=SPARSE, pictures=False, default_of=(FILLED,)),
    Contender(family=GLANCE, glance=True, default_of=(NOW,)),
)


def dense_contender(model: str = DEFAULT_MODEL) -> Contender:
    """What dense means in every comparison: the model as published, tracking, on every frame."""
    return Contender(family=DENSE, model=official(model), every=None)


def all_contenders() -> list[Contender]:
    """Every way that the frontier shows: MediaPipe's models, then ours family by family."""
    contenders = [dense_contender(model) for model in MODELS]
    contenders += [Contender(family=DENSE_CUT, model=model, every=None) for model in MODELS]
    for stream in STREAMS:
        for every in SHIPPED_INTERVALS:
            default_of = stream.default_of if every == DEFAULT_EVERY else ()
            contenders.append(replace(stream, every=every, default_of=default_of))
    budgets = (Contender(family=BY_NEED, every=AUTO, budget=budget, glance=True) for budget in AUTO_BUDGETS_HZ)
    return [*contenders, *budgets]


def installed(contenders: Sequence[Contender]) -> tuple[list[Contender], list[str]]:
    """Those whose pose model is there, and a sentence for each model that is missing."""
    available, sentences = [], []
    for contender in contenders:
        try:
            bundle_path(contender.model)
            available.append(contender)
        except ModelError as error:
            sentences.append(str(error))
    return available, list(dict.fromkeys(sentences))
