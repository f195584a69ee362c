"""What `SemifactualBox.explain` returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Semifactual:
    """Boxes and counterfactuals of n rows of d columns, in the user's units.

    Attributes:
        lower: (n, d) how far down each feature may go; categories stay as they are.
        upper: (n, d) how far up.
        violating_mass: bound on the share of a row's box, whole numbers rounded, in which the
            black box gives another class.
        confidence: the probability with which that bound holds for a row.
        counterfactual: (n, d) the nearest point found outside the box; the row itself where none
            was found.
        width: (n, c) half the side of the box in each continuous feature, in its unit, as
            `InvariantBox` found it; the bounds lie within it.
    """

    lower: Tensor
    upper: Tensor
    violating_mass: float
    confidence: float
    counterfactual: Tensor
    width: Tensor
