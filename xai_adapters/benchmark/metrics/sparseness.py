"""How few features an attribution points at."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import (
    AttributionMetric,
    Attributions,
    relevance,
)
from xai_adapters.benchmark.metrics.metric import register


@register
class Sparseness(AttributionMetric):
    """Gini index of the scores' magnitudes: 0 if all features matter alike, near 1 if few matter.

    Being easy to read is not being right.
    """

    name = title = "sparseness"
    higher_is_better = None
    inputs = ("scores",)
    source = "Chalasani et al. 2020"
    default_on = ("image", "tabular")
    order = 40

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        return gini_index(relevance(attributions.scores, by_magnitude=True).double())


def gini_index(sizes: Tensor) -> Tensor:
    """Gini index (n,) of non-negative values (n, d); 0 for values that are all zero.

    Example:
        >>> gini_index(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist()
        [0.0, 0.5]
    """
    sizes = sizes.sort(dim=1).values
    n = sizes.shape[1]
    place = torch.arange(1, n + 1, dtype=sizes.dtype, device=sizes.device)
    share = sizes / sizes.sum(dim=1, keepdim=True).clamp(min=torch.finfo(sizes.dtype).tiny)
    return (share * (2 * place - n - 1)).sum(dim=1) / n
