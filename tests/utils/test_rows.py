from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.rows import as_rows, check_rows, require_finite

BAD = {
    "one dimension": (np.zeros(3), "X must be two-dimensional, .* shape \\(3,\\)"),
    "three dimensions": (np.zeros((2, 3, 4)), "two-dimensional"),
    "no rows": (np.zeros((0, 3)), "X is empty: its shape is \\(0, 3\\)"),
    "no columns": (np.zeros((3, 0)), "X is empty: its shape is \\(3, 0\\)"),
    "text": ([["a", "b"]], "not numbers; describe text and categories with a schema"),
    "text beside numbers": (
        np.array([[1, 2], [3, "b"]], dtype=object),
        "X holds 'b' in column 1, which is no number; describe text",
    ),
    "masked": (
        np.ma.masked_greater(np.arange(6.0).reshape(3, 2), 3),
        "X is a masked array with 2 masked values",
    ),
    "too large for a float": ([[2**53 + 1, 0]], "whole numbers up to 9007199254740993, which"),
    "objects": (np.array([[1, None]], dtype=object), "holds None in column 1, which is no number"),
    "dates": (np.array([["2020-01-01"]], dtype="M8[D]"), "not numbers"),
    "complex numbers": (np.zeros((1, 2), dtype=complex), "complex128, not numbers"),
}

KEPT_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", KEPT_DTYPES)
def test_float_tensors_keep_their_dtype_and_memory(dtype):
    X = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    rows = as_rows(X)
    assert rows.dtype == dtype
    assert rows.data_ptr() == X.data_ptr()
    assert not rows.requires_grad


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, bool])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_numbers_that_are_not_floats_become_float32(dtype, convert):
    rows = as_rows(convert(np.array([[0, 1], [1, 0]], dtype=dtype)))
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_arrays_are_copied_whatever_their_layout():
    X = np.arange(6.0).reshape(2, 3)[:, ::-1]
    X.flags.writeable = False
    rows = as_rows(X)
    rows += 1
    assert rows.tolist() == [[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]]
    assert X.tolist() == [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]


@pytest.mark.parametrize("case", BAD)
def test_unusable_rows_are_refused_with_the_reason(case):
    X, message = BAD[case]
    with pytest.raises(InvalidInputError, match=message):
        as_rows(X)


def test_the_wrong_number_of_columns_is_named():
    with pytest.raises(InvalidInputError, match="inputs has 3 columns where 2 were expected"):
        as_rows(torch.zeros(1, 3), name="inputs", n_columns=2)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=3),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
)
def test_the_first_value_that_is_not_finite_is_located(n_rows, n_columns, places, bad):
    X = torch.zeros(n_rows, n_columns)
    places = {(row % n_rows, column % n_columns) for row, column in places}
    for row, column in places:
        X[row, column] = bad
    row, column = min(places)
    n_bad = len({row for row, _ in places})
    message = f"in {n_bad} of {n_rows} rows, first in row {row}, column {column};"
    with pytest.raises(InvalidInputError, match=message):
        as_rows(X)


def test_positions_in_images_and_in_single_columns_are_named():
    images = torch.zeros(2, 3, 4, 5)
    images[1, 2, 0, 4] = torch.nan
    with pytest.raises(InvalidInputError, match="row 1, column 2, 0, 4;"):
        require_finite(images, "x")
    with pytest.raises(InvalidInputError, match=r"x has .* 2 of 3 rows, first in row 1;"):
        require_finite(torch.tensor([0.0, torch.nan, torch.inf]), "x")


def test_a_named_column_is_named():
    rows = torch.tensor([[1.0, 2.0], [1.0, float("nan")]])
    with pytest.raises(InvalidInputError, match="in 1 of 2 rows, first in row 1, column income"):
        require_finite(rows, "X", ["age", "income"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.ones(2, 2).long(), r"rows must be floating point to be perturbed; got torch.int64"),
        (torch.ones(0, 2), r"there are no rows to explain: the shape is \(0, 2\)"),
        (torch.ones(2), r"rows must be a row of features for each example; .* shape is \(2,\)"),
        (torch.full((1, 2), torch.inf), "rows has NaN or infinite values in 1 of 1 rows"),
    ],
)
def test_rows_that_cannot_be_explained_are_named(rows, message):
    with pytest.raises(InvalidInputError, match=message):
        check_rows(rows, "rows")


@pytest.mark.parametrize(
    ("X", "dtype"),
    [
        (np.array([[1, True], [2.5, np.float32(3)]], dtype=object), torch.float64),
        (np.ma.masked_greater(np.ones((2, 2)), 3), torch.float64),
        (np.arange(4.0).reshape(2, 2).astype(">f8"), torch.float64),
        (np.arange(4).reshape(2, 2).astype(">i2"), torch.float32),
        (np.array([[1_700_000_001, 99_999_999]]), torch.float64),
        (np.array([[-(2**53), 2**53 - 1]]), torch.float64),
        (np.array([[2**53]], dtype=np.uint64), torch.float64),
        (torch.tensor([[2**24, -(2**24)]]), torch.float32),
        (torch.tensor([[2**24 + 1, 0]]), torch.float64),
    ],
)
def test_numbers_are_taken_as_they_are(X, dtype):
    rows = as_rows(X)
    assert rows.dtype == dtype
    assert rows.tolist() == np.asarray(X).astype(object).tolist()
