"""What the columns of a model's rows are, and how each of them may change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError
from xai_adapters.features import alibi_features, frames, restriction
from xai_adapters.features.arguments import Bound, names_or_default, one_each
from xai_adapters.features.encoding import EncodedFeatures, require_width
from xai_adapters.features.kinds import (
    Categorical,
    Continuous,
    Direction,
    Feature,
    columns_of,
    feature_from_dict,
    feature_to_dict,
)
from xai_adapters.utils.options import named_options

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Categorical", "Continuous", "Direction", "Feature", "FeatureSchema"]

# Rows that are encoded at once where all are looked at.
_BLOCK = 8192


@dataclass(frozen=True, init=False, repr=False)
class FeatureSchema(EncodedFeatures):
    """What a model's columns are and how each may change; it never changes itself.

    `encode` turns the model's rows into what the networks see, `decode` turns them back, and
    `settle` makes a proposed change keep every constraint.

    Args:
        features: the features in any order; together they own each of the columns 0 to d-1 once.

    Raises:
        InvalidInputError: if a column has two owners or none, or two features share a name.

    Example:
        >>> import torch
        >>> schema = FeatureSchema([
        ...     Categorical("job", ("clerk", "cook"), columns=(0, 1)),
        ...     Continuous("age", column=2, direction="up", integer=True),
        ... ])
        >>> encoded = schema.encode(torch.tensor([[0.0, 1.0, 30.0]]))
        >>> encoded.tolist()
        [[30.0, 0.0, 1.0]]
        >>> settled = schema.settle(encoded, torch.tensor([[33.3, 0.6, 0.4]]))
        >>> schema.decode(settled).tolist()
        [[1.0, 0.0, 33.0]]
    """

    features: tuple[Feature, ...]

    def __init__(self, features: Sequence[Feature]) -> None:
        object.__setattr__(self, "features", tuple(features))
        if not self.features:
            raise InvalidInputError("a schema needs at least one feature")
        for feature in self.features:
            if not isinstance(feature, Feature):
                raise InvalidInputError(
                    f"features must be Continuous or Categorical, one is {feature!r:.60}"
                )
        owners: dict[int, str] = {}
        names: set[str] = set()
        for feature in self.features:
            if feature.name in names:
                raise InvalidInputError(
                    f"two features are called {feature.name}, one of them in column "
                    f"{columns_of(feature)[0]}; give each its own name"
                )
            names.add(feature.name)
            for column in columns_of(feature):
                if column in owners:
                    raise InvalidInputError(
                        f"column {column} belongs to both {owners[column]} and {feature.name}"
                    )
                owners[column] = feature.name
        for column in range(max(owners)):
            if column not in owners:
                raise InvalidInputError(
                    f"column {column} belongs to no feature; describe every column from 0 to "
                    f"{max(owners)}"
                )

    def __repr__(self) -> str:
        """Count the features; a thousand of them would fill the screen."""
        return (
            f"FeatureSchema({self.n_columns} columns: {len(self.continuous)} continuous, "
            f"{len(self.categorical)} categorical features)"
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the features in their order."""
        return tuple(feature.name for feature in self.features)

    def check(self, rows: Tensor, *, bounds: bool = False) -> None:
        """Raise unless the categorical columns of the model's rows (n, d) hold categories.

        Args:
            rows: the model's rows.
            bounds: also refuse numbers outside their feature's bounds, and fractions in integer
                features.

        Raises:
            InvalidInputError: naming the feature and the first such row.
        """
        rows = require_width(rows, self.n_columns, "model")
        if self.categorical:
            for some in rows.split(_BLOCK) if len(rows) > _BLOCK else [rows]:
                if not self.hold_categories(self.encode(some)):
                    self._name_bad_category(rows)
        if bounds:
            self._check_numbers(rows)

    def _name_bad_category(self, rows: Tensor) -> None:
        for feature in self.categorical:
            held = rows[:, list(feature.columns)]
            top = 1 if feature.one_hot else len(feature.categories) - 1
            good = ((held == held.round()) & (held >= 0) & (held <= top)).all(dim=1)
            if feature.one_hot:
                good &= held.sum(dim=1) == 1
            if not good.all():
                row = int((~good).nonzero()[0])
                values = zip(feature.columns, held[row].tolist(), strict=True)
                found = [f"{value:g} in column {column}" for column, value in values if value]
                wanted = "a 1 in one of its columns and 0 in the others"
                raise InvalidInputError(
                    f"{feature.name}: row {row} holds {', '.join(found) or 'no 1'}; expected "
                    f"{wanted if feature.one_hot else f'a whole number from 0 to {top}'}"
                )

    def _check_numbers(self, rows: Tensor) -> None:
        # As the rows' dtype has them: 0.1 is not the float32 nearest to it.
        bounds = [(feature.lower, feature.upper) for feature in self.continuous]
        limits = torch.tensor(bounds, dtype=torch.float64).view(-1, 2).to(rows)
        for feature, (lower, upper) in zip(self.continuous, limits, strict=True):
            if not feature.integer and math.isinf(feature.lower) and math.isinf(feature.upper):
                continue
            numbers = rows[:, feature.column]
            outside = ~((numbers >= lower) & (numbers <= upper))
            bad = outside | (numbers != numbers.round()) if feature.integer else outside
            if bad.any():
                row = int(bad.nonzero()[0])
                # NumPy prints the shortest text of a float32, 0.1 and not 0.10000000149.
                value = str(numbers[row].detach().cpu().numpy())
                why = (
                    f"outside the bounds {feature.lower:g} to {feature.upper:g}"
                    if outside[row]
                    else "not a whole number"
                )
                raise InvalidInputError(f"{feature.name}: row {row} is {value}, {why}")

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as strict JSON; None stands for no bound."""
        return {"features": [feature_to_dict(feature) for feature in self.features]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureSchema:
        """Make the schema that `to_dict` described.

        Raises:
            InvalidInputError: for values that describe no schema.
        """
        try:
            return cls([feature_from_dict(each) for each in values["features"]])
        except InvalidInputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"these values describe no schema: {error!r}") from error

    @named_options()
    def restricted(
        self,
        features_to_vary: Literal["all"] | Sequence[str] = "all",
        permitted_range: Mapping[str, Sequence[Any]] | None = None,
    ) -> FeatureSchema:
        """Return this schema, restricted by DiCE's arguments.

        Args:
            features_to_vary: names of the features that may change, or "all"; the others become
                immutable, and those that are immutable already stay so.
            permitted_range: for a continuous feature its new [lower, upper], for a categorical one
                the list of categories it may change to.

        Raises:
            UnknownNameError: for a name that no feature has.
            InvalidInputError: for a range that does not fit its feature.

        Example:
            >>> schema = FeatureSchema.all_continuous(2, names=["age", "income"])
            >>> narrow = schema.restricted(["income"], {"income": [0, 100]})
            >>> [(f.name, f.mutable, f.upper) for f in narrow.continuous]
            [('age', False, inf), ('income', True, 100.0)]
        """
        return FeatureSchema(
            restriction.restricted(self.features, features_to_vary, permitted_range or {})
        )

    @classmethod
    @named_options()
    def all_continuous(
        cls,
        n_columns: int,
        *,
        names: Sequence[str] | None = None,
        lower: Bound = -math.inf,
        upper: Bound = math.inf,
    ) -> FeatureSchema:
        """Make a schema of `n_columns` continuous features.

        Args:
            n_columns: number of the model's columns.
            names: one a column; by default x0, x1, ...
            lower: smallest value, one for all or one a column.
            upper: largest value, one for all or one a column.

        Raises:
            InvalidInputError: for another number of names or bounds than columns.

        Example:
            >>> FeatureSchema.all_continuous(3, lower=0).names
            ('x0', 'x1', 'x2')
        """
        lowest, highest = (
            one_each(name, bound, n_columns) for name, bound in (("lower", lower), ("upper", upper))
        )
        return cls(
            [
                Continuous(name, column, lower=lowest[column], upper=highest[column])
                for column, name in enumerate(names_or_default(names, n_columns))
            ]
        )

    @classmethod
    @named_options()
    def from_alibi(
        cls,
        n_columns: int,
        *,
        cat_vars: Mapping[int, int] | None = None,
        ohe: bool = False,
        category_map: Mapping[int, Sequence[Any]] | None = None,
        feature_names: Sequence[str] | None = None,
        feature_range: tuple[Bound, Bound] | None = None,
        immutable_features: Sequence[str] = (),
        ranges: Mapping[str, Sequence[float]] | None = None,
        training: Any = None,
    ) -> FeatureSchema:
        """Make a schema from arguments of Alibi's CounterfactualProto and CounterfactualRLTabular.

        Args:
            n_columns: number of the model's columns.
            cat_vars: number of categories by the first column of each categorical feature.
            ohe: whether those are one-hot, or one column of codes each.
            category_map: names of the categories by column of codes, in place of `cat_vars`.
            feature_names: one a feature (not one a one-hot column); by default x0, x1, ...
            feature_range: (lower, upper) of the continuous features: numbers, or arrays with one
                entry a feature.
            immutable_features: names of the features that may not change.
            ranges: by name of a continuous feature, how far below and above its own value a row
                may go: two fractions, in [-1, 0] and [0, 1], of the feature's training range.
            training: rows (n, d) whose ranges those are; as in CounterfactualRLTabular changed
                values stay inside them too, unless `feature_range` says otherwise.

        Raises:
            UnknownNameError: for a name that no feature has.
            InvalidInputError: for settings that do not fit the columns or each other.

        Example:
            >>> schema = FeatureSchema.from_alibi(4, cat_vars={1: 3}, ohe=True)
            >>> [type(feature).__name__ for feature in schema.features]
            ['Continuous', 'Categorical']
        """
        return cls(
            alibi_features.from_alibi(
                n_columns,
                cat_vars=cat_vars,
                ohe=ohe,
                category_map=category_map,
                feature_names=feature_names,
                feature_range=feature_range,
                immutable_features=immutable_features,
                ranges=ranges,
                training=training,
            )
        )

    @classmethod
    @named_options()
    def from_dataframe(
        cls,
        frame: DataFrame,
        *,
        immutable: Sequence[str] = (),
        direction: Mapping[str, Direction] | None = None,
        bounds: Mapping[str, Sequence[float]] | None = None,
        cost: Mapping[str, float] | None = None,
    ) -> FeatureSchema:
        """Make a schema from a DataFrame's dtypes; `to_rows` then makes the model's rows.

        Floats become continuous, integers continuous and whole; booleans, categories and text
        become one-hot groups in place, with the dtype's categories or else the sorted values.

        Args:
            frame: raw columns in the order of the features.
            immutable: names of the features that may not change.
            direction: "up" or "down" by name of a continuous feature.
            bounds: (lower, upper) by name of a continuous feature.
            cost: weight in the metric by name.

        Raises:
            UnknownNameError: for a name that no column has.
            InvalidInputError: naming the column with missing values or a type that is no feature.
            MissingDependencyError: without pandas.
        """
        return cls(
            frames.from_dataframe(
                frame,
                immutable=immutable,
                direction=direction or {},
                bounds=bounds or {},
                cost=cost or {},
            )
        )

    def to_rows(self, frame: DataFrame) -> Tensor:
        """Return a DataFrame of raw columns as the model's rows (n, d), float32.

        Raises:
            InvalidInputError: for a missing column, and for a value that is no finite number or
                none of the categories; the feature and the row, counted from 0, are named.
            MissingDependencyError: without pandas.
        """
        return frames.to_rows(self.features, self.n_columns, frame)

    def to_dataframe(self, rows: Tensor) -> DataFrame:
        """Return the model's rows (n, d) as a DataFrame with one column a feature.

        Categories become their labels and integer features whole numbers (in a column that does
        hold fractions they stay).

        Raises:
            InvalidInputError: as `check` does.
            MissingDependencyError: without pandas.
        """
        self.check(rows)
        return frames.to_dataframe(self.features, rows)
