"""Metrics that need more than one answer: of several seeds, or of another explainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from xai_adapters.benchmark.metrics.metric import Metric, register
from xai_adapters.benchmark.tasks.task import Task

LIME = "lime_tabular"


@dataclass(frozen=True)
class Explanations:
    """The scores of one explainer, beside those of the others.

    Args:
        task: model and rows.
        name: of the explainer.
        by_seed: (n, ...) scores for each seed.
        others: (n, ...) scores of every explainer for the first seed, by name. Explainers that ran
            out of time have fewer rows, always the first ones.
    """

    task: Task
    name: str
    by_seed: list[Tensor]
    others: Mapping[str, Tensor]


class ComparisonMetric(Metric[Explanations]):
    """A metric computed when all explainers are finished."""

    takes = Explanations
    higher_is_better = True
    range = (-1.0, 1.0)
    source = "Chapman-Rounds et al. 2021 (FIMAP)"


@register
class SeedStability(ComparisonMetric):
    """Mean cosine between the scores of an explainer made with different seeds."""

    name = "seed_stability"
    title = "stability"
    kind = "attribution"
    inputs = ("scores of several seeds",)
    order = 60

    def compute(self, explanations: Explanations) -> Tensor | None:
        """(n,), or None for a single seed."""
        if len(explanations.by_seed) < 2:
            return None
        pairs = combinations(explanations.by_seed, 2)
        return torch.stack([cosine(first, second) for first, second in pairs]).mean(dim=0)


@register
class CosineToLime(ComparisonMetric):
    """Mean cosine between the scores and lime_tabular's weights for the predicted class.

    It measures agreement with LIME, which is not the same as being right.
    """

    name = "cosine_to_lime"
    title = "cosine to LIME"
    kind = "tabular"
    inputs = ("scores", "LIME's scores")
    order = 61

    def compute(self, explanations: Explanations) -> Tensor | None:
        """(n,) for the rows that both explained, or None on images and without LIME."""
        lime = explanations.others.get(LIME)
        if explanations.task.kind != "tabular" or lime is None or explanations.name == LIME:
            return None
        own = explanations.by_seed[0]
        n = min(len(own), len(lime))
        return cosine(own[:n], lime[:n])


def cosine(scores: Tensor, reference: Tensor) -> Tensor:
    """Cosine (n,) between rows of two sets of scores (n, ...); 0 where one is all zeros."""
    return cosine_similarity(scores.flatten(1).double(), reference.flatten(1).double(), dim=1)
