"""Whether counterfactuals keep to the schema."""

from __future__ import annotations

from torch import Tensor

from xai_adapters.benchmark.metrics.counterfactual_metric import (
    CounterfactualMetric,
    Counterfactuals,
)
from xai_adapters.benchmark.metrics.metric import NON_NEGATIVE, register


@register
class Violations(CounterfactualMetric[Counterfactuals]):
    """How many features of a row break the schema.

    They changed though immutable, left their bounds, moved in the wrong direction, or are not
    one-hot.
    """

    name = title = "violations"
    higher_is_better = False
    range = NON_NEGATIVE
    inputs = ("rows", "changed rows", "schema")
    source = "Pawelczyk et al. 2021 (CARLA)"
    order = 89

    def compute(self, counterfactuals: Counterfactuals) -> Tensor:
        """(n,) features that settling the row, as the schema demands, would move."""
        reference, after = counterfactuals.reference, counterfactuals.after
        schema = reference.schema
        settled = schema.settle(schema.encode(counterfactuals.before), schema.encode(after))
        return reference.changed(after, schema.decode(settled).to(after.dtype)).sum(dim=1).double()
