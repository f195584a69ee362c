"""Progress bars on standard error, where they are switched on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from xai_adapters.errors import require

T = TypeVar("T")


def progress(steps: Iterable[T], description: str, shown: bool) -> Iterable[T]:
    """Pass `steps` on, with a tqdm bar on standard error if `shown`.

    Raises:
        MissingDependencyError: if a bar is to be shown and tqdm is not installed.

    Example:
        >>> list(progress(range(3), "counting", shown=False))
        [0, 1, 2]
    """
    if not shown:
        return steps
    bar: Iterable[T] = require("tqdm", "benchmark").tqdm(steps, desc=description, leave=False)
    return bar
