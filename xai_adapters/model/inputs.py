"""Copies of rows lent to a model, in the precision that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def in_precision_of(model: Any, rows: Tensor) -> Tensor:
    """Rows in the dtype of a module's weights; as they are for any other model.

    Example:
        >>> import torch
        >>> in_precision_of(nn.Linear(2, 2).double(), torch.zeros(1, 2)).dtype
        torch.float64
    """
    if isinstance(model, nn.Module) and rows.is_floating_point():
        for weights in model.parameters():
            if weights.is_floating_point():
                return rows.to(weights.dtype)
    return rows


def ask_with_copies(model: Any, ask: Callable[..., Any], *rows: Tensor) -> Any:
    """The answer to copies of rows as they are or, if a module refuses them, in its precision.

    A module that takes more precision than its weights have, to scale times or amounts itself,
    gets all of it.

    Args:
        model: that answers.
        ask: called with the copies.
        *rows: one or more tensors (n, ...).
    """
    try:
        return ask(*(each.clone() for each in rows))
    except RuntimeError:
        own = [in_precision_of(model, each.clone()) for each in rows]
        if all(one.dtype == each.dtype for one, each in zip(own, rows, strict=True)):
            raise
        return ask(*own)
