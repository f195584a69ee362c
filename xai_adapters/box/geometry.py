"""Boxes around rows: where their points lie, and how the points move with the widths.

A draw u from [0, 1]^d stands for a point: in each feature the point lies at the share u of the way
from one bound of the box to the other, from the lower to the upper or, in directed boxes, from x to
the baseline. Uniform draws are thus uniform in the box, and corners of [0, 1]^d are corners of the
box. Widths have a dimension of sides after that of the rows, (a, s, ...): one side if a feature has
one width, two if it has one down and one up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class Boxes:
    """The symmetric boxes [x - w, x + w] of the paper.

    Args:
        rows: (a,) numbers of the rows that they are around.
        x: (a, ...) these rows.
        width: (a, s, ...) one width of each feature and side.
        range_lower: (a, ...) the data's range, at most x, below which no box reaches; None for no
            limit.
        range_upper: (a, ...) the same above, at least x.

    Example:
        >>> x, width = torch.tensor([[0.2, 0.5]]), torch.tensor([[[0.5, 0.25]]])
        >>> boxes = Boxes(torch.tensor([0]), x, width, torch.zeros(1, 2), torch.ones(1, 2))
        >>> boxes.lower.tolist(), boxes.upper.tolist()
        ([[0.0, 0.25]], [[0.699999988079071, 0.75]])
        >>> boxes.points(torch.tensor([[0.0, 1.0]])).tolist()
        [[[0.0, 0.75]]]
    """

    rows: Tensor
    x: Tensor
    width: Tensor
    range_lower: Tensor | None = None
    range_upper: Tensor | None = None

    #: Widths of a feature.
    n_sides: ClassVar[int] = 1
    #: The share of the largest width at which a search starts.
    start: ClassVar[float] = 0.0
    #: Whether the box leads to a baseline; its widths are then shares of the way.
    has_baseline: ClassVar[bool] = False
    #: Whether smaller widths bring all points nearer to x.
    is_continuous: ClassVar[bool] = True

    def replace(self, **changes: Any) -> Self:
        """The same boxes with other values of some fields."""
        return dataclasses.replace(self, **changes)

    def take(self, some: slice | Tensor) -> Self:
        """Some of the boxes."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return self.replace(
            **{name: value[some] for name, value in values.items() if value is not None}
        )

    @cached_property
    def lower(self) -> Tensor:
        """The lower bounds (a, ...)."""
        free = self._free_lower
        return free if self.range_lower is None else torch.maximum(free, self.range_lower)

    @cached_property
    def upper(self) -> Tensor:
        """The upper bounds (a, ...)."""
        free = self._free_upper
        return free if self.range_upper is None else torch.minimum(free, self.range_upper)

    @cached_property
    def reach(self) -> Tensor:
        """How far points (a, ...) go, and in which direction, as their draw goes from 0 to 1."""
        return self.upper - self.lower

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) of the boxes, at draws (m, ...) or (a, m, ...) from [0, 1]."""
        return torch.lerp(self.lower[:, None], self.upper[:, None], draws)

    def derivative(self, gradient: Tensor, moment: Tensor) -> Tensor:
        """The derivative (a, s, ...) of the sum of a function over points, by the widths.

        A bound that has reached the data's range moves no further.

        Args:
            gradient: (a, ...) the function's gradients at the points, summed.
            moment: (a, ...) the same, each multiplied by the draw of its point.
        """
        down, up = moment - gradient, moment
        if self.range_lower is not None and self.range_upper is not None:
            down = down * (self._free_lower > self.range_lower)
            up = up * (self._free_upper < self.range_upper)
        return torch.stack((down, up), dim=1) if self.n_sides == 2 else (down + up)[:, None]

    def farthest_corner(self, gradient: Tensor, draws: Tensor) -> Tensor:
        """The corners (a, m, ...) that lie farthest along gradients (a, m, ...).

        Where the gradient is 0 the given draws, in {0, 1}, stay.
        """
        return (draws + gradient.sign()).clamp_(0, 1)

    @cached_property
    def _free_lower(self) -> Tensor:
        return self.x - self.width[:, 0]

    @cached_property
    def _free_upper(self) -> Tensor:
        return self.x + self.width[:, -1]


class AsymmetricBoxes(Boxes):
    """Boxes [x - u, x + v] with a width down and a width up (Hara et al. 2018)."""

    n_sides = 2


@dataclass(frozen=True, eq=False)
class DirectedBoxes(Boxes):
    """Boxes from x towards a baseline, x + t * w * (baseline - x) with t in [0, 1].

    Args:
        to_baseline: (a, ...) baseline - x.
    """

    to_baseline: Tensor = field(kw_only=True)

    has_baseline = True

    @cached_property
    def reach(self) -> Tensor:
        """The way from x to the bound nearer the baseline."""
        return self.width[:, 0] * self.to_baseline

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) at the shares `draws` of the way to the bound nearer the baseline."""
        # Not one fused operation, whose rounding could lead out of the box.
        return self.x[:, None] + self.reach[:, None] * draws

    def derivative(self, gradient: Tensor, moment: Tensor) -> Tensor:
        """Each gradient times the way to the baseline and the share of it that its point went."""
        return (moment * self.to_baseline)[:, None]

    def farthest_corner(self, gradient: Tensor, draws: Tensor) -> Tensor:
        """As for any box, counted from x towards the baseline."""
        return super().farthest_corner(gradient * self.to_baseline[:, None], draws)

    @cached_property
    def _free_lower(self) -> Tensor:
        return self.x + self._farthest.clamp(max=0)

    @cached_property
    def _free_upper(self) -> Tensor:
        return self.x + self._farthest.clamp(min=0)

    @property
    def _farthest(self) -> Tensor:
        return self.reach


class MaskedBoxes(DirectedBoxes):
    """Each feature is at x or, with probability w, at the baseline.

    The mask is a Bernoulli draw in the forward pass and its logistic relaxation in the backward
    pass (Maddison et al., "The concrete distribution", 2017). The bounds are those of the smallest
    box around all points.
    """

    start = 0.5
    is_continuous = False

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) with the features masked whose draw exceeds 1 - w."""
        masks = (draws > 1 - self.width).to(self.x.dtype)
        return self.x[:, None] + masks * self.to_baseline[:, None]

    def derivative(self, gradient: Tensor, moment: Tensor) -> Tensor:
        """The derivative of the relaxation: all of the way, whatever was drawn."""
        return (gradient * self.to_baseline)[:, None]

    @property
    def _farthest(self) -> Tensor:
        return (self.width[:, 0] > 0) * self.to_baseline
