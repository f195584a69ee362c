"""How explainers that answer with attributions are called, and what they answer.

An explainer under test may have Captum's `attribute(inputs, target=...)` or the registry's
`explain(rows, target)`, or be a callable of `(inputs, target=...)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_adapters.errors import XaiAdaptersError


class UnusableAnswerError(XaiAdaptersError, TypeError):
    """An explainer returned something that is not a number for each feature of each row."""


def attributing(made: Any) -> Callable[..., Any]:
    """However an explainer is called, as a function of (inputs, target).

    Raises:
        UnusableAnswerError: for something that cannot be called for attributions.
    """
    for method in ("attribute", "explain"):
        if hasattr(made, method):
            made = getattr(made, method)
            break
    if not callable(made):
        raise UnusableAnswerError(
            f"make returned a {type(made).__name__}; an object with attribute(inputs, target=...) "
            "or explain(rows, target), or a callable of (inputs, target=...) was expected"
        )
    call: Callable[..., Any] = made
    return lambda inputs, target: call(inputs, target=target)


def answered(answer: Any, rows: Tensor) -> Tensor:
    """An explainer's answer as float64 (n, d).

    Raises:
        UnusableAnswerError: if it is not one number for each feature of each row.
    """
    if isinstance(answer, tuple) and len(answer) == 1:
        (answer,) = answer
    try:
        values = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        raise UnusableAnswerError(
            f"the explainer returned a {type(answer).__name__}; a tensor shaped like the rows was "
            "expected"
        ) from None
    if values.shape != rows.shape:
        raise UnusableAnswerError(
            f"the explainer returned shape {tuple(values.shape)} for rows of shape "
            f"{tuple(rows.shape)}; one number for each feature of each row was expected"
        )
    return values.detach().to(torch.float64)
