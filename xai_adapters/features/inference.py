"""Schemas inferred from tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from xai_adapters.errors import InvalidInputError, require
from xai_adapters.features.arguments import require_known
from xai_adapters.features.kinds import Categorical, Continuous, Feature, columns_of
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.utils.rows import require_finite

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# Between the name of a feature and a category in the name of a one-hot column.
_SEPARATORS = ("_", "=", ".")
_MOST_CATEGORIES = 1000


def is_encoded(frame: DataFrame) -> bool:
    """Whether a model can be given the columns as they are: all of them hold numbers."""
    return all(map(require("pandas", "benchmark").api.types.is_numeric_dtype, frame.dtypes))


def infer_schema(
    frame: DataFrame, *, immutable: Sequence[str] = (), categories: Sequence[str] = ()
) -> FeatureSchema:
    """Infer the schema of a table.

    If all columns hold numbers or booleans, they are the model's columns as they are. Otherwise
    text, booleans and the named columns become one-hot groups. Numbers keep to the range they have
    in the frame, and columns of whole numbers stay whole.

    Args:
        frame: the columns.
        immutable: names of the features that may not change.
        categories: names of columns of numbers that are categories; of encoded columns those of
            codes 0, 1, ..., or the common prefix of one-hot columns: "job" for job_clerk and
            job_cook, or for job=clerk and job=cook.

    Raises:
        UnknownNameError: for a name that fits no column.
        InvalidInputError: for a column with missing values or of another type, and for columns
            that are neither codes nor one-hot; the first such row is named.

    Example:
        >>> pandas = __import__("pytest").importorskip("pandas")
        >>> frame = pandas.DataFrame({"age": [20, 50], "job_clerk": [0, 1], "job_cook": [1, 0]})
        >>> schema = infer_schema(frame, immutable=["age"], categories=["job"])
        >>> [(feature.name, feature.mutable) for feature in schema.features]
        [('age', False), ('job', True)]
    """
    infer = _schema_of_encoded if is_encoded(frame) else _schema_of_raw
    return infer(frame, immutable, categories)


def _schema_of_raw(
    frame: DataFrame, immutable: Sequence[str], categories: Sequence[str]
) -> FeatureSchema:
    require_known([*immutable, *categories], list(frame))
    frame = frame.astype(dict.fromkeys(categories, "category"))
    types = require("pandas", "benchmark").api.types
    bounds = {
        name: (frame[name].min(), frame[name].max())
        for name in frame
        if types.is_numeric_dtype(frame[name]) and not types.is_bool_dtype(frame[name])
    }
    return FeatureSchema.from_dataframe(frame, immutable=immutable, bounds=bounds)


def _schema_of_encoded(
    frame: DataFrame, immutable: Sequence[str], categories: Sequence[str]
) -> FeatureSchema:
    names = list(frame)
    require_finite(torch.from_numpy(frame.to_numpy(np.float64)), "the table", names)
    features: list[Feature] = []
    of_groups: set[str] = set()
    for name in categories:
        found = [each for each in names if each.startswith(tuple(name + s for s in _SEPARATORS))]
        if name not in names and found:
            of_groups.update(found)
            values = tuple(each[len(name) + 1 :] for each in found)
            features.append(Categorical(name, values, tuple(map(names.index, found))))
    for column, name in enumerate(names):
        if name not in of_groups:
            features.append(_feature(frame[name], column, is_code=name in categories))
    features.sort(key=lambda each: columns_of(each)[0])
    known = [feature.name for feature in features]
    require_known([*immutable, *categories], known)
    schema = FeatureSchema(features).restricted([name for name in known if name not in immutable])
    schema.check(torch.from_numpy(frame.to_numpy(np.float32)))
    return schema


def _feature(values: Series, column: int, *, is_code: bool) -> Feature:
    name = str(values.name)
    if values.dtype == bool:
        return Categorical(name, (False, True), (column,), one_hot=False)
    lower, upper = float(values.min()), float(values.max())
    if is_code:
        if upper >= _MOST_CATEGORIES:
            raise InvalidInputError(
                f"{name} holds {upper:g}; a category held as numbers has codes 0, 1, ... below "
                f"{_MOST_CATEGORIES}"
            )
        return Categorical(name, tuple(range(int(max(upper, 0)) + 1)), (column,), one_hot=False)
    whole = values.dtype.kind in "iu"
    return Continuous(name, column, lower=lower, upper=upper, integer=whole)
