"""How far explainers agree with one another: a matrix, reported beside the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from xai_adapters.utils.rank_correlation import rank_correlation


@dataclass
class Agreement:
    """How far every two explainers agree: `values[i][j]` is of `names[i]` and `names[j]`."""

    title: str
    description: str
    names: list[str]
    values: list[list[float]]


def agreements(scores: Mapping[str, Tensor], relevances: Mapping[str, Tensor]) -> list[Agreement]:
    """Mean rank correlation and cosine of every two explainers, over the rows that both explained.

    Args:
        scores: (n, d) by name, for the cosine. Explainers that ran out of time have fewer rows,
            always the first ones.
        relevances: (n, d) by name, for the rank correlation.
    """
    if len(scores) < 2:
        return []
    names = list(scores)
    return [
        Agreement(
            "rank correlation",
            "Spearman's correlation of the relevance of a row's features, mean over the rows.",
            names,
            _matrix([relevances[name] for name in names], rank_correlation),
        ),
        Agreement(
            "cosine",
            "Cosine of the scores of a row, mean over the rows.",
            names,
            _matrix(
                [scores[name] for name in names],
                lambda a, b: cosine_similarity(a.double(), b.double(), dim=1),
            ),
        ),
    ]


def _matrix(
    each: Sequence[Tensor], similarity: Callable[[Tensor, Tensor], Tensor]
) -> list[list[float]]:
    means = torch.eye(len(each), dtype=torch.float64)
    for a, b in combinations(range(len(each)), 2):
        n = min(len(each[a]), len(each[b]))
        means[a, b] = means[b, a] = similarity(each[a][:n], each[b][:n]).mean()
    matrix: list[list[float]] = means.tolist()
    return matrix
