"""Kit: the networks of several jobs with the same options, loaded once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mixsynth_stream.job.models import estimator_choice, load_models
from mixsynth_stream.job.options import JobOptions
from mixsynth_stream.job.settings import settings_of

if TYPE_CHECKING:
    from mixsynth_stream.weights import Model


class Kit:
    """What jobs of files share, one after the other: `with Kit(options) as kit: process(..., kit=kit)`.

    Everything is loaded when it is first needed. Whom an estimator follows is each job's own, so that the results are
    those of jobs without a kit. Raises `ModelError` and `ValueError` as the job does.
    """

    def __init__(self, options: JobOptions) -> None:
        self._options = options
        self._network: Any = None

    @cached_property
    def models(self) -> tuple[Model, ...] | None:
        """The networks that the options name; None for those that ship."""
        return load_models(self._options) if self._options.weights else None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that results depend on, for their headers."""
        return settings_of(self._options)

    def estimator(self) -> Any:
        """What a Stream takes as the estimator of one job: new, over the pose model that all share."""
        from mixsynth_stream.pipeline.estimators.bundle import DEFAULT_MODEL
        from mixsynth_stream.pipeline.estimators.choose import DEFAULT_EYE, estimator_of, is_pose_model, open_network

        options = self._options
        is_shared = is_pose_model(options.pose_model) and (options.eye or DEFAULT_EYE) == DEFAULT_EYE
        if options.estimates is not None or not is_shared:
            return estimator_choice(options)
        if self._network is None:
            self._network = open_network(options.pose_model or DEFAULT_MODEL)
        return estimator_of(self._network, max_people=options.max_people)

    def close(self) -> None:
        """Free the pose model."""
        if self._network is not None:
            self._network.close()
            self._network = None

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
