"""How far explainers agree with one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from xai_adapters.benchmark.results import Agreement


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
    """Spearman's correlation (n,) of rows (n, d); 0 where one is constant."""
    a, b = (average_ranks(each) for each in (first, second))
    a, b = (each - each.mean(dim=1, keepdim=True) for each in (a, b))
    return cosine_similarity(a, b, dim=1)


def agreements(scores: Mapping[str, Tensor], relevances: Mapping[str, Tensor]) -> list[Agreement]:
    """Mean over the rows of the cosine and of the rank correlation, of every two explainers.

    Args:
        scores: (n, d) by name, whose directions are compared; the rows that two have in common
            are the first.
        relevances: (n, d) by name, whose orders are compared.
    """
    if len(scores) < 2:
        return []
    names = list(scores)
    return [
        Agreement(
            "rank correlation",
            "Spearman's correlation between the orders of a row's features by relevance, mean over "
            "the rows.",
            names,
            _matrix([relevances[name] for name in names], rank_correlation),
        ),
        Agreement(
            "cosine",
            "Cosine between the scores of a row, mean over the rows.",
            names,
            _matrix(
                [scores[name] for name in names],
                lambda a, b: cosine_similarity(a.double(), b.double(), dim=1),
            ),
        ),
    ]


def _matrix(each: Sequence[Tensor], alike: Callable[[Tensor, Tensor], Tensor]) -> list[list[float]]:
    found = torch.eye(len(each), dtype=torch.float64)
    for a, b in combinations(range(len(each)), 2):
        n = min(len(each[a]), len(each[b]))
        found[a, b] = found[b, a] = alike(each[a][:n], each[b][:n]).mean()
    matrix: list[list[float]] = found.tolist()
    return matrix
