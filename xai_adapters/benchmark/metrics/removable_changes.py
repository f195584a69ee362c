"""How many changes of a counterfactual are needless."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.counterfactual_metric import Counterfactuals, DistanceMetric
from xai_adapters.benchmark.metrics.metric import register


@register
class RemovableChanges(DistanceMetric):
    """How many changed features can be undone, each alone, without losing the new class.

    Over the rows that changed their class.
    """

    name = "removable_changes"
    title = "removable"
    source = "xai-adapters"
    order = 86

    def distance(self, counterfactuals: Counterfactuals) -> Tensor:
        """(n,), asking the model about each changed feature of each valid row."""
        given, reference = counterfactuals, counterfactuals.reference
        schema, c = reference.schema, reference.n_numbers
        before, after = schema.encode(given.before), schema.encode(given.after)
        n_removable = torch.zeros(len(before), dtype=torch.int64)
        bounds = torch.tensor((0, *schema.group_sizes)).cumsum(0) + c
        for feature in range(given.changed.shape[1]):
            rows = (given.changed[:, feature] & given.valid).nonzero()[:, 0]
            if not len(rows):
                continue
            columns = slice(feature, feature + 1)
            if feature >= c:
                columns = slice(int(bounds[feature - c]), int(bounds[feature - c + 1]))
            undone = after[rows].clone()
            undone[:, columns] = before[rows][:, columns]
            new_class = given.predict(schema.decode(undone).to(given.before.dtype))
            n_removable[rows.cpu()] += (new_class != given.original_class[rows]).cpu()
        return n_removable.to(given.before.device)
