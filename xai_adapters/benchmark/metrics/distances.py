"""How far counterfactuals are from their rows."""

from __future__ import annotations

from torch import Tensor

from xai_adapters.benchmark.metrics.counterfactual_metric import Counterfactuals, DistanceMetric
from xai_adapters.benchmark.metrics.metric import register


@register
class ChangedFeatures(DistanceMetric):
    """How many features changed, over the rows that changed their class."""

    name = "changed_features"
    title = "features changed"
    order = 80
    compared_on_common_rows = True

    def distance(self, counterfactuals: Counterfactuals) -> Tensor:
        """(n,)."""
        return counterfactuals.changed.sum(dim=1)


@register
class ChangedCategories(DistanceMetric):
    """How many categories changed, over the rows that changed their class."""

    name = "changed_categories"
    title = "categories changed"
    order = 81

    def distance(self, counterfactuals: Counterfactuals) -> Tensor | None:
        """(n,), or None without categories."""
        categories = counterfactuals.changed[:, counterfactuals.reference.n_numbers :]
        return categories.sum(dim=1) if categories.shape[1] else None


class _NumberDistance(DistanceMetric):
    """A distance of the numbers, in standard deviations."""

    unit = "sd"

    def distance(self, counterfactuals: Counterfactuals) -> Tensor | None:
        """(n,), or None without numbers."""
        if not counterfactuals.reference.n_numbers:
            return None
        return self.norm(counterfactuals.moved / self.scale(counterfactuals))

    def scale(self, counterfactuals: Counterfactuals) -> Tensor:
        """(c,) unit of each number."""
        return counterfactuals.reference.deviation

    def norm(self, moved: Tensor) -> Tensor:
        """Length (n,) of scaled changes (n, c)."""
        return moved.sum(dim=1)


@register
class L1(_NumberDistance):
    """Sum of the numbers' changes in standard deviations, over rows that changed their class."""

    name, title = "l1", "L1"
    order = 82
    compared_on_common_rows = True


@register
class L1MAD(_NumberDistance):
    """Sum of the numbers' changes in median absolute deviations.

    Over the rows that changed their class.
    """

    name, title = "l1_mad", "L1 / MAD"
    unit = ""
    source = "Wachter, Mittelstadt and Russell 2018"
    order = 83

    def scale(self, counterfactuals: Counterfactuals) -> Tensor:
        """(c,) median absolute deviation of each number."""
        return counterfactuals.reference.absolute_deviation


@register
class L2(_NumberDistance):
    """Euclidean length of the numbers' changes, over the rows that changed their class."""

    name, title = "l2", "L2"
    order = 84
    compared_on_common_rows = True

    def norm(self, moved: Tensor) -> Tensor:
        """(n,)."""
        length: Tensor = moved.norm(dim=1)
        return length


@register
class LInfinity(_NumberDistance):
    """Largest change of a number, over the rows that changed their class."""

    name, title = "linf", "L∞"
    order = 85

    def norm(self, moved: Tensor) -> Tensor:
        """(n,)."""
        return moved.amax(dim=1)
