"""Features in the words of DataFrames, Alibi and DiCE; `FeatureSchema` documents the arguments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError, UnknownNameError, require
from xai_adapters.features.kinds import (
    Categorical,
    Category,
    Continuous,
    Direction,
    Feature,
    is_category,
)
from xai_adapters.utils.rows import as_rows

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Bound = float | Sequence[float] | np.ndarray[Any, Any]


def narrowed(
    features: Sequence[Feature],
    vary: str | Sequence[str],
    ranges: Mapping[str, Sequence[Any]],
) -> list[Feature]:
    """Return the features as DiCE's `features_to_vary` and `permitted_range` restrict them."""
    names = [feature.name for feature in features]
    if vary == "all":
        vary = names
    if isinstance(vary, str):
        raise InvalidInputError(f"features_to_vary must be 'all' or a list of names, not {vary!r}")
    _require_known([*vary, *ranges], names)
    return [
        replace(
            feature,
            mutable=feature.mutable and feature.name in vary,
            **_permitted(feature, ranges[feature.name]) if feature.name in ranges else {},
        )
        for feature in features
    ]


def _permitted(feature: Feature, values: Sequence[Any]) -> dict[str, Any]:
    if isinstance(feature, Categorical):
        return {"allowed": tuple(values)}
    lower, upper = _pair(feature.name, values)
    return {"lower": lower, "upper": upper}


def all_continuous(
    n_columns: int, names: Sequence[str] | None, lower: Bound, upper: Bound
) -> list[Feature]:
    """Return one continuous feature a column."""
    lowest = _one_each("lower", lower, n_columns)
    highest = _one_each("upper", upper, n_columns)
    return [
        Continuous(name, column, lower=lowest[column], upper=highest[column])
        for column, name in enumerate(_names(names, n_columns))
    ]


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
    """Return the features that Alibi's settings describe."""
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
    names = _names(feature_names, len(columns))
    _require_known([*immutable_features, *ranges], names)
    lower, upper = _training_range(columns, n_columns, training)
    span = upper - lower
    if feature_range is not None:
        lower, upper = (_one_each("feature_range", bound, len(columns)) for bound in feature_range)
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
    below, above = _pair(name, fractions)
    if not (-1 <= below <= 0 <= above <= 1):
        raise InvalidInputError(
            f"{name}: ranges must hold a number in [-1, 0] and one in [0, 1], not {below:g} and "
            f"{above:g}"
        )
    return below * span, above * span


def from_dataframe(
    frame: DataFrame,
    *,
    immutable: Sequence[str],
    direction: Mapping[str, Direction],
    bounds: Mapping[str, Sequence[float]],
    cost: Mapping[str, float],
) -> list[Feature]:
    """Return one feature for each column of a DataFrame, by its dtype."""
    types = require("pandas", "benchmark").api.types
    names = [str(label) for label in frame.columns]
    _require_known([*immutable, *direction, *bounds, *cost], names)
    features: list[Feature] = []
    column = 0
    for at, name in enumerate(names):
        series = frame.iloc[:, at]
        if series.isna().any():
            row = int(series.isna().to_numpy().argmax())
            raise InvalidInputError(
                f"{name}: row {row} has no value, as have {int(series.isna().sum())} of "
                f"{len(frame)}; impute or drop them first"
            )
        mutable, weight = name not in immutable, cost.get(name, 1.0)
        categories = _categories(name, series)
        if categories is not None:
            if name in direction or name in bounds:
                raise InvalidInputError(f"{name} is categorical; it has no direction or bounds")
            columns = tuple(range(column, column + len(categories)))
            feature: Feature = Categorical(name, categories, columns, mutable=mutable, cost=weight)
        else:
            columns = (column,)
            lower, upper = _pair(name, bounds.get(name, (-math.inf, math.inf)))
            feature = Continuous(
                name,
                column,
                lower=lower,
                upper=upper,
                mutable=mutable,
                direction=direction.get(name, "both"),
                integer=types.is_integer_dtype(series.dtype),
                cost=weight,
            )
        features.append(feature)
        column += len(columns)
    return features


