"""Arguments that name features, or give one value for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xai_adapters.errors import InvalidInputError, UnknownNameError

Bound = float | Sequence[float] | np.ndarray[Any, Any]


def require_known(names: Iterable[str], known: Sequence[str]) -> None:
    """Raise `UnknownNameError` for the first name that no feature has."""
    for name in names:
        if name not in known:
            raise UnknownNameError("feature", name, known)


def names_or_default(names: Sequence[str] | None, n_features: int) -> Sequence[str]:
    """The names given for so many features, or x0, x1, ..."""
    if names is None:
        return [f"x{at}" for at in range(n_features)]
    if len(names) != n_features:
        raise InvalidInputError(f"{len(names)} names were given for {n_features} features")
    return names


def one_each(name: str, values: Bound, n_features: int) -> np.ndarray[Any, Any]:
    """One number for each feature, from one for all or one each."""
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(numbers) not in (1, n_features):
        raise InvalidInputError(
            f"{name} needs one number or one for each of {n_features} features (a one-hot group is "
            f"one feature), not {len(numbers)}"
        )
    return np.broadcast_to(numbers, n_features)


def pair(name: str, values: Sequence[float]) -> tuple[float, float]:
    """Two numbers, such as [lower, upper], given for a feature."""
    if len(values) != 2:
        raise InvalidInputError(f"{name}: two numbers, [lower, upper], are needed, not {values}")
    return float(values[0]), float(values[1])
