"""What metrics of counterfactuals are given, and their base classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.metric import NON_NEGATIVE, Given, Metric, Range
from xai_adapters.features.schema import FeatureSchema

# Smaller changes, in standard deviations, are rounding: hosts hand rows through text and float64.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class ReferenceRows:
    """Training rows: they give the units of distances, and say what is plausible.

    Args:
        schema: what the columns are, and how each feature may change.
        rows: (m, d) training rows.
        labels: (m,) the black box's class of each.
    """

    schema: FeatureSchema
    rows: Tensor
    labels: Tensor

    @property
    def n_numbers(self) -> int:
        """How many features are numbers; these are the first encoded columns."""
        return len(self.schema.continuous)

    @cached_property
    def encoded(self) -> Tensor:
        """(m, e) the rows, encoded, in float64."""
        return self.schema.encode(self.rows).double()

    @cached_property
    def deviation(self) -> Tensor:
        """(c,) standard deviation of each number; 1 for a constant."""
        if not self.n_numbers:
            return self.encoded.new_ones(0)
        spread = self.encoded[:, : self.n_numbers].std(dim=0)
        return torch.where(spread > 0, spread, 1.0)

    @cached_property
    def absolute_deviation(self) -> Tensor:
        """(c,) median absolute deviation of each number; the standard deviation where it is 0."""
        numbers = self.encoded[:, : self.n_numbers]
        spread = (numbers - numbers.median(dim=0).values).abs().median(dim=0).values
        return torch.where(spread > 0, spread, self.deviation)

    @cached_property
    def points(self) -> Tensor:
        """(m, e) the rows as points; see `as_points`."""
        return self.as_points(self.rows)

    def as_points(self, rows: Tensor) -> Tensor:
        """Rows (n, d) as points (n, e) whose Euclidean distance measures nearness.

        The squared distance of two points is the sum of their numbers' squared differences in
        standard deviations, plus 1 for each category that differs.
        """
        encoded = self.schema.encode(rows).double()
        numbers = encoded[:, : self.n_numbers] / self.deviation
        return torch.cat((numbers, encoded[:, self.n_numbers :] / 2**0.5), dim=1)

    def changed(self, before: Tensor, after: Tensor) -> Tensor:
        """(n, features) whether each feature changed, numbers first, then categories."""
        c = self.n_numbers
        moved = (self.as_points(after) - self.as_points(before)).abs() > _ROUNDING
        groups = moved[:, c:].split(list(self.schema.group_sizes), dim=1)
        categories = [group.any(dim=1, keepdim=True) for group in groups]
        return torch.cat((moved[:, :c], *categories), dim=1)


@dataclass(frozen=True)
class Outcome:
    """The black box's classes of rows before and after they were changed.

    Args:
        original_class: (n,).
        new_class: (n,).
    """

    original_class: Tensor
    new_class: Tensor

    @property
    def valid(self) -> Tensor:
        """(n,) whether the class changed."""
        return self.new_class != self.original_class


@dataclass(frozen=True)
class Counterfactuals(Outcome):
    """Counterfactuals of a block of rows, and what is needed to judge them.

    Args:
        reference: training rows with the black box's classes.
        before: (n, d) the rows.
        after: (n, d) the rows that an explainer proposes.
        predict: returns the black box's classes (m,) of rows (m, d).
    """

    reference: ReferenceRows
    before: Tensor
    after: Tensor
    predict: Callable[[Tensor], Tensor]

    @cached_property
    def changed(self) -> Tensor:
        """(n, features) whether each feature changed, numbers first, then categories."""
        return self.reference.changed(self.before, self.after)

    @cached_property
    def moved(self) -> Tensor:
        """(n, c) absolute change of each number."""
        encoded = [
            self.reference.schema.encode(rows).double()[:, : self.reference.n_numbers]
            for rows in (self.before, self.after)
        ]
        return (encoded[1] - encoded[0]).abs()


class CounterfactualMetric(Metric[Given]):
    """A metric of counterfactuals; see `Metric` and `Facts` for the facts."""

    takes: ClassVar[type] = Counterfactuals
    kind = "counterfactual"


class DistanceMetric(CounterfactualMetric[Counterfactuals]):
    """A metric over the rows whose class changed; subclasses define `distance`.

    An explainer that fails on hard rows must not look nearer for it.
    """

    higher_is_better = False
    range: Range = NON_NEGATIVE
    inputs = ("rows", "changed rows", "training rows")
    source = "Pawelczyk et al. 2021 (CARLA)"

    @abstractmethod
    def distance(self, counterfactuals: Counterfactuals) -> Tensor | None:
        """Values (n,), which are used where the class changed; None if undefined."""

    def compute(self, counterfactuals: Counterfactuals) -> Tensor | None:
        """The distances in float64, NaN where the class did not change."""
        values = self.distance(counterfactuals)
        if values is None:
            return None
        return values.double().masked_fill(~counterfactuals.valid, torch.nan)
