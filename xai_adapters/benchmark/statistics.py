"""Means over rows with their uncertainty."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def bootstrap_interval(
    values: Array, *, seed: int = 0, n_resamples: int = 1000
) -> tuple[Array, Array]:
    """95 % percentile bootstrap interval of the mean over rows.

    The same resamples serve every column, and every call with as many rows, so that curves and
    explainers measured on the same rows are compared in pairs.

    Args:
        values: (n, ...), one entry a row.
        seed: of the resamples.
        n_resamples: how many there are.

    Returns:
        Lower and upper ends (...).

    Example:
        >>> low, high = bootstrap_interval(np.array([0.0, 1.0, 1.0, 0.0]))
        >>> bool(0 <= low < 0.5 < high <= 1)
        True
    """
    n_rows = len(values)
    picked = np.random.default_rng(seed).integers(n_rows, size=(n_resamples, n_rows))
    counts = np.stack([np.bincount(some, minlength=n_rows) for some in picked]) / n_rows
    means = np.tensordot(counts, values, axes=1)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def standard_error(values: Array) -> float:
    """Standard error of the mean over rows (n,); NaN for a single row."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))
