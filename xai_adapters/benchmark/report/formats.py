"""Numbers as text."""

from __future__ import annotations

import math
import textwrap

DASH = "–"


def finite(value: float | None) -> float | None:
    """The value, or None for what is not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def format_number(value: float | None) -> str:
    """A number to three decimals, with fewer when it is large and powers when it is tiny.

    Example:
        >>> [format_number(x) for x in (0.12345, -31.4159, 12345.6, 0.00002, 0.0, float("nan"))]
        ['0.123', '-31.4', '12,346', '2.0e-05', '0.000', '–']
    """
    value = finite(value)
    if value is None:
        return DASH
    size = abs(value)
    if 0 < size < 5e-4:
        return f"{value:.1e}"
    return f"{value:,.{3 if size < 10 else 1 if size < 1000 else 0}f}"


def format_seconds(value: float | None) -> str:
    """A duration in the unit that suits it.

    Example:
        >>> [format_seconds(x) for x in (4e-6, 0.0123, 7.25, 214.0, 9000.0, None)]
        ['4.0 µs', '12.3 ms', '7.2 s', '3.6 min', '2.5 h', '–']
    """
    value = finite(value)
    if value is None:
        return DASH
    for limit, unit, name in ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (60.0, 1.0, "s")):
        if value < limit:
            return f"{value / unit:.1f} {name}"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def format_bytes(value: float | None) -> str:
    """A size in memory in the unit that suits it.

    Example:
        >>> [format_bytes(x) for x in (0, 300_000, 5.25e6, 1.5e9, None)]
        ['0.0 MB', '0.3 MB', '5.2 MB', '1.5 GB', '–']
    """
    value = finite(value)
    if value is None:
        return DASH
    return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"


def shorten(reason: str, width: int) -> str:
    """A reason in at most so many characters."""
    return textwrap.shorten(reason, width, placeholder=" …")
