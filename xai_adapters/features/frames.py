"""DataFrames in and out: features by a frame's dtypes, rows of a frame, and a frame of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError, require
from xai_adapters.features.arguments import pair, require_known
from xai_adapters.features.kinds import (
    Categorical,
    Category,
    Continuous,
    Direction,
    Feature,
    is_category,
)

if TYPE_CHECKING:
    from pandas import DataFrame, Series


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
    require_known([*immutable, *direction, *bounds, *cost], names)
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
            lower, upper = pair(name, bounds.get(name, (-math.inf, math.inf)))
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
