"""Alibi's calling convention: its classes, the forms of its arguments, explanations as JSON.

Where Alibi is installed the base classes are its own; otherwise small ones with the same fields
take their place. Only this file imports Alibi.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

import xai_adapters
from xai_adapters.errors import InvalidInputError, NotApplicableError
from xai_adapters.features.array_black_box import like_rows

if TYPE_CHECKING or find_spec("alibi") is None:

    class Explainer(ABC):
        """Base of explainers; the entries of `meta` are attributes too."""

        def __init__(self, meta: dict[str, Any]) -> None:
            meta |= {"name": type(self).__name__, "version": xai_adapters.__version__}
            self.meta = meta
            vars(self).update(meta)

        @abstractmethod
        def explain(self, X: Any) -> Any:
            """Explain rows."""

    class FitMixin(ABC):
        """Base of explainers that are fitted."""

        @abstractmethod
        def fit(self, X: Any) -> Any:
            """Fit to rows; returns the explainer."""

    class _Explanation:
        def __init__(self, meta: dict[str, Any], data: dict[str, Any]) -> None:
            self.meta, self.data = meta, data
            vars(self).update(ChainMap(meta, data))

        def __repr__(self) -> str:
            return f"{type(self).__name__}(meta={self.meta!r}, data={self.data!r})"

        def __getitem__(self, item: str) -> Any:
            return getattr(self, item)

else:
    from alibi.api.interfaces import Explainer, FitMixin
    from alibi.api.interfaces import Explanation as _Explanation

__all__ = ["Explainer", "Explanation", "FitMixin"]

TargetClass: TypeAlias = Literal["other"] | int | Sequence[int] | np.ndarray[Any, Any] | Tensor


class Explanation(_Explanation):
    """Alibi's explanation: `meta` and `data`, with their entries as attributes too.

    Its JSON is strict, whatever numpy's version.

    Example:
        >>> found = Explanation(meta={"name": "some"}, data={"cf": None, "X": np.array([0.5])})
        >>> found.to_json()
        '{"meta": {"name": "some"}, "data": {"cf": null, "X": [0.5]}}'
        >>> Explanation.from_json(found.to_json()).X
        [0.5]
    """

    def to_json(self) -> str:
        """Return the explanation as strict JSON; arrays become lists, NaN and infinity null."""
        return json.dumps(plain({"meta": self.meta, "data": self.data}), allow_nan=False)

    @classmethod
    def from_json(cls, jsonrepr: str) -> Explanation:
        """Return the explanation with this JSON; as in Alibi, arrays stay lists.

        Raises:
            InvalidInputError: for anything but the JSON of an explanation.
        """
        try:
            fields = json.loads(jsonrepr)
            return cls(meta=fields["meta"], data=fields["data"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InvalidInputError(f"this is not an explanation's JSON: {error!r}") from error


def plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it; what JSON does not have becomes text.

    Example:
        >>> plain({np.int64(1): np.array([1.5, np.nan]), "ok": np.bool_(True)})
        {'1': [1.5, None], 'ok': True}
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(held) for key, held in value.items()}
    if isinstance(value, Collection):
        return [plain(held) for held in value]
    return str(value)


def default_meta(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that Alibi's base classes complete."""
    return {
        "name": None,
        "type": ["blackbox"],
        "explanations": ["local"],
        "params": {"xai_adapters": xai_adapters.__version__, **plain(params)},
        "version": None,
    }


def require_predictor(predictor: Any) -> Any:
    """Return a predictor, or raise `NotApplicableError`, a `TypeError`, if it cannot be called."""
    asked = any(callable(getattr(predictor, name, None)) for name in ("predict_proba", "predict"))
    if not (asked or callable(predictor)):
        raise NotApplicableError(
            "predictor must be a function that returns (n, C) class probabilities, a torch module, "
            f"or an estimator with predict_proba or predict; it is {predictor!r:.60}, of type "
            f"{type(predictor).__name__}"
        )
    return predictor


