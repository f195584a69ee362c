"""How a search looks at its boxes: with which draws it estimates their hinge in each step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from xai_adapters.box.draws import DrawsName, SharedDrawsName, box_draws
from xai_adapters.box.fade_to_colour import FadedDraws
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Estimate, ExpectedHinge
from xai_adapters.box.importance_sampling import TiltedDraws


class Sampler(Protocol):
    """Looks at the boxes of the rows that still search, in every step at new points."""

    def look(self, boxes: Boxes, slope: Tensor, done: float) -> Estimate:
        """Estimate the hinge.

        Args:
            boxes: of these rows.
            slope: (a, s, ...) overwritten by its derivative with respect to their widths.
            done: the share of the search's steps that were taken, in [0, 1).
        """

    def keep(self, kept: Tensor) -> None:
        """Forget the rows that are not among `kept` (a,)."""


class SharedDraws:
    """New draws in each step, the same for all rows."""

    def __init__(
        self, hinge: ExpectedHinge, largest: Boxes, name: SharedDrawsName, n: int, seed: int
    ) -> None:
        self._hinge, self._draw = hinge, box_draws(name, n, largest.x, seed)

    def look(self, boxes: Boxes, slope: Tensor, done: float) -> Estimate:
        """Estimate the hinge at new draws."""
        return self._hinge.estimate(boxes, self._draw(), slope)

    def keep(self, kept: Tensor) -> None:
        """Nothing is kept of any row."""


class AttackedCorners:
    """Corners of each row's box that in every step move on to where they hurt more."""

    def __init__(self, hinge: ExpectedHinge, largest: Boxes, n: int, seed: int) -> None:
        corners = box_draws("corners", n, largest.x, seed)()
        self._corners = corners.expand(len(largest.rows), *corners.shape).clone()
        self._hinge = hinge
        self._weight, self._rivals = hinge.attacks(largest.rows, n)

    def look(self, boxes: Boxes, slope: Tensor, done: float) -> Estimate:
        """Estimate the hinge at the corners, and move them on."""
        return self._hinge.estimate(
            boxes, self._corners, slope, weight=self._weight, rivals=self._rivals
        )

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows' corners."""
        self._corners, self._weight = self._corners[kept], self._weight[kept]
        self._rivals = self._rivals[kept]


def box_sampler(
    name: DrawsName, hinge: ExpectedHinge, largest: Boxes, n: int, seed: int
) -> Sampler:
    """The sampler that looks at n draws of that name.

    Args:
        name: of the draws.
        hinge: of the boxes.
        largest: boxes of the rows that are searched for, of the largest widths.
        n: M, draws of a row in each step.
        seed: of the draws.

    Raises:
        InvalidInputError: for more features than Sobol points have.
        PredictorError: for tilted draws, if the model has no gradient.
    """
    if name == "tilted":
        return TiltedDraws(hinge, largest, n, seed)
    if name == "faded":
        return FadedDraws(hinge, largest, n, seed)
    if name == "adversarial":
        return AttackedCorners(hinge, largest, n, seed)
    return SharedDraws(hinge, largest, name, n, seed)
