"""Estimators with methods that are called through a function of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def wrap_method(call: Callable[[Any, Any], Any], name: str, attribute: Any) -> Any:
    """An estimator's attribute; `predict` and `predict_proba` are called as `call(method, rows)`.

    A wrapped method keeps its name, because a method called `predict_proba` is known to return
    probabilities.
    """
    if name not in ("predict_proba", "predict"):
        return attribute
    return update_wrapper(partial(call, attribute), attribute)
