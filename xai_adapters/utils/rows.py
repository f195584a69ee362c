"""Rows as the algorithms want them: a finite float tensor with one row an example."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError

# Numbers in the rows that are worked on at once: a network's activations are ten times as many, and
# more do not fit a processor's caches.
_CACHED = 500_000


def as_rows(X: Any, name: str = "X", n_columns: int | None = None) -> Tensor:
    """Return `X` as a detached 2-D float tensor, or say what is wrong with it.

    Args:
        X: (n, d) tensor, array, DataFrame or nested list of numbers; integers become float32.
        name: what the caller calls this argument, for the message.
        n_columns: the d that is wanted, if it is known.

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
        array = np.asarray(X)
        if array.dtype.kind not in "fiub":
            raise InvalidInputError(
                f"{name} holds values of type {array.dtype}, not numbers; encode its text and "
                "category columns first"
            )
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
        rows = rows.to(torch.float32)
    require_finite(rows, name)
    return rows


def fastest_batch_size(rows: Tensor) -> int | None:
    """Rows at once with which networks are fastest on a processor; None, for all, elsewhere."""
    return max(8, _CACHED // max(1, rows.shape[1:].numel())) if rows.device.type == "cpu" else None


def require_finite(rows: Tensor, name: str) -> None:
    """Raise `InvalidInputError` naming the first NaN or infinite value's row and position."""
    # The ends tell: a mask of all values would take a quarter of their memory, and more on the way.
    if rows.numel() and not all(map(math.isfinite, rows.aminmax())):
        bad = ~torch.isfinite(rows)
        first = bad.nonzero()[0].tolist()
        n_rows = int(bad.flatten(1).any(dim=1).sum()) if rows.ndim > 1 else int(bad.sum())
        raise InvalidInputError(
            f"{name} has NaN or infinite values in {n_rows} of {len(rows)} rows, first in row "
            f"{first[0]}{f', column {_position(first[1:])}' if rows.ndim > 1 else ''}; "
            "drop or impute them"
        )


def _position(index: Iterable[int]) -> str:
    return ", ".join(map(str, index))
