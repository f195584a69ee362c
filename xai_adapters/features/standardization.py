"""Mean and spread by which columns are standardised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Rows worked on at once.
_BLOCK = 4096


def standardization(
    rows: Tensor, shared: bool, columns: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and spread (c,) by which columns of rows (n, d) are standardised, in at least float32.

    Args:
        rows: (n, d) numbers; they are not copied as a whole.
        shared: whether all columns get the same spread.
        columns: positions (c,) of the columns; None for all.

    Returns:
        Mean and standard deviation (c,); a constant column has a spread of 1.

    Example:
        >>> mean, spread = standardization(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), shared=False)
        >>> mean.tolist(), spread.tolist()
        ([2.0, 5.0], [1.0, 1.0])
    """
    chosen = slice(None) if columns is None else list(columns)
    dtype = torch.promote_types(rows.dtype, torch.float32)
    mean = rows.mean(dim=0, dtype=dtype)[chosen]
    # Taken from the values themselves: rounding gives a constant column a tiny variance.
    extent = rows.amax(dim=0).to(dtype)[chosen] - rows.amin(dim=0).to(dtype)[chosen]
    if shared and len(mean):
        extent = extent.amax().expand_as(extent)
    varies = extent > 0
    # In units of the extent, as squares of very small and very large numbers are not finite.
    divisor, squares = torch.where(varies, extent, 1.0), torch.zeros_like(mean)
    for some in rows.split(_BLOCK):
        squares += ((some[:, chosen] - mean) / divisor).square().sum(dim=0)
    variance = squares / len(rows)
    if shared and len(mean):
        variance = variance.mean().expand_as(variance)
    return mean, torch.where(varies, extent * variance.sqrt(), 1.0)
