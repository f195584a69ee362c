"""Columns of frames, matched by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xai_adapters.errors import InvalidInputError


def column_names(X: Any) -> list[str] | None:
    """The names of a frame's columns; None for other rows, and for names that are not unique."""
    names = [str(name) for name in X.columns] if hasattr(X, "columns") else []
    return names if names and len(set(names)) == len(names) else None


def in_order_of(X: Any, names: Sequence[str] | None) -> Any:
    """A frame with its columns in the order of `names`; other rows as they are.

    Args:
        X: rows, in a frame or not.
        names: the columns of the frame that was fitted to; None if it was none.

    Raises:
        InvalidInputError: for a frame that lacks one of the names, or has others.
    """
    given = column_names(X)
    if given is None or names is None or given == list(names):
        return X
    for what, some in (
        ("lack", [name for name in names if name not in given]),
        ("have, unlike those that were fitted to,", [name for name in given if name not in names]),
    ):
        if some:
            listed = ", ".join(map(repr, some[:5])) + (", ..." if len(some) > 5 else "")
            raise InvalidInputError(
                f"the rows {what} the column{'s' if len(some) > 1 else ''} {listed}; hand over the "
                "same columns as in fitting, in any order"
            )
    return X[[X.columns[given.index(name)] for name in names]]
