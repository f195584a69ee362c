"""A subject's table as encoded rows, and their metric: what counterfactual comparators work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.features.kinds import Continuous, Feature
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.features.standardization import standardization
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry.entries import FunctionGenerator
from xai_adapters.registry.subject import Subject

_OUTPUT_TYPE_ROWS = 256
# For row numbers (a,) and encoded points (a, e): whether the black box gives each point another
# class than its row's (a,).
Flips = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class EncodedSubject:
    """A subject's rows as encoded rows (see `FeatureSchema.encode`), and their distances.

    The metric: the L2 norm of the numbers' changes, each divided by its column's standard deviation
    over the background and multiplied by its cost, plus the cost of each category that changes.

    Args:
        schema: what the columns are and how each may change.
        black_box: the model; every query goes through it.
        background: (m, e) encoded background rows.

    Raises:
        NotApplicableError: from `of`, for rows that are no table.

    Example:
        >>> rows = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
        >>> subject = Subject(lambda X: X[:, 0] > 1, rows, "tabular", None)
        >>> encoded = EncodedSubject.of(subject)
        >>> encoded.unit.tolist()  # a constant column is its own unit
        [1.0, 1.0]
        >>> encoded.length(rows[:1], rows[1:]).tolist()
        [2.0]
    """

    schema: FeatureSchema
    black_box: BlackBox
    background: Tensor

    @classmethod
    def of(cls, subject: Subject) -> EncodedSubject:
        """The encoding of a subject; without a schema its columns are free numbers."""
        rows = subject.background
        if subject.kind != "tabular" or rows.ndim != 2:
            raise NotApplicableError(f"changes rows of a table, and these are {subject.kind}s")
        schema = subject.schema or FeatureSchema.all_continuous(rows.shape[1])
        black_box = BlackBox(subject.model)
        if isinstance(subject.model, nn.Module):
            # A few rows of logits can look like probabilities; this many do not.
            black_box.probabilities(rows[:_OUTPUT_TYPE_ROWS])
        return cls(schema, black_box, schema.encode(_precise(rows)))

    @property
    def gives_probabilities(self) -> bool:
        """Whether the black box gives probabilities, and not logits."""
        return self.black_box.resolved_output_type != "logits"

    @cached_property
    def n_numbers(self) -> int:
        """Number c of continuous features: the first c encoded columns."""
        return len(self.schema.continuous)

    @cached_property
    def unit(self) -> Tensor:
        """(c,) standard deviation of each number over the background; 1 where it is constant."""
        return standardization(self.background[:, : self.n_numbers], shared=False)[1]

    @cached_property
    def scale(self) -> Tensor:
        """(c,) the change of each number that has length 1: `unit` over its cost."""
        costs = torch.tensor([feature.cost for feature in self.schema.continuous])
        return self.unit / costs.to(self.unit)

    @cached_property
    def column_scale(self) -> Tensor:
        """(e,) the change of each encoded column that has length 1: `scale`, and 1 in groups."""
        n_grouped = self.background.shape[1] - self.n_numbers
        return torch.cat((self.scale, self.scale.new_ones(n_grouped)))

    @cached_property
    def category_costs(self) -> Tensor:
        """(number of categorical features,) the length of a change of each."""
        costs = torch.tensor([feature.cost for feature in self.schema.categorical])
        return costs.to(self.background)

    @cached_property
    def owner(self) -> Tensor:
        """(e,) the feature that each encoded column belongs to: numbers, then categories."""
        sizes = torch.tensor([1] * self.n_numbers + list(self.schema.group_sizes))
        return torch.arange(len(sizes)).repeat_interleave(sizes).to(self.background.device)

    def length(self, before: Tensor, after: Tensor) -> Tensor:
        """Distances (n,) between encoded rows, (n, e) each."""
        c = self.n_numbers
        length: Tensor = ((after - before)[:, :c] / self.scale.to(before)).norm(dim=1)
        if c == before.shape[1]:
            return length
        # Two columns of a group differ where its category does.
        differs = (after[:, c:] - before[:, c:]).abs() / 2
        costs = self.category_costs[self.owner[c:] - c]
        return length + differs @ costs.to(differs)

    def feature_changes(self, before: Tensor, after: Tensor) -> Tensor:
        """The length (n, number of features) of each feature's own change."""
        change = (after - before).abs()
        change[:, : self.n_numbers] /= self.scale.to(change)
        change[:, self.n_numbers :] /= 2
        n_features = self.n_numbers + len(self.category_costs)
        changes = torch.zeros(len(change), n_features).to(change).index_add(1, self.owner, change)
        changes[:, self.n_numbers :] *= self.category_costs.to(changes)
        return changes

    def labels(self, encoded: Tensor, dtype: torch.dtype) -> Tensor:
        """Classes (n,) that the black box gives encoded rows (n, e), queried in a `dtype`."""
        return self.black_box.labels(self.schema.decode(encoded).to(dtype))

    def generator(
        self,
        search: Callable[[Tensor, Tensor, Flips], Tensor],
        settings: Mapping[str, Any] | None = None,
    ) -> FunctionGenerator:
        """A generator of counterfactuals from a search among encoded rows.

        Args:
            search: gives for encoded rows (n, e), their classes (n,) and `flips` encoded rows
                (n, e). Ours keep every constraint and flip, or stay as they were; results of hosts
                are passed on.
            settings: plain values, for the results of a benchmark.
        """

        def counterfactuals(rows: Tensor, original_class: Tensor) -> Tensor:
            encoded = self.schema.encode(_precise(rows))

            def flips(some: Tensor, points: Tensor) -> Tensor:
                if len(points) == 0:
                    return torch.zeros(0, dtype=torch.bool, device=points.device)
                return self.labels(points, rows.dtype) != original_class[some]

            points = search(encoded, original_class, flips)
            changed = (points != encoded).any(dim=1, keepdim=True)
            return torch.where(changed, self.schema.decode(points).to(rows.dtype), rows)

        return FunctionGenerator(counterfactuals, settings or {})


def with_plain_names(schema: FeatureSchema, *, one_hot: bool) -> FeatureSchema:
    """The same features, numbers first, one-hot or as codes, under names that hosts can take.

    Rows of the one-hot form are the encoded rows of `schema`, and `encode` of the other form gives
    them too. No name is a prefix of another, and categories are text in their own order.

    Example:
        >>> from xai_adapters.features.schema import Categorical
        >>> ages = [Categorical("old", (False, True), (0, 1)), Continuous("age", 2)]
        >>> with_plain_names(FeatureSchema(ages), one_hot=False).names
        ('f0000', 'f0001')
    """
    features: list[Feature] = []
    column = 0
    numbers_first: tuple[Feature, ...] = (*schema.continuous, *schema.categorical)
    for at, feature in enumerate(numbers_first):
        name = f"f{at:04d}"
        if isinstance(feature, Continuous):
            features.append(replace(feature, name=name, column=column))
            column += 1
            continue
        texts = tuple(f"c{code:04d}" for code in range(len(feature.categories)))
        allowed = None
        if feature.allowed is not None:
            allowed = tuple(texts[feature.categories.index(held)] for held in feature.allowed)
        width = len(texts) if one_hot else 1
        features.append(
            replace(
                feature, name=name, categories=texts, allowed=allowed, one_hot=one_hot,
                columns=tuple(range(column, column + width)),
            )
        )  # fmt: skip
        column += width
    return FeatureSchema(features)


def _precise(rows: Tensor) -> Tensor:
    return rows.to(torch.promote_types(rows.dtype, torch.float32))
