"""How near counterfactuals are to training rows of their new class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.counterfactual_metric import Counterfactuals, DistanceMetric
from xai_adapters.benchmark.metrics.metric import register

N_NEIGHBOURS = 5
# Rows whose distances to all training rows are held at once.
_BATCH = 1024


@register
class NeighbourDistance(DistanceMetric):
    """Mean distance to the five nearest training rows of the new class; small is plausible.

    Over the rows that changed their class.
    """

    name = "neighbour_distance"
    title = "to neighbours"
    order = 87

    def distance(self, counterfactuals: Counterfactuals) -> Tensor:
        """(n,), NaN where no training row has the new class."""
        return _of_new_class(counterfactuals, _mean_distance)


@register
class LogDensity(DistanceMetric):
    """Logarithm of a kernel density estimate from training rows of the new class.

    Large is plausible. Over the rows that changed their class.
    """

    name = "log_density"
    title = "log density"
    higher_is_better = True
    range = (None, None)
    source = "Scott 1992"
    order = 88

    def distance(self, counterfactuals: Counterfactuals) -> Tensor:
        """(n,), NaN where no training row has the new class.

        It leaves out a constant that is the same for all rows of a class.
        """
        return _of_new_class(counterfactuals, _log_density)


def _of_new_class(
    counterfactuals: Counterfactuals, summarise: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """(n,) a summary of distances (n, m) to training rows of the new class, in e dimensions."""
    reference, new_class = counterfactuals.reference, counterfactuals.new_class
    points = reference.as_points(counterfactuals.after)
    values = torch.full((len(points),), torch.nan, dtype=points.dtype, device=points.device)
    for label in new_class.unique():
        own = reference.points[reference.labels == label]
        if len(own):
            for rows in (new_class == label).nonzero()[:, 0].split(_BATCH):
                values[rows] = summarise(torch.cdist(points[rows], own), own.shape[1])
    return values


def _mean_distance(distances: Tensor, n_dimensions: int) -> Tensor:
    n = min(N_NEIGHBOURS, distances.shape[1])
    return distances.topk(n, largest=False).values.mean(dim=1)


def _log_density(distances: Tensor, n_dimensions: int) -> Tensor:
    """Of Gaussian kernels whose bandwidth follows Scott's rule."""
    n = distances.shape[1]
    bandwidth = n ** (-1 / (n_dimensions + 4))
    scaled = -(distances**2) / (2 * bandwidth**2)
    return torch.logsumexp(scaled, dim=1) - torch.tensor(float(n)).log()
