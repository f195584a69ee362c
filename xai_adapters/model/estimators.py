"""Estimators: what they say of themselves, and methods called through a function of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def is_regressor(estimator: object) -> bool:
    """Whether an estimator says that it predicts numbers; scikit-learn is not imported for it."""
    if getattr(estimator, "_estimator_type", None) == "regressor":
        return True
    base = sys.modules.get("sklearn.base")
    if base is None or not hasattr(estimator, "predict"):
        return False
    try:
        return bool(base.is_regressor(estimator))
    except Exception:
        # A class that only looks like an estimator may say nothing of itself.
        return False


def wrap_method(call: Callable[[Any, Any], Any], name: str, attribute: Any) -> Any:
    """An estimator's attribute; `predict` and `predict_proba` are called as `call(method, rows)`.

    A wrapped method keeps its name, because a method called `predict_proba` is known to return
    probabilities.
    """
    if name not in ("predict_proba", "predict"):
        return attribute
    return update_wrapper(partial(call, attribute), attribute)
