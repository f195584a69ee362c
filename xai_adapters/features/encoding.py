"""Rows as the networks see them: continuous columns first, then one-hot groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError
from xai_adapters.features.kinds import Categorical, Continuous, Feature, columns_of


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
        taken = rows.index_select(1, sources)
        if not len(self._coded[0]):
            return taken
        return torch.where(codes < 0, taken, (taken == codes).to(rows.dtype))

    def decode(self, encoded: Tensor) -> Tensor:
        """Return encoded rows (n, e) as the model's (n, d): the inverse of `encode`."""
        encoded = require_width(encoded, self.n_encoded, "encoded")
        if self._is_as_encoded:
            return encoded
        rows = encoded.index_select(1, self._targets.to(encoded.device))
        columns, codes = self._coded
        if len(columns):
            groups = encoded[:, len(self.continuous) :]
            rows[:, columns.to(rows.device)] = groups @ codes.to(groups)
        return rows

    def intervals(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Say where each row's continuous features may go, as integers or not.

        A row's own value is always inside. A value outside the bounds may go back in their
        direction, as far as direction and reach allow.

        Args:
            encoded: encoded rows (n, e).

        Returns:
            Lower and upper ends, each (n, number of continuous features).
        """
        own = require_width(encoded, self.n_encoded, "encoded")[:, : len(self.continuous)]
        lower, upper, below, above = self._for(own).limits
        first, last = torch.minimum(lower, own), torch.maximum(upper, own)
        if self._has_reach:
            first, last = torch.maximum(first, own + below), torch.minimum(last, own + above)
        return first, last

    def choices(self, encoded: Tensor) -> Tensor:
        """Say which categories each row may take: those it may change to, and always its own.

        Args:
            encoded: encoded rows (n, e).

        Returns:
            Booleans (n, sum of the group sizes).
        """
        groups = require_width(encoded, self.n_encoded, "encoded")[:, len(self.continuous) :]
        return self._for(groups).is_open | (groups > 0.5)

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
        settled = self.settle_numbers(original, proposed[:, :c], *self.intervals(original))
        if self.categorical:
            scores = proposed[:, c:]
            if self._has_closed:
                # A score of -inf may be the best that is allowed; others must lie below it.
                least = torch.finfo(scores.dtype).min
                scores = scores.clamp(min=least).where(self.choices(original), -math.inf)
            settled = torch.cat((settled, self._one_hot(scores)), dim=1)
        if not self._has_fixed:
            return settled
        return torch.where(self._for(proposed).is_fixed, original, settled)

    def hold_categories(self, encoded: Tensor) -> bool:
        """Whether in every group of every encoded row (n, e) one entry is 1, the others are 0."""
        if not self.categorical:
            return True
        groups = encoded[:, len(self.continuous) :]
        return torch.equal(self._one_hot(groups), groups)

    def _one_hot(self, scores: Tensor) -> Tensor:
        """Scores (n, sum of the group sizes) with 1 for the first best of each group, 0 else."""
        tensors = self._for(scores)
        padded = scores.index_select(1, tensors.padded)
        best = padded.view(-1, len(self.categorical), max(self.group_sizes)).argmax(dim=2)
        return (best.index_select(1, tensors.owner) == tensors.place).to(scores.dtype)

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
        value = torch.clamp(proposed, lower, upper)
        if not self._has_integers:
            return value
        own = original[:, : len(self.continuous)]
        first, last = lower.ceil(), upper.floor()
        whole = torch.where(first <= last, value.round().clamp(first, last), own)
        return torch.where(self._for(own).is_integer & (value != own), whole, value)

    def _for(self, rows: Tensor) -> _Tensors:
        """What rows are worked with, on their device and in their dtype; made once for each."""
        key = rows.device, rows.dtype
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = _Tensors.of(self, *key)
        return found

    @cached_property
    def _made(self) -> dict[tuple[torch.device, torch.dtype], _Tensors]:
        return {}

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
    def _has_reach(self) -> bool:
        """Whether some feature may go a part of the way to its bounds only."""
        return any(0 < abs(step) < math.inf for f in self.continuous for step in f.steps)

    @cached_property
    def _has_integers(self) -> bool:
        return any(feature.integer for feature in self.continuous)

    @cached_property
    def _has_fixed(self) -> bool:
        return not all(feature.mutable for feature in self.features)

    @cached_property
    def _has_closed(self) -> bool:
        """Whether a feature that may change may not change to all of its categories."""
        return any(f.mutable and f.allowed is not None for f in self.categorical)


@dataclass(frozen=True)
class _Tensors:
    """A schema as tensors, on one device and, where they are compared with rows, in their dtype.

    Args:
        limits: (4, c) lower and upper bound, longest step down and up. A bound that may not be
            approached from inside is infinitely far on the other side, and leaves own values.
        is_integer: (c,) whether changed values have to be whole.
        is_fixed: (e,) whether the column's feature may not change.
        is_open: (sum of the group sizes,) whether a row may change to each category.
        owner: of each encoded category, the number of its group.
        place: its place there.
        padded: (groups times the largest group) which encoded category fills each place when
            groups stand side by side; the first of a group fills what is left over.
    """

    limits: Tensor
    is_integer: Tensor
    is_fixed: Tensor
    is_open: Tensor
    owner: Tensor
    place: Tensor
    padded: Tensor

    @classmethod
    def of(cls, schema: EncodedFeatures, device: torch.device, dtype: torch.dtype) -> _Tensors:
        """The tensors of a schema."""
        numbers, groups, sizes = schema.continuous, schema.categorical, schema.group_sizes
        limits = [
            (f.lower if down else math.inf, f.upper if up else -math.inf, down, up)
            for f in numbers
            for down, up in [f.steps]
        ]
        fixed = [not f.mutable for f in numbers]
        fixed += [not f.mutable for f in groups for _ in f.categories]
        is_open = [
            f.mutable and (f.allowed is None or category in f.allowed)
            for f in groups
            for category in f.categories
        ]
        starts = [sum(sizes[:at]) for at in range(len(sizes))]
        places = range(max(sizes, default=0))

        def flags(values: list[bool]) -> Tensor:
            return torch.tensor(values, dtype=torch.bool, device=device)

        def indices(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        return cls(
            torch.tensor(limits, dtype=torch.float64).view(-1, 4).T.to(device, dtype),
            flags([f.integer for f in numbers]),
            flags(fixed),
            flags(is_open),
            indices([at for at, size in enumerate(sizes) for _ in range(size)]),
            indices([place for size in sizes for place in range(size)]),
            indices(
                [
                    start + (place if place < size else 0)
                    for start, size in zip(starts, sizes, strict=True)
                    for place in places
                ]
            ),
        )


def require_width(rows: Tensor, n_columns: int, kind: str) -> Tensor:
    """Return the rows if they are (n, n_columns), or raise `InvalidInputError`."""
    if rows.ndim != 2 or rows.shape[1] != n_columns:
        raise InvalidInputError(
            f"{kind} rows of this schema have {n_columns} columns; these have shape "
            f"{tuple(rows.shape)}"
        )
    return rows
