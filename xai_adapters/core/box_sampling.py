"""How a search looks at its boxes: with which draws it estimates their hinge in each step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from xai_adapters.core.box_draws import DrawsName, SharedDrawsName, box_draws
from xai_adapters.core.box_shapes import BoxShape
from xai_adapters.core.boxes import Boxes
from xai_adapters.core.expected_hinge import Estimate, ExpectedHinge
from xai_adapters.core.faded_draws import FadedDraws
from xai_adapters.core.tilted_draws import TiltedDraws


class Sampler(Protocol):
    """Looks at the boxes of the rows that still search, in every step at new points."""

    def look(self, boxes: Boxes, slope: Tensor) -> Estimate:
        """Estimate the hinge.

        Args:
            boxes: of these rows.
            slope: (a, s, ...) overwritten by its derivative with respect to their widths.
        """

    def keep(self, kept: Tensor) -> None:
        """Forget the rows that are not among `kept` (a,)."""


class SharedDraws:
    """New draws in each step, the same for all rows."""

    def __init__(
        self, hinge: ExpectedHinge, name: SharedDrawsName, x: Tensor, n: int, seed: int
    ) -> None:
        self._hinge, self._draw = hinge, box_draws(name, n, x, seed)

    def look(self, boxes: Boxes, slope: Tensor) -> Estimate:
        """Estimate the hinge at new draws."""
        return self._hinge.estimate(boxes, self._draw(), slope)

    def keep(self, kept: Tensor) -> None:
        """Nothing is kept of any row."""


class AttackedCorners:
    """Corners of each row's box that in every step move on to where they hurt more."""

    def __init__(self, hinge: ExpectedHinge, x: Tensor, rows: Tensor, n: int, seed: int) -> None:
        corners = box_draws("corners", n, x, seed)()
        self._hinge, self._corners = hinge, corners.expand(len(rows), *corners.shape).clone()
        self._weight, self._rivals = hinge.attacks(rows, n)

    def look(self, boxes: Boxes, slope: Tensor) -> Estimate:
        """Estimate the hinge at the corners, and move them on."""
        return self._hinge.estimate(
            boxes, self._corners, slope, weight=self._weight, rivals=self._rivals
        )

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows' corners."""
        self._corners, self._weight = self._corners[kept], self._weight[kept]
        self._rivals = self._rivals[kept]


def box_sampler(
    name: DrawsName,
    hinge: ExpectedHinge,
    shape: BoxShape,
    rows: Tensor,
    bound: Tensor,
    n: int,
    seed: int,
) -> Sampler:
    """The sampler that looks at n draws of that name.

    Args:
        name: of the draws.
        hinge: of the boxes.
        shape: of the boxes.
        rows: (a,) numbers of the rows that are searched for.
        bound: (a, s, ...) the largest widths of their boxes.
        n: M, draws of a row in each step.
        seed: of the draws.

    Raises:
        InvalidInputError: for more features than Sobol points have.
        PredictorError: for tilted draws, if the model has no gradient.
    """
    if name == "tilted":
        return TiltedDraws(hinge, shape.boxes(rows, bound), n, seed)
    if name == "faded":
        return FadedDraws(hinge, shape.boxes(rows, bound), n, seed)
    if name == "adversarial":
        return AttackedCorners(hinge, shape.x, rows, n, seed)
    return SharedDraws(hinge, name, shape.x, n, seed)
