"""What a predictor answered: class outputs, wherever they stand in the answer, or labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from xai_adapters.errors import PredictorError


def class_outputs(answer: Any, who: str = "the predictor") -> Any:
    """The class outputs in an answer: itself, its `logits`, or its only entry.

    Args:
        answer: a tensor, array or list; or a mapping, tuple or object that holds one.
        who: that answered, for the message.

    Raises:
        PredictorError: for several entries of which none is called `logits`.

    Example:
        >>> class_outputs({"logits": [[0.1, 0.9]], "loss": None})
        [[0.1, 0.9]]
    """
    if isinstance(answer, (Tensor, np.ndarray)):
        return answer
    if isinstance(answer, Mapping):
        if "logits" in answer:
            return answer["logits"]
        if len(answer) == 1:
            return next(iter(answer.values()))
        entries = ", ".join(repr(name) for name in list(answer)[:8])
        raise PredictorError(_unclear(who, type(answer).__name__, f"with the entries {entries}"))
    logits = getattr(answer, "logits", None)
    if isinstance(logits, (Tensor, np.ndarray)):
        return logits
    if isinstance(answer, tuple) and any(isinstance(e, (Tensor, np.ndarray)) for e in answer):
        if len(answer) == 1:
            return answer[0]
        raise PredictorError(_unclear(who, type(answer).__name__, f"of {len(answer)} entries"))
    return answer


def _unclear(who: str, kind: str, what: str) -> str:
    return (
        f"{who} returned a {kind} {what}, none of which is called 'logits'; wrap it in a function "
        "that returns its class outputs alone"
    )


def as_array(answer: Any) -> np.ndarray[Any, Any]:
    """A predictor's answer that is no tensor, as an array.

    Raises:
        PredictorError: for what is no array, such as a generator or lists of several lengths.
    """
    try:
        array = np.asarray(answer)
    except ValueError as error:
        raise PredictorError(
            "the predictor returned lists of several lengths; one row of class outputs for each "
            "row was expected"
        ) from error
    if array.dtype == object and array.ndim == 0:
        raise PredictorError(
            f"the predictor returned a {type(answer).__name__}; an array or tensor with one answer "
            "for each row was expected"
        )
    return array


def sorted_labels(labels: np.ndarray[Any, Any]) -> list[Any]:
    """The labels that occur, in their order.

    Raises:
        PredictorError: for labels that have none, as text and numbers do.
    """
    if labels.dtype == bool:
        return [False, True]
    try:
        return list(np.unique(labels).tolist())
    except TypeError as error:
        types = ", ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise PredictorError(
            f"the predictor returned labels of several types ({types}), which have no order; name "
            "all of them with classes="
        ) from error


def check_labels(labels: np.ndarray[Any, Any]) -> None:
    """Raise `PredictorError` for labels that are None or NaN."""
    if labels.dtype.kind in "Of":
        missing = np.array([label is None or label != label for label in labels.tolist()])
        if missing.any():
            raise PredictorError(
                f"{int(missing.sum())} of {len(labels)} labels are None or NaN, first that of row "
                f"{int(missing.argmax())}; leave out these rows"
            )
