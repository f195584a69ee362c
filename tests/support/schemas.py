"""Schemas of every kind, and rows that fit them."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema

LABELS = st.sampled_from(
    [("red", "green", "blue", "grey"), (10, 30, 20, 40), (False, True), (0.5, 1.5, 2.5, -1.0)]
)
# Quarters are exact in float32, so a slow second implementation can be compared with ==.
QUARTERS = st.integers(-16, 16).map(lambda k: k / 4)
LOWER = st.just(-math.inf) | QUARTERS
SPANS = st.just(math.inf) | st.integers(0, 24).map(lambda k: k / 4)
REACHES = st.just((-math.inf, math.inf)) | st.tuples(
    st.sampled_from([-math.inf, -1.25, 0.0]), st.sampled_from([math.inf, 0.75, 0.0])
)
MUTABLE = st.sampled_from([True, True, True, False])
COSTS = st.sampled_from([0.5, 1.0, 2.0])


@st.composite
def schemas(draw, max_continuous: int = 4, max_categorical: int = 3) -> FeatureSchema:
    """Draw a schema with its features and their columns in any order."""
    n_continuous = draw(st.integers(0, max_continuous))
    n_categorical = draw(st.integers(0 if n_continuous else 1, max_categorical))
    labels = [
        draw(LABELS.flatmap(lambda all_: st.integers(1, len(all_)).map(lambda k: all_[:k])))
        for _ in range(n_categorical)
    ]
    one_hot = [draw(st.booleans()) for _ in labels]
    widths = [len(ls) if hot else 1 for ls, hot in zip(labels, one_hot, strict=True)]
    columns = iter(draw(st.permutations(range(n_continuous + sum(widths)))))
    features = [_continuous(draw, f"c{at}", next(columns)) for at in range(n_continuous)]
    features += [
        Categorical(
            f"k{at}",
            categories,
            tuple(next(columns) for _ in range(width)),
            one_hot=hot,
            mutable=draw(MUTABLE),
            allowed=draw(st.none() | st.lists(st.sampled_from(categories), unique=True)),
            cost=draw(COSTS),
        )
        for at, (categories, hot, width) in enumerate(zip(labels, one_hot, widths, strict=True))
    ]
    return FeatureSchema(draw(st.permutations(features)))


def _continuous(draw, name: str, column: int) -> Continuous:
    integer, lower = draw(st.booleans()), draw(LOWER)
    span = draw(SPANS)
    upper = draw(LOWER.map(lambda u: -u)) if lower == -math.inf else lower + span
    if integer and math.isfinite(lower) and math.ceil(lower) > upper:
        lower, upper = math.ceil(lower), math.ceil(upper)
    return Continuous(
        name,
        column,
        lower=lower,
        upper=upper,
        mutable=draw(MUTABLE),
        direction=draw(st.sampled_from(["both", "up", "down"])),
        integer=integer,
        cost=draw(COSTS),
        reach=draw(REACHES),
    )


def rows_of(
    schema: FeatureSchema, n_rows: int, seed: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return model rows (n, d) that `schema.check(rows, bounds=True)` accepts."""
    random = np.random.default_rng(seed)
    rows = np.zeros((n_rows, schema.n_columns))
    for feature in schema.features:
        if isinstance(feature, Continuous):
            lower = feature.lower if feature.lower > -math.inf else min(feature.upper, 4.0) - 8
            upper = feature.upper if feature.upper < math.inf else lower + 8
            step = 1.0 if feature.integer else 0.25
            first, last = math.ceil(lower / step), math.floor(upper / step)
            rows[:, feature.column] = random.integers(first, last + 1, n_rows) * step
        else:
            codes = random.integers(0, len(feature.categories), n_rows)
            if feature.one_hot:
                rows[np.arange(n_rows), np.array(feature.columns)[codes]] = 1
            else:
                rows[:, feature.columns[0]] = codes
    return torch.from_numpy(rows).to(dtype)
