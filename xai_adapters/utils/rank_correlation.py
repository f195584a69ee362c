"""Spearman's rank correlation of rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def average_ranks(values: Tensor) -> Tensor:
    """Ranks from 0 within each row (n, d); equal values share the mean of their ranks.

    Example:
        >>> average_ranks(torch.tensor([[3.0, 1.0, 3.0, 9.0]])).tolist()
        [[1.5, 0.0, 1.5, 3.0]]
    """
    ordered = values.contiguous().sort(dim=1).values
    below = torch.searchsorted(ordered, values.contiguous())
    through = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (below + through - 1).double() / 2


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation (n,) of rows (n, d), in float64.

    Where it is not defined, it is 1 for two constant rows, which order nothing alike, and 0 for one
    beside another that is not constant.

    Example:
        >>> found = rank_correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[9.0, 6, 5]]))
        >>> round(found.item(), 6)
        -1.0
    """
    a, b = (average_ranks(each) for each in (first, second))
    same = (a == b).all(dim=1)
    a, b = (each - each.mean(dim=1, keepdim=True) for each in (a, b))
    return cosine_similarity(a, b, dim=1).masked_fill(same, 1.0)
