"""Checks of boxes around rows, and the same boxes made smaller."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.rows import require_finite


def check_box(x: Tensor, lower: Tensor, upper: Tensor) -> None:
    """Raise `InvalidInputError` unless `lower` <= x <= `upper`, in the shape and type of x."""
    for name, bound in (("lower", lower), ("upper", upper)):
        if bound.shape != x.shape or bound.dtype != x.dtype:
            raise InvalidInputError(
                f"{name} must be {x.dtype} of shape {tuple(x.shape)} like the rows, is "
                f"{bound.dtype} of shape {tuple(bound.shape)}"
            )
        require_finite(bound, name)
    outside = ~((lower <= x) & (x <= upper)).flatten(1).all(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        raise InvalidInputError(
            f"a box must contain its row, lower <= x <= upper; that of row {row} does not"
        )


def scaled_box(x: Tensor, lower: Tensor, upper: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The bounds of [x - s (x - lower), x + s (upper - x)].

    Boxes of larger scale contain those of smaller scale, rounding included.

    Args:
        x: (n, ...) rows.
        lower: (n, ...) lower bounds.
        upper: (n, ...) upper bounds.
        scale: (n,) s in [0, 1].

    Example:
        >>> x = torch.tensor([[1.0, 1.0]])
        >>> low, high = scaled_box(x, x - 1, x + 2, torch.tensor([0.5]))
        >>> low.tolist(), high.tolist()
        ([[0.5, 0.5]], [[2.0, 2.0]])
    """
    s = scale.to(x).view(-1, *(1,) * (x.ndim - 1))
    low = torch.maximum(lower, x - s * (x - lower))
    high = torch.minimum(upper, x + s * (upper - x))
    return torch.where(s < 1, low, lower), torch.where(s < 1, high, upper)
