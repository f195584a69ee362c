"""Boxes around rows: where their points lie, and how these move with the widths.

A draw u from [0, 1]^d is a point: it lies at the share u of the way from one end of the box to the
other, from the lower to the upper or, where the box is directed, from x towards the baseline. So
uniform draws of u are uniform in the box, and corners of [0, 1]^d are the box's. Widths have a
dimension of sides behind that of the rows, (a, s, ...): one side where a feature has one width, two
where it has one down and one up.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property

import torch
from torch import Tensor


class Boxes:
    """The boxes [x - w, x + w] of the paper, or [x - u, x + v] of Hara et al. 2018.

    Args:
        rows: (a,) numbers of the rows that they are around.
        x: (a, ...) these rows.
        width: (a, s, ...) one width of each feature, or one down and one up.
        least: (a, ...) what no box reaches below, at most x; None for no limit.
        most: (a, ...) what none reaches above, at least x.

    Example:
        >>> x, width = torch.tensor([[0.2, 0.5]]), torch.tensor([[[0.5, 0.25]]])
        >>> boxes = Boxes(torch.tensor([0]), x, width, torch.zeros(1, 2), torch.ones(1, 2))
        >>> boxes.lower.tolist(), boxes.upper.tolist()
        ([[0.0, 0.25]], [[0.699999988079071, 0.75]])
        >>> boxes.points(torch.tensor([[0.0, 1.0]])).tolist()
        [[[0.0, 0.75]]]
    """

    def __init__(
        self,
        rows: Tensor,
        x: Tensor,
        width: Tensor,
        least: Tensor | None = None,
        most: Tensor | None = None,
    ) -> None:
        self.rows, self.x, self.width = rows, x, width
        self.least, self.most = least, most

    def __getitem__(self, some: slice | Tensor) -> Boxes:
        """Some of the boxes."""
        chosen = copy(self)
        # All that boxes hold has an entry a row.
        chosen.__dict__ = {
            name: None if held is None else held[some] for name, held in vars(self).items()
        }
        return chosen

    def resized(self, width: Tensor) -> Boxes:
        """The boxes of other widths around the same rows."""
        other = copy(self)
        # Without the ends, which are found when they are asked for.
        other.__dict__ = {
            name: held
            for name, held in vars(self).items()
            if not isinstance(getattr(type(self), name, None), cached_property)
        }
        other.width = width
        return other

    @cached_property
    def lower(self) -> Tensor:
        """The lower ends (a, ...)."""
        free = self._free_lower
        return free if self.least is None else torch.maximum(free, self.least)

    @cached_property
    def upper(self) -> Tensor:
        """The upper ends (a, ...)."""
        free = self._free_upper
        return free if self.most is None else torch.minimum(free, self.most)

    @cached_property
    def reach(self) -> Tensor:
        """How far points (a, ...) go while a feature's draw goes from 0 to 1, and which way."""
        return self.upper - self.lower

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) of the boxes, at draws (m, ...) or (a, m, ...) from [0, 1]."""
        return torch.lerp(self.lower[:, None], self.upper[:, None], draws)

    def slope(self, pull: Tensor, moment: Tensor) -> Tensor:
        """The derivative (a, s, ...) with respect to the widths of sum_m pull_m * point_m.

        An end that has come to the data's range moves no more.

        Args:
            pull: (a, ...) slopes with respect to the points, summed over these.
            moment: (a, ...) the same, each times the draw that its point was made of.
        """
        down, up = moment - pull, moment
        if self.least is not None and self.most is not None:
            down = down * (self._free_lower > self.least)
            up = up * (self._free_upper < self.most)
        both = self.width.shape[1] == 2
        return torch.stack((down, up), dim=1) if both else (down + up)[:, None]

    def corner(self, pull: Tensor, draws: Tensor) -> Tensor:
        """The draws (a, m, ...) in {0, 1} whose points lie farthest along slopes (a, m, ...).

        Those given stay where nothing pulls.
        """
        return (draws + pull.sign()).clamp_(0, 1)

    @cached_property
    def _free_lower(self) -> Tensor:
        return self.x - self.width[:, 0]

    @cached_property
    def _free_upper(self) -> Tensor:
        return self.x + self.width[:, -1]


class DirectedBoxes(Boxes):
    """Boxes from x towards a baseline, x + t * w * (baseline - x) with t in [0, 1].

    Args:
        rows: (a,) numbers of the rows that they are around.
        x: (a, ...) these rows.
        width: (a, 1, ...) shares of the way.
        least: (a, ...) as of other boxes.
        most: (a, ...) as of other boxes.
        way: (a, ...) from x to the baseline.
    """

    def __init__(
        self,
        rows: Tensor,
        x: Tensor,
        width: Tensor,
        least: Tensor | None,
        most: Tensor | None,
        *,
        way: Tensor,
    ) -> None:
        super().__init__(rows, x, width, least, most)
        self._way = way

    @cached_property
    def reach(self) -> Tensor:
        """The way from x to the end that is nearer the baseline."""
        return self.width[:, 0] * self._way

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) at the shares `draws` of the way to the end nearer the baseline."""
        # Not one fused operation, whose rounding could lead beyond the ends.
        return self.x[:, None] + self.reach[:, None] * draws

    def slope(self, pull: Tensor, moment: Tensor) -> Tensor:
        """The share of the way that each point has gone, summed."""
        return (moment * self._way)[:, None]

    def corner(self, pull: Tensor, draws: Tensor) -> Tensor:
        """As of any box, counted from x towards the baseline."""
        return super().corner(pull * self._way[:, None], draws)

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
    """Each feature is at x or at the baseline, and there with probability w.

    The mask is a Bernoulli draw forwards and its logistic relaxation backwards (Maddison et al.,
    "The concrete distribution", 2017). The ends are those of the smallest box around all points.
    """

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) with the features masked whose draw exceeds 1 - w."""
        masks = (draws > 1 - self.width).to(self.x.dtype)
        return self.x[:, None] + masks * self._way[:, None]

    def slope(self, pull: Tensor, moment: Tensor) -> Tensor:
        """Of the relaxation: all of the way, whatever was drawn."""
        return (pull * self._way)[:, None]

    @property
    def _farthest(self) -> Tensor:
        return (self.width[:, 0] > 0) * self._way
