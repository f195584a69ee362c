"""Means over rows with their uncertainty, and tests of their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Level of the tests.
SIGNIFICANCE = 0.05
# Relative differences below this are rounding.
_ROUNDING = 1e-9


def bootstrap_interval(
    values: Array, *, seed: int = 0, n_resamples: int = 1000
) -> tuple[Array, Array]:
    """95 % percentile bootstrap interval of the mean over rows.

    The same resamples are drawn for every column, and in every call with as many rows, so that
    curves and explainers measured on the same rows are compared in pairs.

    Args:
        values: (n, ...), one entry per row.
        seed: of the resamples.
        n_resamples: number of resamples.

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


def paired_p_value(differences: Array) -> float:
    """P-value of the mean of paired differences (n,), by a sign-flip test.

    If rows were as likely to differ one way as the other, the sum of n differences d would have
    variance sum(d^2). The normal approximation is bounded from below by 2^(1 - m), the smallest
    p-value that flipping m nonzero signs can give, so that a handful of rows proves nothing.

    Example:
        >>> paired_p_value(np.array([1.0, 1.0, 1.0, 0.0, 0.0]))
        0.25
        >>> round(paired_p_value(np.ones(30)), 6)
        0.0
    """
    size = np.abs(differences)
    moved = differences[size > _ROUNDING * max(1.0, float(size.max(initial=0.0)))]
    if not len(moved):
        return 1.0
    z = abs(float(moved.sum())) / float(np.sqrt((moved**2).sum()))
    return min(1.0, max(_two_tails(z), 2.0 ** (1 - len(moved))))


def unpaired_p_value(difference: float, errors: Sequence[float]) -> float:
    """P-value of the difference of two means with standard errors; 1 if an error is unknown."""
    spread = float(np.linalg.norm(errors))
    if not spread > 0:
        return 1.0
    return _two_tails(abs(difference) / spread)


def _two_tails(z: float) -> float:
    return 2 * NormalDist().cdf(-z)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-Bonferroni adjusted p-values.

    Example:
        >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - position)))
        adjusted[index] = largest
    return adjusted


def ranks(values: Mapping[str, Array], *, higher_is_better: bool) -> dict[str, tuple[int, int]]:
    """The best and the worst rank of each, by paired tests of every two.

    Those that do not differ significantly share ranks: 1 to 3 means that none is significantly
    better, and two are not significantly worse.

    Args:
        values: (n,) by name, NaN for rows without a value; the rows are the same for all.
        higher_is_better: direction of the metric.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=50)
        >>> ranks({"a": noise, "b": noise + 1, "c": noise + 1}, higher_is_better=True)
        {'a': (3, 3), 'b': (1, 2), 'c': (1, 2)}
    """
    names = list(values)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    differences = [row_differences(values[a], values[b]) for a, b in pairs]
    adjusted = holm([paired_p_value(each) for each in differences])
    ahead, behind = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for (a, b), each, p_value in zip(pairs, differences, adjusted, strict=True):
        if p_value < SIGNIFICANCE:
            winner, loser = (a, b) if (each.mean() > 0) == higher_is_better else (b, a)
            behind[loser] += 1
            ahead[winner] += 1
    return {name: (1 + behind[name], len(names) - ahead[name]) for name in names}


def row_differences(first: Array, second: Array) -> Array:
    """First minus second on the rows that both have."""
    n = min(len(first), len(second))
    differences: Array = first[:n] - second[:n]
    return differences[~np.isnan(differences)]


def difference(first: Array, second: Array, *, seed: int = 0) -> tuple[float, float, float]:
    """Mean of first minus second over the rows that both have, with its 95 % interval."""
    both = row_differences(first, second)
    if not len(both):
        return (float("nan"),) * 3
    low, high = bootstrap_interval(both, seed=seed)
    return float(both.mean()), float(low), float(high)
