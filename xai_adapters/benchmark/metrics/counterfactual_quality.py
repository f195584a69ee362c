"""How good counterfactuals are: pure functions of rows before and after, one value a row.

Distances are measured on rows where the black box's class changed: an explainer that fails on hard
rows must not look nearer for it. NaN stands for "not measured on this row".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from xai_adapters.features.schema import FeatureSchema

N_NEIGHBOURS = 5
# Smaller changes, in standard deviations, are rounding: hosts hand rows through text and float64.
_ROUNDING = 1e-4
_BLOCK = 1024


@dataclass(frozen=True)
class Reference:
    """The rows that explainers learned from: they give the units, and what is plausible.

    Args:
        schema: what the columns are, and how each feature may change.
        rows: (m, d) training rows.
        labels: (m,) the black box's class of each.
    """

    schema: FeatureSchema
    rows: Tensor
    labels: Tensor

    @cached_property
    def encoded(self) -> Tensor:
        """(m, e) the rows, encoded, in float64."""
        return self.schema.encode(self.rows).double()

    @cached_property
    def deviation(self) -> Tensor:
        """(c,) standard deviation of each number; 1 for a constant."""
        if not self._c:
            return self.encoded.new_ones(0)
        spread = self.encoded[:, : self._c].std(dim=0)
        return torch.where(spread > 0, spread, 1.0)

    @cached_property
    def absolute_deviation(self) -> Tensor:
        """(c,) median absolute deviation of each number; the standard deviation where it is 0."""
        numbers = self.encoded[:, : self._c]
        found = (numbers - numbers.median(dim=0).values).abs().median(dim=0).values
        return torch.where(found > 0, found, self.deviation)

    @cached_property
    def known(self) -> Tensor:
        """(m, e) the rows as points; see `places`."""
        return self.places(self.rows)

    @property
    def _c(self) -> int:
        return len(self.schema.continuous)

    def places(self, rows: Tensor) -> Tensor:
        """Rows (n, d) as points (n, e) whose distance is the metric of all nearness here.

        The squared distance of two points is the sum of their numbers' squared differences in
        standard deviations, plus 1 for each category that differs.
        """
        encoded = self.schema.encode(rows).double()
        numbers = encoded[:, : self._c] / self.deviation
        return torch.cat((numbers, encoded[:, self._c :] / 2**0.5), dim=1)

    def changed(self, before: Tensor, after: Tensor) -> Tensor:
        """(n, features) bool: which features changed, numbers first, then categories."""
        moved = (self.places(after) - self.places(before)).abs() > _ROUNDING
        categories = [
            group.any(dim=1, keepdim=True)
            for group in moved[:, self._c :].split(list(self.schema.group_sizes), dim=1)
        ]
        return torch.cat((moved[:, : self._c], *categories), dim=1)


def quality(
    reference: Reference,
    before: Tensor,
    after: Tensor,
    original_class: Tensor,
    labels: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Everything that is measured of counterfactuals.

    Args:
        reference: training rows with the black box's classes.
        before: (n, d) the rows.
        after: (n, d) what an explainer made of them.
        original_class: (n,) the black box's class of each row before.
        labels: gives the black box's class (m,) of rows (m, d).

    Returns:
        (n,) float64 values by metric, NaN where the class did not change, except for validity and
        violations, which every row has. What there are none of, numbers or categories, has no
        metrics.
    """
    reached = labels(after)
    valid = reached != original_class
    changed = reference.changed(before, after)
    c = len(reference.schema.continuous)
    encoded = [reference.schema.encode(rows).double()[:, :c] for rows in (before, after)]
    moved = (encoded[1] - encoded[0]).abs()
    distances = {
        "changed_features": changed.sum(dim=1),
        "removable_changes": removable_changes(
            reference, before, after, original_class, valid, labels
        ),
        **plausibility(reference, after, reached),
    }
    if c:
        in_deviations = moved / reference.deviation
        distances |= {
            "l1": in_deviations.sum(dim=1),
            "l1_mad": (moved / reference.absolute_deviation).sum(dim=1),
            "l2": in_deviations.norm(dim=1),
            "linf": in_deviations.amax(dim=1),
        }
    if c < changed.shape[1]:
        distances["changed_categories"] = changed[:, c:].sum(dim=1)
    measured = {
        name: values.double().masked_fill(~valid, torch.nan) for name, values in distances.items()
    }
    return {
        "validity": valid.double(),
        **measured,
        "violations": violations(reference, before, after).double(),
    }


def removable_changes(
    reference: Reference,
    before: Tensor,
    after: Tensor,
    original_class: Tensor,
    valid: Tensor,
    labels: Callable[[Tensor], Tensor],
) -> Tensor:
    """(n,) how many changed features can, each alone, be put back without losing the flip."""
    schema = reference.schema
    encoded, changed = schema.encode(before), reference.changed(before, after)
    proposed, n_removable = schema.encode(after), torch.zeros(len(before), dtype=torch.int64)
    c = len(schema.continuous)
    ends = torch.tensor((0, *schema.group_sizes)).cumsum(0) + c
    for feature in range(changed.shape[1]):
        some = (changed[:, feature] & valid).nonzero()[:, 0]
        if not len(some):
            continue
        columns = slice(feature, feature + 1)
        if feature >= c:
            columns = slice(int(ends[feature - c]), int(ends[feature - c + 1]))
        tried = proposed[some].clone()
        tried[:, columns] = encoded[some][:, columns]
        still = labels(schema.decode(tried).to(before.dtype)) != original_class[some]
        n_removable[some.cpu()] += still.cpu()
    return n_removable.to(before.device)


def plausibility(reference: Reference, after: Tensor, reached: Tensor) -> dict[str, Tensor]:
    """How near to training rows of the class they reached (n,) the rows (n, d) are.

    `neighbour_distance` is the mean distance to the five nearest; `log_density` the logarithm of a
    Gaussian kernel estimate over them all, its bandwidth by Scott's rule, up to a constant that is
    the same for all rows of a class.
    """
    points = reference.places(after)
    distance = torch.full((len(after),), torch.nan, dtype=points.dtype, device=after.device)
    density = distance.clone()
    for label in reached.unique():
        own = reference.known[reference.labels == label]
        if not len(own):
            continue
        bandwidth = len(own) ** (-1 / (own.shape[1] + 4))
        for some in (reached == label).nonzero()[:, 0].split(_BLOCK):
            apart = torch.cdist(points[some], own)
            nearest = apart.topk(min(N_NEIGHBOURS, len(own)), largest=False).values
            distance[some] = nearest.mean(dim=1)
            scaled = -(apart**2) / (2 * bandwidth**2)
            density[some] = scaled.logsumexp(dim=1) - torch.tensor(float(len(own))).log()
    return {"neighbour_distance": distance, "log_density": density}


def violations(reference: Reference, before: Tensor, after: Tensor) -> Tensor:
    """(n,) features of each row that are not as the schema allows: settling would move them."""
    schema = reference.schema
    settled = schema.decode(schema.settle(schema.encode(before), schema.encode(after)))
    return reference.changed(after, settled.to(after.dtype)).sum(dim=1)
