"""Rows as hosts hand them over, and predictors that want them in a form of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from xai_adapters import Categorical, Continuous, FeatureSchema
from xai_adapters.errors import InvalidInputError
from xai_adapters.features.array_black_box import ArrayBlackBox, flat_rows, like_rows

DTYPES = st.sampled_from(["float32", "float64", "int64", "uint8"])


@given(shape=st.lists(st.integers(1, 3), min_size=2, max_size=4), dtype=DTYPES)
def test_rows_go_to_a_predictor_and_back_as_they_came(shape, dtype):
    X = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    rows, row_shape = flat_rows(X)
    assert rows.shape == (shape[0], np.prod(shape[1:]))
    assert row_shape == tuple(shape[1:])
    seen = []

    def predictor(asked):
        seen.append(asked)
        return asked.reshape(len(asked), -1).sum(axis=1) > 3

    labels = ArrayBlackBox(predictor, row_shape=row_shape).labels(rows)
    assert seen[0].shape == X.shape
    assert (seen[0] == X).all()
    assert labels.tolist() == (X.reshape(len(X), -1).sum(axis=1) > 3).astype(int).tolist()
    back = like_rows(rows, row_shape)
    assert back.shape == X.shape
    assert back.dtype == (dtype if dtype.startswith("float") else "float32")
    assert (back == X).all()


@pytest.mark.parametrize(
    "kind", [list, np.asarray, torch.as_tensor], ids=["list", "numpy", "torch"]
)
def test_rows_may_be_lists_arrays_and_tensors(kind):
    rows, shape = flat_rows(kind([[0.0, 1.0], [2.0, 3.0]]))
    assert rows.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert shape == (2,)


def test_a_dataframe_of_the_schemas_features_becomes_model_rows():
    schema = FeatureSchema([Categorical("job", ("clerk", "cook"), (0, 1)), Continuous("age", 2)])
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": [30, 40], "job": ["cook", "clerk"]})
    rows, shape = flat_rows(frame, schema)
    assert rows.tolist() == [[0.0, 1.0, 30.0], [1.0, 0.0, 40.0]]
    assert shape == (3,)


@pytest.mark.parametrize("X", [np.zeros(3), np.zeros((0, 3)), [["a"]], [[np.nan]]], ids=repr)
def test_what_is_no_rows_is_refused(X):
    with pytest.raises(InvalidInputError):
        flat_rows(X)


def test_a_module_is_asked_in_its_own_dtype_and_shape():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    rows = torch.randn(3, 4)
    found = ArrayBlackBox(module, row_shape=(2, 2)).probabilities(rows)
    expected = module(rows.double().view(3, 2, 2)).softmax(dim=1)
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize(
    ("answer", "is_single"),
    [
        (lambda X: X[:, 0], True),
        (lambda X: X[:, :1], True),
        (lambda X: X[:, :2], False),
        (lambda X: X[:, 0] > 0, False),
    ],
    ids=["numbers", "column", "classes", "labels"],
)
def test_a_single_output_is_known_from_classes_and_labels(answer, is_single):
    box = ArrayBlackBox(answer)
    box.labels(torch.randn(5, 3))
    assert box.has_single_output is is_single
