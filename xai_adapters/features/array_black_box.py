"""Rows in the forms that hosts use, and a black box that is queried in the form it expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.black_box import BlackBox, BlackBoxOptions
from xai_adapters.utils.options import named_options
from xai_adapters.utils.rows import as_rows


class ArrayBlackBox(BlackBox):
    """A black box queried with flat rows (n, d), whatever shape, dtype and device it expects.

    Hosts use numpy arrays, also of images, and modules on any device; the algorithms work on rows.
    Everything else is as in `BlackBox`.

    Args:
        predictor: anything `BlackBox` takes. A module gets rows on its device and in its dtype.
        row_shape: shape of one row as the predictor expects it; by default flat, (d,).
        **options: those of `BlackBox`.

    Example:
        >>> brightness = ArrayBlackBox(lambda X: X.mean(axis=(1, 2)) > 0.5, row_shape=(2, 2))
        >>> brightness.labels(torch.tensor([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]])).tolist()
        [0, 1]
    """

    @named_options(BlackBox)
    def __init__(
        self,
        predictor: Any,
        *,
        row_shape: tuple[int, ...] | None = None,
        **options: Unpack[BlackBoxOptions],
    ) -> None:
        super().__init__(predictor, **options)
        self.row_shape = row_shape

    def probabilities(self, rows: Tensor) -> Tensor:
        """Probability of each class (n, K) of rows (n, d), as `BlackBox` gives it."""
        return super().probabilities(self.as_asked(rows)).to(rows.device)

    def as_asked(self, rows: Tensor) -> Tensor:
        """Flat rows (n, d) in the predictor's own form; differentiable."""
        if self.row_shape is not None:
            rows = rows.reshape(len(rows), *self.row_shape)
        if isinstance(self.predictor, nn.Module):
            weights = next((w for w in self.predictor.parameters() if w.is_floating_point()), None)
            if weights is not None:
                rows = rows.to(weights.device, weights.dtype)
        return rows


def flat_rows(X: Any, schema: FeatureSchema | None = None) -> tuple[Tensor, tuple[int, ...]]:
    """Return a host's rows flattened to (n, d), and the shape of one row.

    Args:
        X: (n, ...) array, tensor or nested list of numbers, or a DataFrame.
        schema: if given, a DataFrame may hold the features it names.

    Raises:
        InvalidInputError: for what cannot be used as rows; see `as_rows`.

    Example:
        >>> rows, shape = flat_rows(np.zeros((5, 2, 3)))
        >>> rows.shape, shape
        (torch.Size([5, 6]), (2, 3))
    """
    if schema is not None and hasattr(X, "columns") and set(schema.names) <= set(X.columns):
        rows = schema.to_rows(X)
        return rows, tuple(rows.shape[1:])
    # An array of a class of its own may be masked, as as_rows will see.
    held = X if isinstance(X, Tensor | np.ndarray) else np.asarray(X)
    shape = tuple(held.shape[1:])
    # Fewer dimensions, and no rows, are as_rows' to complain about.
    if held.ndim > 2 and len(held):
        held = held.reshape(len(held), -1)
    return as_rows(held), shape


def like_rows(rows: Tensor, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return flat rows (n, d) as the array (n, ...) that a host expects."""
    # numpy has no bfloat16.
    rows = rows.detach().to("cpu", torch.promote_types(rows.dtype, torch.float32))
    array: np.ndarray[Any, Any] = rows.numpy().reshape(len(rows), *shape)
    return array
