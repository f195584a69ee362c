"""Draws that head for one level of the data's range, as an image does that fades to one colour."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.core.box_draws import from_each_part, graded_masks, is_image, uniform_numbers
from xai_adapters.core.box_shapes import BoxShape
from xai_adapters.core.expected_hinge import Estimate, ExpectedHinge


class FadedDraws:
    """Points of a symmetric box that some of the features reach by moving towards one level.

    Independent draws of thousands of features hardly ever move many of them one way, which is what
    a mask does. Here a draw has a level, between the lower and the upper end of the data's range,
    and a share of the features, from none to all, that head for it: as far as a feature's width w
    is a share of its largest width C,

        x + w / C * (level - x),

    while the others stay at x. A box that keeps its class there keeps it behind masks of whatever
    one colour, and not in noise: uniform draws from it may all leave the class. In images, rows
    (channels, height, width), each channel has its own level and a pixel's channels move together.
    Shares and levels are one from each of n equal parts of [0, 1], so that every step sees all.

    Rows share the random numbers, and nothing else.

    Args:
        hinge: of the boxes, symmetric and with a range.
        rows: (a,) numbers of the rows.
        bound: (a, 1, ...) the largest widths of their boxes; a level that is farther away is
            headed for so far.
        n: M, draws of a row in each step.
        seed: of the draws.

    Attributes:
        shape: the boxes, with points and slopes as of such draws.

    Example:
        >>> from xai_adapters.core.decision import Decision
        >>> from xai_adapters.core.expected_hinge import ExpectedHinge
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> x, rows, width = torch.tensor([[0.5, 1.0]]), torch.tensor([0]), torch.ones(1, 1, 2)
        >>> hinge = ExpectedHinge(Decision(model, x), shape=BoxShape(x, bounds=(0.0, 1.0)))
        >>> ends = FadedDraws(hinge, rows, width, n=8, seed=0).draw(rows)
        >>> ends.shape, bool(((ends >= 0) & (ends <= 1)).all())
        (torch.Size([1, 8, 2]), True)
    """

    def __init__(
        self, hinge: ExpectedHinge, rows: Tensor, bound: Tensor, n: int, seed: int
    ) -> None:
        x = hinge.shape.x
        self.shape = _FadedShape(x, rows, bound)
        self._hinge = hinge.around(self.shape)
        self._bounds, self._n = hinge.shape.bounds or (x, x), n
        self._uniform = uniform_numbers(x, seed)

    def look(self, rows: Tensor, width: Tensor, slope: Tensor) -> Estimate:
        """Estimate the hinge at new draws."""
        return self._hinge.estimate(rows, width, self.draw(rows), slope)

    def keep(self, kept: Tensor) -> None:
        """Nothing is kept of any row."""

    def draw(self, rows: Tensor) -> Tensor:
        """Where the features of rows (a,) head for, (a, M, ...); x where they stay."""
        x, most = (of[rows][:, None] for of in (self.shape.x, self.shape.most))
        lower, upper = (end[rows][:, None] for end in self._bounds)
        shape = x.shape[2:]
        level = from_each_part(self._n, shape[0] if is_image(shape) else 1, self._uniform)
        end = torch.lerp(lower, upper, level.view(*level.shape, *(1,) * (len(shape) - 1)))
        end = torch.minimum(torch.maximum(end, x - most), x + most)
        return torch.where(graded_masks(self._n, shape, self._uniform), end, x)


class _FadedShape(BoxShape):
    """Symmetric boxes, seen where features have gone the share w / C of the way to an end.

    Args:
        x: (n, ...) the rows.
        rows: (a,) those that have boxes.
        most: (a, 1, ...) the largest widths C of these.
    """

    def __init__(self, x: Tensor, rows: Tensor, most: Tensor) -> None:
        super().__init__(x)
        self.most = torch.ones_like(self.x)
        self.most[rows] = most[:, 0]

    def points(self, rows: Tensor, width: Tensor, draws: Tensor) -> Tensor:
        """Points (a, m, ...) on the way to the ends `draws` (a, m, ...)."""
        share = width / self.most[rows][:, None]
        return torch.lerp(self.x[rows][:, None], draws, share)

    def slope(self, rows: Tensor, width: Tensor, draws: Tensor, pull: Tensor) -> Tensor:
        """The whole of each way, per unit of the largest width, summed."""
        way = draws - self.x[rows][:, None]
        return ((pull * way).sum(dim=1) / self.most[rows])[:, None]
