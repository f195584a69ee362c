"""What one measurement of an axiom found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """How far an explainer is from keeping an axiom in one case.

    Attributes:
        gap: the distance between what was expected and what the explainer answered; infinite for
            NaN.
        tolerance: the largest gap that is allowed.
        expected: what the axiom demands, for the row that is furthest from it.
        got: what the explainer answered for that row.
    """

    gap: float
    tolerance: float
    expected: Any = None
    got: Any = None

    @property
    def is_kept(self) -> bool:
        """Whether the gap is finite and allowed."""
        return self.gap <= self.tolerance and math.isfinite(self.gap)

    @property
    def excess(self) -> float:
        """By how much the gap is larger than allowed; negative if it is smaller."""
        return self.gap - self.tolerance


def worst_row(
    gaps: Tensor, tolerances: Tensor, expected: Tensor | Sequence[Any], got: Tensor | Sequence[Any]
) -> Finding:
    """The finding of the row that exceeds its tolerance by most; NaN exceeds it by more than any.

    Args:
        gaps: (n,) the gap of each row.
        tolerances: (n,) what each row is allowed.
        expected: (n, ...) what the axiom demands of each row.
        got: (n, ...) what the explainer answered.
    """
    gaps = torch.where(gaps.isnan(), torch.inf, gaps)
    row = int((gaps - tolerances).argmax())
    return Finding(
        float(gaps[row]),
        float(tolerances[row]),
        *(
            rounded(side[row]) if isinstance(side, Tensor) else side[row]
            for side in (expected, got)
        ),
    )


def rounded(values: Tensor) -> Any:
    """Numbers to show to a person: six digits, and integers where they are whole."""
    if values.ndim:
        return [rounded(value) for value in values]
    number = values.item()
    if isinstance(number, float):
        number = float(f"{number:.6g}")
        return int(number) if number.is_integer() and abs(number) < 1e6 else number
    return number
