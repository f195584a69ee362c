"""How a search looks at its boxes: with which draws it estimates their hinge in each step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from xai_adapters.core.box_draws import DrawsName, SharedDrawsName, box_draws
from xai_adapters.core.expected_hinge import Estimate, ExpectedHinge
from xai_adapters.core.faded_draws import FadedDraws
from xai_adapters.core.tilted_draws import TiltedDraws


class Sampler(Protocol):
    """Looks at the boxes of the rows that still search, in every step at new points."""

    def look(self, rows: Tensor, width: Tensor, slope: Tensor) -> Estimate:
        """Estimate the hinge.

        Args:
            rows: (a,) numbers of the rows.
            width: (a, s, ...) of their boxes.
            slope: (a, s, ...) overwritten by the derivative of the hinge with respect to it.
        """

    def keep(self, kept: Tensor) -> None:
        """Forget the rows that are not among `kept` (a,)."""


class SharedDraws:
    """New draws in each step, the same for all rows."""

    def __init__(self, hinge: ExpectedHinge, name: SharedDrawsName, n: int, seed: int) -> None:
        self._hinge, self._draw = hinge, box_draws(name, n, hinge.shape.x, seed)

    def look(self, rows: Tensor, width: Tensor, slope: Tensor) -> Estimate:
        """Estimate the hinge at new draws."""
        return self._hinge.estimate(rows, width, self._draw(), slope)

    def keep(self, kept: Tensor) -> None:
        """Nothing is kept of any row."""


class AttackedCorners:
    """Corners of each row's box that in every step move on to where they hurt more."""

    def __init__(self, hinge: ExpectedHinge, rows: Tensor, n: int, seed: int) -> None:
        corners = box_draws("corners", n, hinge.shape.x, seed)()
        self._hinge, self._corners = hinge, corners.expand(len(rows), *corners.shape).clone()

    def look(self, rows: Tensor, width: Tensor, slope: Tensor) -> Estimate:
        """Estimate the hinge at the corners, and move them on."""
        return self._hinge.estimate(rows, width, self._corners, slope, sharpen=True)

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows' corners."""
        self._corners = self._corners[kept]


def box_sampler(
    name: DrawsName, hinge: ExpectedHinge, rows: Tensor, bound: Tensor, n: int, seed: int
) -> Sampler:
    """The sampler that looks at n draws of that name.

    Args:
        name: of the draws.
        hinge: of the boxes.
        rows: (a,) numbers of the rows that are searched for.
        bound: (a, s, ...) the largest widths of their boxes.
        n: M, draws of a row in each step.
        seed: of the draws.

    Raises:
        InvalidInputError: for more features than Sobol points have.
        PredictorError: for tilted draws, if the model has no gradient.
    """
    if name == "tilted":
        return TiltedDraws(hinge, rows, bound, n, seed)
    if name == "faded":
        return FadedDraws(hinge, rows, bound, n, seed)
    if name == "adversarial":
        return AttackedCorners(hinge, rows, n, seed)
    return SharedDraws(hinge, name, n, seed)