def one_predictor(**given: Any) -> Any:
    """Return the predictor, which Alibi's explainers call by several names.

    Raises:
        NotApplicableError: unless exactly one is given, and can be called.
    """
    found = {name: value for name, value in given.items() if value is not None}
    if len(found) != 1:
        raise NotApplicableError(
            f"one predictor is needed, as one of {', '.join(given)}; {len(found)} were given"
        )
    return require_predictor(*found.values())


def check_target(target_class: Any) -> None:
    """Raise `InvalidInputError` for a target class that cannot be one."""
    if target_class is None or (isinstance(target_class, str) and target_class != "other"):
        raise InvalidInputError(
            f"target_class must be 'other', a class number, or one for each row, is "
            f"{target_class!r:.60}"
        )


def class_numbers(target_class: Any, n_rows: int, n_classes: int) -> Tensor | None:
    """Return the class (n,) each row should reach, None for any other than its own.

    Args:
        target_class: "other", a class number, (n,) of them, or (n, C) with the largest entry at
            the class, as CounterfactualRL takes its `Y_t`.
        n_rows: n.
        n_classes: C.

    Raises:
        InvalidInputError: for anything else.

    Example:
        >>> class_numbers([[0.0, 1.0]], 1, 2)
        tensor([1])
    """
    check_target(target_class)
    if isinstance(target_class, str):
        return None
    try:
        classes = torch.as_tensor(target_class)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"target_class must be numbers, is {target_class!r:.60}") from error
    if classes.ndim == 2 and classes.shape[1] == n_classes > 1:
        classes = classes.argmax(dim=1)
    classes = classes.flatten()
    if (
        classes.is_floating_point()
        or classes.dtype == torch.bool
        or len(classes) not in (1, n_rows)
    ):
        raise InvalidInputError(
            f"target_class must be 'other', a class number, or one for each of {n_rows} rows, is "
            f"{target_class!r:.60}"
        )
    outside = (classes < 0) | (classes >= n_classes)
    if outside.any():
        raise InvalidInputError(
            f"target_class {int(classes[outside][0])} is not one of the classes 0 to "
            f"{n_classes - 1}"
        )
    return classes.to(torch.int64).expand(n_rows)


def counterfactual_data(
    rows: Tensor,
    shape: tuple[int, ...],
    before: Tensor,
    candidates: Tensor,
    after: Tensor,
    target: Tensor | None,
) -> dict[str, Any]:
    """Return an explanation's data as Alibi's counterfactual explainers lay it out.

    Args:
        rows: (n, d) what was explained.
        shape: of one row for the host.
        before: (n, C) class probabilities of the rows.
        candidates: (n, d) where another class was sought.
        after: (n, C) class probabilities of the candidates, which alone decide on success.
        target: (n,) classes to reach, None for any other.

    Returns:
        `cf`, `all`, `orig_class`, `orig_proba` and `success`. For a single row, classes, distance,
        index and success are plain numbers, and `cf` is None if none was found.
    """
    original_class, reached = before.argmax(dim=1), after.argmax(dim=1)
    success = reached != original_class if target is None else reached == target
    found = torch.where(success[:, None], candidates, rows)
    # A black box that returns labels may have returned a new one.
    known = torch.nn.functional.pad(before, (0, after.shape[1] - before.shape[1]))
    proba = torch.where(success[:, None], after, known)

    def plain_if_one(values: Tensor) -> Any:
        return values.item() if len(values) == 1 else values.cpu().numpy()

    cf = {
        "X": like_rows(found, shape),
        "class": plain_if_one(proba.argmax(dim=1)),
        "proba": like_rows(proba, (proba.shape[1],)),
        "distance": plain_if_one((found - rows).abs().sum(dim=1)),
        "index": plain_if_one(torch.arange(len(rows))),
    }
    return {
        "cf": None if len(rows) == 1 and not success else cf,
        "all": {0: []},
        "orig_class": plain_if_one(original_class),
        "orig_proba": like_rows(before, (before.shape[1],)),
        "success": plain_if_one(success),
    }
