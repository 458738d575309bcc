"""`awaited`: the people of an estimator that answers later, through a future, from a thread, a process or a socket."""

from __future__ import annotations

import inspect
import math
from concurrent.futures import Future, wait
from typing import Any

from mixsynth_stream.errors import ModelError

# An answer that has not come after so long is given up, and the next look is asked for. Live streams give up every look
# a little later (pipeline/looks.py), and then wait for the call to end.
ANSWER_LIMIT_S = 4.5


def awaited(answer: Any, patience_s: float = ANSWER_LIMIT_S) -> Any:
    """The answer itself, or what a `concurrent.futures.Future` of it gives, or raises.

    Raises `TimeoutError` where it has not come after `patience_s` seconds. What comes later is left alone, so that
    whoever sets it is not disturbed.
    """
    if isinstance(answer, Future):
        if not wait([answer], patience_s).done:
            raise TimeoutError(f"no answer within {patience_s:g} s: give the estimator more patience_s, or mend it")
        return answer.result()
    if inspect.isawaitable(answer):
        close = getattr(answer, "close", None)
        if callable(close):
            close()  # a coroutine that nobody awaits would be told by Python itself
        raise ModelError(
            f"an estimator must return a list of people or a concurrent.futures.Future of one, found "
            f"{type(answer).__name__}: start it with asyncio.run_coroutine_threadsafe, which gives such a future"
        )
    return answer


def patience_of(estimator: Any) -> float:
    """How long an answer of this estimator is waited for: its attribute `patience_s`, or the usual limit."""
    patience_s = getattr(estimator, "patience_s", ANSWER_LIMIT_S)
    if isinstance(patience_s, bool) or not isinstance(patience_s, int | float) or not 0 < patience_s < math.inf:
        raise ModelError(f"an estimator's patience_s must be finite seconds above 0, found {patience_s!r}")
    return float(patience_s)
