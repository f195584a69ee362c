"""How far explainers agree with one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from xai_adapters.benchmark.results.results import Agreement
from xai_adapters.utils.rank_correlation import rank_correlation


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
