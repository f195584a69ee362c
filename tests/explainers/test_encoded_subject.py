"""Encoded rows, their metric, and schemas under plain names."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from counterfactual_cases import plain_length
from schemas import rows_of, schemas

from xai_adapters.explainers.encoded_subject import EncodedSubject, with_plain_names
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.registry import Subject


@given(schemas(), st.integers(0, 1000))
def test_the_metric_is_what_a_loop_over_features_says(schema: FeatureSchema, seed: int):
    background, after = rows_of(schema, 12, seed), rows_of(schema, 12, seed + 1)
    of = EncodedSubject.of(Subject(lambda X: X[:, 0], background, "tabular", None, 0, schema))
    before, then = schema.encode(background), schema.encode(after)
    lengths = [
        plain_length(schema, background, old, new)
        for old, new in zip(background.tolist(), after.tolist(), strict=True)
    ]
    assert of.length(before, then).tolist() == pytest.approx(lengths, rel=1e-4)
    each = of.feature_changes(before, then)
    c = of.n_numbers
    assert (each[:, :c].norm(dim=1) + each[:, c:].sum(dim=1)).tolist() == pytest.approx(
        lengths, rel=1e-4
    )


@given(schemas(), st.integers(0, 1000))
def test_the_twin_with_plain_names_encodes_alike(schema: FeatureSchema, seed: int):
    encoded = schema.encode(rows_of(schema, 8, seed))
    one_hot, codes = (with_plain_names(schema, one_hot=hot) for hot in (True, False))
    assert torch.equal(one_hot.decode(encoded), encoded)
    assert codes.n_columns == len(schema.features)
    assert torch.equal(codes.encode(codes.decode(encoded)), encoded)
    for twin in (one_hot, codes):
        assert torch.equal(twin.choices(encoded), schema.choices(encoded))
        for mine, theirs in zip(twin.intervals(encoded), schema.intervals(encoded), strict=True):
            assert torch.equal(mine, theirs)
