"""Features described by the arguments of Alibi's counterfactual explainers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xai_adapters.errors import InvalidInputError
from xai_adapters.features.arguments import (
    Bound,
    names_or_default,
    one_each,
    pair,
    require_known,
)
from xai_adapters.features.kinds import Categorical, Continuous, Feature
from xai_adapters.utils.rows import as_rows


def from_alibi(
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
) -> list[Feature]:
    """The features that Alibi's arguments describe; `FeatureSchema.from_alibi` documents them."""
    ranges = ranges or {}
    if category_map and (cat_vars or ohe):
        raise InvalidInputError(
            "category_map describes columns of codes; give it or cat_vars with ohe, not both"
        )
    if ranges and training is None:
        raise InvalidInputError("ranges are fractions of the training range: give training too")
    categories = {column: tuple(range(size)) for column, size in (cat_vars or {}).items()}
    categories |= {column: tuple(values) for column, values in (category_map or {}).items()}
    columns = _feature_columns(n_columns, categories, ohe)
    names = names_or_default(feature_names, len(columns))
    require_known([*immutable_features, *ranges], names)
    lower, upper = _training_range(columns, n_columns, training)
    span = upper - lower
    if feature_range is not None:
        lower, upper = (one_each("feature_range", bound, len(columns)) for bound in feature_range)
    features: list[Feature] = []
    for at, (name, owned) in enumerate(zip(names, columns, strict=True)):
        mutable = name not in immutable_features
        if owned[0] not in categories:
            reach = _reach(name, ranges[name], span[at]) if name in ranges else None
            bounds = {"lower": lower[at], "upper": upper[at]}
            feature = Continuous(name, owned[0], mutable=mutable, **bounds)
            features.append(feature if reach is None else replace(feature, reach=reach))
        elif name in ranges:
            raise InvalidInputError(f"{name} is categorical; ranges are for continuous features")
        else:
            values = categories[owned[0]]
            features.append(Categorical(name, values, owned, one_hot=ohe, mutable=mutable))
    return features


def _feature_columns(
    n_columns: int, categories: Mapping[int, tuple[Any, ...]], ohe: bool
) -> list[tuple[int, ...]]:
    """Cut the columns 0 to `n_columns` - 1 into those of each feature."""
    starts = set(categories)
    columns: list[tuple[int, ...]] = []
    column = 0
    while column < n_columns:
        width = max(len(categories[column]), 1) if ohe and column in categories else 1
        columns.append(tuple(range(column, column + width)))
        starts.discard(column)
        column += width
    for start in sorted(starts):
        raise InvalidInputError(
            f"column {start} cannot start a categorical feature: it is none of the {n_columns} "
            "columns, or inside the feature before it"
        )
    if column > n_columns:
        raise InvalidInputError(
            f"the categorical feature at column {columns[-1][0]} has {len(columns[-1])} one-hot "
            f"columns, and only {n_columns - columns[-1][0]} are left"
        )
    return columns


def _training_range(
    columns: Sequence[tuple[int, ...]], n_columns: int, training: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if training is None:
        return np.full(len(columns), -math.inf), np.full(len(columns), math.inf)
    first = [owned[0] for owned in columns]
    rows = as_rows(training, "training", n_columns)[:, first].to("cpu", torch.float64)
    return rows.amin(dim=0).numpy(), rows.amax(dim=0).numpy()


def _reach(name: str, fractions: Sequence[float], span: float) -> tuple[float, float]:
    below, above = pair(name, fractions)
    if not (-1 <= below <= 0 <= above <= 1):
        raise InvalidInputError(
            f"{name}: ranges must hold a number in [-1, 0] and one in [0, 1], not {below:g} and "
            f"{above:g}"
        )
    return below * span, above * span
