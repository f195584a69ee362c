"""Rows in the precision in which a model computes."""

from __future__ import annotations

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
