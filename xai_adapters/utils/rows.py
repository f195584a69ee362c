"""Rows as the algorithms need them: a tensor of finite floats with one row for each example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError

# Numbers in the rows of a batch: a network's activations are ten times as many, and more do not fit
# into a processor's caches.
_CACHED = 500_000


def as_rows(X: Any, name: str = "X", n_columns: int | None = None) -> Tensor:
    """Return `X` as a detached 2-D float tensor, or say what is wrong with it.

    Args:
        X: (n, d) tensor, array, DataFrame or nested list of numbers. Integers become float32, or
            float64 where float32 cannot hold them.
        name: what the caller calls this argument, for the message.
        n_columns: the expected d, if it is known.

    Raises:
        InvalidInputError: for no rows, another number of dimensions or columns, values that are
            not numbers, and NaN or infinite values (the first such row and column are named).

    Example:
        >>> as_rows([[1, 2], [3, 4]]).dtype
        torch.float32
    """
    if isinstance(X, Tensor):
        rows = X.detach()
    else:
        n_masked = int(np.ma.getmaskarray(X).sum()) if isinstance(X, np.ma.MaskedArray) else 0
        if n_masked:
            raise InvalidInputError(
                f"{name} is a masked array with {n_masked} masked values; fill them, or drop their "
                "rows"
            )
        array = _of_numbers(np.asarray(X), name)
        # Copied only where it has to be: torch takes no read-only or negatively strided array.
        rows = torch.from_numpy(np.require(array, requirements=("C", "W")))
    if rows.ndim != 2:
        raise InvalidInputError(
            f"{name} must be two-dimensional, (rows, columns); it has shape {tuple(rows.shape)}"
        )
    if rows.shape[0] == 0 or rows.shape[1] == 0:
        raise InvalidInputError(f"{name} is empty: its shape is {tuple(rows.shape)}")
    if n_columns is not None and rows.shape[1] != n_columns:
        raise InvalidInputError(
            f"{name} has {rows.shape[1]} columns where {n_columns} were expected, as in fitting"
        )
    if not rows.is_floating_point():
        rows = _whole_numbers_as_floats(rows, name)
    require_finite(rows, name)
    return rows


def _whole_numbers_as_floats(rows: Tensor, name: str) -> Tensor:
    """Whole numbers in the smaller of float32 and float64 that holds all of them exactly."""
    # By numpy, which knows the extremes of every type.
    values = rows.cpu().numpy()
    largest = max(abs(int(values.min())), abs(int(values.max())))
    if largest > 2**53:
        raise InvalidInputError(
            f"{name} holds whole numbers up to {largest}, which no float holds exactly beyond "
            f"{2**53}; drop such a column, or give it smaller numbers"
        )
    return rows.to(torch.float32 if largest <= 2**24 else torch.float64)


def _of_numbers(array: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """An array of numbers in the machine's byte order, from one that may hold them as objects."""
    if array.dtype.kind in "fiub":
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "O":
        for row in array.reshape(len(array), -1) if array.ndim else ():
            for column, value in enumerate(row):
                if not isinstance(value, Real | np.bool_):
                    raise InvalidInputError(
                        f"{name} holds {value!r:.40} in column {column}, which is no number; "
                        "describe text and categories with a schema, or encode them first"
                    )
        return array.astype(np.float64)
    raise InvalidInputError(
        f"{name} holds values of type {array.dtype}, not numbers; describe text and categories "
        "with a schema, or encode them first"
    )


def fastest_batch_size(rows: Tensor) -> int | None:
    """Batch size with which networks are fastest on a CPU; None, for all rows, on other devices."""
    return max(8, _CACHED // max(1, rows.shape[1:].numel())) if rows.device.type == "cpu" else None


def check_rows(rows: Tensor, name: str) -> None:
    """Raise `InvalidInputError` unless there are rows (n, ...) of finite floats to explain."""
    if not rows.is_floating_point():
        raise InvalidInputError(f"{name} must be floating point to be perturbed; got {rows.dtype}")
    if rows.numel() == 0:
        raise InvalidInputError(f"there are no rows to explain: the shape is {tuple(rows.shape)}")
    if rows.ndim < 2:
        raise InvalidInputError(
            f"{name} must be a row of features for each example; their shape is {tuple(rows.shape)}"
        )
    require_finite(rows, name)


def require_finite(rows: Tensor, name: str, columns: Sequence[str] = ()) -> None:
    """Raise `InvalidInputError` that names the row and column of the first NaN or infinite value.

    Args:
        rows: (n, ...) floats.
        name: what the caller calls them, for the message.
        columns: names of the columns of rows (n, d), if they have some.
    """
    # The extremes tell: a mask of all values would take a quarter of their memory, or more.
    if rows.numel() and not all(map(math.isfinite, rows.aminmax())):
        bad = ~torch.isfinite(rows)
        row, *position = bad.nonzero()[0].tolist()
        n_rows = int(bad.flatten(1).any(dim=1).sum()) if position else int(bad.sum())
        is_named = len(position) == 1 and columns
        column = columns[position[0]] if is_named else ", ".join(map(str, position))
        raise InvalidInputError(
            f"{name} has NaN or infinite values in {n_rows} of {len(rows)} rows, first in row "
            f"{row}{f', column {column}' if position else ''}; drop or impute them"
        )
