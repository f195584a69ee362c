"""Rows as the networks see them: continuous columns first, then one-hot groups."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from xai_adapters.core.feature_kinds import Categorical, Continuous, Feature, columns_of
from xai_adapters.errors import InvalidInputError


class EncodedFeatures:
    """The arithmetic of `FeatureSchema`: encoding, and what keeps a change within its limits.

    An encoded row holds the numbers of the continuous features in the order of `continuous`, then
    one one-hot group for each of `categorical`. `encode` and `decode` go there and back, keeping
    dtype and device; `intervals`, `choices` and `settle` take and give encoded rows. A row's result
    depends on no other row.
    """

    features: tuple[Feature, ...]

    @cached_property
    def continuous(self) -> tuple[Continuous, ...]:
        """The continuous features, in the order of their encoded columns."""
        return tuple(feature for feature in self.features if isinstance(feature, Continuous))

    @cached_property
    def categorical(self) -> tuple[Categorical, ...]:
        """The categorical features, in the order of their encoded groups."""
        return tuple(feature for feature in self.features if isinstance(feature, Categorical))

    @cached_property
    def n_columns(self) -> int:
        """Number d of the model's columns."""
        return sum(len(columns_of(feature)) for feature in self.features)

    @cached_property
    def group_sizes(self) -> tuple[int, ...]:
        """Number of categories of each categorical feature."""
        return tuple(len(feature.categories) for feature in self.categorical)

    @cached_property
    def n_encoded(self) -> int:
        """Number e of encoded columns."""
        return len(self.continuous) + sum(self.group_sizes)

    @cached_property
    def is_free(self) -> bool:
        """Whether there are only numbers and nothing limits them."""
        return not self.categorical and not any(
            feature.integer or math.isfinite(limit)
            for feature in self.continuous
            for limit in (feature.lower, feature.upper, *feature.steps)
        )

    def encode(self, rows: Tensor) -> Tensor:
        """Return the model's rows (n, d) encoded (n, e); codes become one-hot.

        Raises:
            InvalidInputError: for another number of columns; see `check` for the values.
        """
        rows = require_width(rows, self.n_columns, "model")
        if self._is_as_encoded:
            return rows
        sources, codes = self._sources.to(rows.device)
        taken = rows[:, sources]
        return torch.where(codes < 0, taken, (taken == codes).to(rows.dtype))

    def decode(self, encoded: Tensor) -> Tensor:
        """Return encoded rows (n, e) as the model's (n, d): the inverse of `encode`."""
        encoded = require_width(encoded, self.n_encoded, "encoded")
        if self._is_as_encoded:
            return encoded
        rows = encoded[:, self._targets.to(encoded.device)]
        columns, codes = self._coded
        if len(columns):
            groups = encoded[:, len(self.continuous) :]
            rows[:, columns.to(rows.device)] = groups @ codes.to(groups)
        return rows

    def intervals(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Say where each row's continuous features may go, as integers or not.

        A row's own value is always inside. One that lies outside the bounds may go back towards
        them, as far as direction and reach let it.

        Args:
            encoded: encoded rows (n, e).

        Returns:
            Lower and upper ends, each (n, number of continuous features).
        """
        own = require_width(encoded, self.n_encoded, "encoded")[:, : len(self.continuous)]
        lower, upper, below, above = self._limits.to(own)
        return (
            torch.maximum(torch.minimum(lower, own), own + below),
            torch.minimum(torch.maximum(upper, own), own + above),
        )

    def choices(self, encoded: Tensor) -> Tensor:
        """Say which categories each row may take: those it may change to, and always its own.

        Args:
            encoded: encoded rows (n, e).

        Returns:
            Booleans (n, sum of the group sizes).
        """
        groups = require_width(encoded, self.n_encoded, "encoded")[:, len(self.continuous) :]
        return self._open_categories.to(groups.device) | (groups > 0.5)

    def settle(self, original: Tensor, proposed: Tensor) -> Tensor:
        """Return what is nearest to a proposed change and keeps every constraint.

        A number is clamped into its interval and, in an integer feature, rounded to the nearest
        whole number there; it stays the row's own if it is that already or if no whole number lies
        in the interval. A group becomes one-hot at its largest entry among the row's choices.
        Columns of immutable features come back bit for bit.

        Args:
            original: encoded rows (n, e) as they are.
            proposed: encoded rows (n, e) as they might become; groups may hold any scores.

        Returns:
            Encoded rows (n, e).
        """
        proposed = require_width(proposed, self.n_encoded, "encoded")
        if self.is_free:
            return proposed
        c = len(self.continuous)
        numbers = self.settle_numbers(original, proposed[:, :c], *self.intervals(original))
        if not self.categorical:
            return numbers
        # A score of -inf may be the best that is allowed; what is not allowed must lie below it.
        scores = proposed[:, c:].clamp(min=torch.finfo(proposed.dtype).min)
        scores = scores.masked_fill(~self.choices(original), -math.inf)
        # Side by side, the shorter groups filled up.
        owner, place = self._groups.to(scores.device)
        padded = scores.new_full(
            (len(scores), len(self.categorical), max(self.group_sizes)), -math.inf
        )
        padded[:, owner, place] = scores
        hard = (padded.argmax(dim=2)[:, owner] == place).to(numbers.dtype)
        groups = torch.where(self._fixed_categories.to(hard.device), original[:, c:], hard)
        return torch.cat((numbers, groups), dim=1)

    def settle_numbers(
        self, original: Tensor, proposed: Tensor, lower: Tensor, upper: Tensor
    ) -> Tensor:
        """Return what `settle` does for the continuous features alone, in `intervals` known before.

        Args:
            original: encoded rows (n, e) as they are.
            proposed: continuous features (n, c) as they might become.
            lower: (n, c), of `intervals`.
            upper: (n, c), of `intervals`.

        Returns:
            Continuous features (n, c).
        """
        own = original[:, : len(self.continuous)]
        value = torch.clamp(proposed, lower, upper)
        if self._has_integers:
            first, last = lower.ceil(), upper.floor()
            whole = torch.where(first <= last, value.round().clamp(first, last), own)
            value = torch.where(self._integer.to(own.device) & (value != own), whole, value)
        return torch.where(self._fixed_numbers.to(own.device), own, value)

    # What the tensors are worked with: on the CPU, moved to the rows' device where used.

    @cached_property
    def _sources(self) -> Tensor:
        """Of each encoded column the model column it is read from, and its code or -1."""
        pairs = [(feature.column, -1) for feature in self.continuous]
        for group in self.categorical:
            size = len(group.categories)
            if group.one_hot:
                pairs += [(column, -1) for column in group.columns]
            else:
                pairs += [(group.columns[0], code) for code in range(size)]
        return torch.tensor(pairs).T

    @cached_property
    def _is_as_encoded(self) -> bool:
        """Whether model columns are encoded columns, in the same order."""
        sources, codes = self._sources.tolist()
        return sources == list(range(self.n_columns)) and set(codes) == {-1}

    @cached_property
    def _targets(self) -> Tensor:
        """Of each model column the encoded one it is read from; of codes, any of their group."""
        positions = {column: at for at, column in enumerate(self._sources[0].tolist())}
        return torch.tensor([positions[column] for column in range(self.n_columns)])

    @cached_property
    def _limits(self) -> Tensor:
        """Lower and upper bound, longest step down and up: (4, number of continuous features)."""
        limits = [(f.lower, f.upper, *f.steps) for f in self.continuous]
        return torch.tensor(limits, dtype=torch.float64).view(-1, 4).T

    @cached_property
    def _coded(self) -> tuple[Tensor, Tensor]:
        """Columns (k,) of codes, and by encoded category (sum of the group sizes, k) its code."""
        coded = [feature for feature in self.categorical if not feature.one_hot]
        codes = torch.zeros(sum(self.group_sizes), len(coded))
        start = 0
        for feature in self.categorical:
            size = len(feature.categories)
            if not feature.one_hot:
                codes[start : start + size, coded.index(feature)] = torch.arange(size).float()
            start += size
        return torch.tensor([feature.columns[0] for feature in coded], dtype=torch.int64), codes

    @cached_property
    def _groups(self) -> Tensor:
        """Of each encoded category the number of its group, and its place there: (2, sum)."""
        pairs = [(at, place) for at, size in enumerate(self.group_sizes) for place in range(size)]
        return torch.tensor(pairs).T

    @cached_property
    def _integer(self) -> Tensor:
        return torch.tensor([feature.integer for feature in self.continuous], dtype=torch.bool)

    @cached_property
    def _has_integers(self) -> bool:
        return any(feature.integer for feature in self.continuous)

    @cached_property
    def _open_categories(self) -> Tensor:
        """Whether a row may change to each category."""
        return torch.tensor(
            [
                feature.mutable and (feature.allowed is None or category in feature.allowed)
                for feature in self.categorical
                for category in feature.categories
            ],
            dtype=torch.bool,
        )

    @cached_property
    def _fixed_numbers(self) -> Tensor:
        """Whether each continuous feature may not change."""
        return torch.tensor([not feature.mutable for feature in self.continuous], dtype=torch.bool)

    @cached_property
    def _fixed_categories(self) -> Tensor:
        """Whether each encoded category belongs to a feature that may not change."""
        fixed = [not f.mutable for f in self.categorical for _ in f.categories]
        return torch.tensor(fixed, dtype=torch.bool)


def require_width(rows: Tensor, n_columns: int, kind: str) -> Tensor:
    """Return the rows if they are (n, n_columns), or raise `InvalidInputError`."""
    if rows.ndim != 2 or rows.shape[1] != n_columns:
        raise InvalidInputError(
            f"{kind} rows of this schema have {n_columns} columns; these have shape "
            f"{tuple(rows.shape)}"
        )
    return rows