def _categories(name: str, series: Series) -> tuple[Category, ...] | None:
    """Return the categories of a column, or None for a column of numbers."""
    pandas = require("pandas", "benchmark")
    types, dtype = pandas.api.types, series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return tuple(_plain(value) for value in dtype.categories)
    if types.is_bool_dtype(dtype):
        return (False, True)
    if types.is_integer_dtype(dtype) or types.is_float_dtype(dtype):
        return None
    # Objects go by what they hold: text and booleans are categories, dates in text's place are not.
    values = [_plain(value) for value in pandas.factorize(series)[1]]
    if not types.is_object_dtype(dtype) and not types.is_string_dtype(dtype):
        held = str(dtype)
    else:
        held = next((type(value).__name__ for value in values if not is_category(value)), "")
    if held:
        raise InvalidInputError(
            f"{name} holds values of type {held}, which are neither numbers nor categories; turn "
            "them into numbers (a date into days since another) or text, or leave the column out"
        )
    return tuple(sorted(values, key=lambda value: (isinstance(value, str), value)))


def to_rows(features: Sequence[Feature], n_columns: int, frame: DataFrame) -> Tensor:
    """Return a DataFrame's raw columns as model rows (n, d), float32."""
    require("pandas", "benchmark")
    positions = {str(label): at for at, label in enumerate(frame.columns)}
    rows = np.zeros((len(frame), n_columns), dtype=np.float32)
    for feature in features:
        if feature.name not in positions:
            raise InvalidInputError(
                f"the DataFrame has no column {feature.name}; it has {', '.join(positions)}"
            )
        series = frame.iloc[:, positions[feature.name]]
        if isinstance(feature, Continuous):
            rows[:, feature.column] = _numbers(feature, series)
            continue
        codes = _codes(feature, series)
        if feature.one_hot:
            rows[np.arange(len(frame)), np.array(feature.columns)[codes]] = 1
        else:
            rows[:, feature.columns[0]] = codes
    return torch.from_numpy(rows)


def _numbers(feature: Continuous, series: Series) -> np.ndarray[Any, Any]:
    pandas = require("pandas", "benchmark")
    # As objects, dates are no numbers; as they come they would turn into nanoseconds.
    held = series.astype(object) if series.dtype.kind in "mM" else series
    values = pandas.to_numeric(held, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        raise InvalidInputError(
            f"{feature.name}: row {row} is {_plain(series.iloc[row])!r}, not a finite number; "
            "impute or drop such rows first"
        )
    numbers: np.ndarray[Any, Any] = values
    return numbers


def _codes(feature: Categorical, series: Series) -> np.ndarray[Any, Any]:
    number = {category: code for code, category in enumerate(feature.categories)}
    positions, values = require("pandas", "benchmark").factorize(series)
    # Missing values have position -1, which reads the last entry here: no category.
    code_of = np.array([*(number.get(_plain(value), -1) for value in values), -1])
    codes: np.ndarray[Any, Any] = code_of[positions]
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        known = ", ".join(map(repr, feature.categories[:10]))
        more = ", ..." if len(feature.categories) > 10 else ""
        raise InvalidInputError(
            f"{feature.name}: row {row} is {_plain(series.iloc[row])!r}, none of the categories "
            f"{known}{more}"
        )
    return codes


def to_dataframe(features: Sequence[Feature], rows: Tensor) -> DataFrame:
    """Return model rows (n, d) as a DataFrame with one column a feature."""
    pandas = require("pandas", "benchmark")
    values = rows.detach().cpu().numpy()
    columns: dict[str, Any] = {}
    for feature in features:
        if isinstance(feature, Categorical):
            held = values[:, list(feature.columns)]
            codes = held.argmax(axis=1) if feature.one_hot else held[:, 0].astype(np.int64)
            labels = pandas.Series(list(feature.categories), dtype=object)
            columns[feature.name] = labels.take(codes).infer_objects().to_numpy()
        else:
            held = values[:, feature.column]
            whole = feature.integer and bool((held == np.round(held)).all())
            columns[feature.name] = held.astype(np.int64) if whole else held
    return pandas.DataFrame(columns)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _require_known(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError("feature", name, known)


def _names(names: Sequence[str] | None, n_features: int) -> Sequence[str]:
    if names is None:
        return [f"x{at}" for at in range(n_features)]
    if len(names) != n_features:
        raise InvalidInputError(f"{len(names)} names were given for {n_features} features")
    return names


def _one_each(name: str, values: Bound, n_features: int) -> np.ndarray[Any, Any]:
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(numbers) not in (1, n_features):
        raise InvalidInputError(
            f"{name} needs one number or one for each of {n_features} features (a one-hot group is "
            f"one feature), not {len(numbers)}"
        )
    return np.broadcast_to(numbers, n_features)


def _pair(name: str, values: Sequence[float]) -> tuple[float, float]:
    if len(values) != 2:
        raise InvalidInputError(f"{name}: two numbers, [lower, upper], are needed, not {values}")
    return float(values[0]), float(values[1])
