"""Draws that head for one level of the data's range, as an image does that fades to one colour."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.box.draws import from_each_part, graded_masks, is_image, uniform_numbers
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Estimate, ExpectedHinge


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
        hinge: of the boxes.
        largest: boxes of the rows, symmetric and with a range, with the largest widths C; a level
            that is farther away is headed for so far.
        n: M, draws of a row in each step.
        seed: of the draws.

    Example:
        >>> from xai_adapters.box.shapes import BoxShape
        >>> from xai_adapters.model.decision import Decision
        >>> from xai_adapters.box.hinge import ExpectedHinge
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> x, shape = torch.tensor([[0.5, 1.0]]), BoxShape(torch.tensor([[0.5, 1.0]]), (0.0, 1.0))
        >>> largest = shape.boxes(torch.tensor([0]), torch.ones(1, 1, 2))
        >>> ends = FadedDraws(ExpectedHinge(Decision(model, x)), largest, n=8, seed=0).draw()
        >>> ends.shape, bool(((ends >= 0) & (ends <= 1)).all())
        (torch.Size([1, 8, 2]), True)
    """

    def __init__(self, hinge: ExpectedHinge, largest: Boxes, n: int, seed: int) -> None:
        self._hinge, self._largest, self._n = hinge, largest, n
        self._uniform = uniform_numbers(largest.x, seed)

    def look(self, boxes: Boxes, slope: Tensor, done: float) -> Estimate:
        """Estimate the hinge at new draws."""
        return self._hinge.estimate(self.seen(boxes), self.draw(), slope)

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows."""
        self._largest = self._largest[kept]

    def seen(self, boxes: Boxes) -> Boxes:
        """Boxes as such draws see them."""
        return _FadedBoxes(boxes.rows, boxes.x, boxes.width, largest=self._largest.width)

    def draw(self) -> Tensor:
        """Where the features head for, (a, M, ...); x where they stay."""
        largest = self._largest
        x, shape = largest.x[:, None], largest.x.shape[1:]
        least, most = (x if end is None else end[:, None] for end in (largest.least, largest.most))
        level = from_each_part(self._n, shape[0] if is_image(shape) else 1, self._uniform)
        end = torch.lerp(least, most, level.view(*level.shape, *(1,) * (len(shape) - 1)))
        end = end.clamp(largest.lower[:, None], largest.upper[:, None])
        return torch.where(graded_masks(self._n, shape, self._uniform), end, x)


class _FadedBoxes(Boxes):
    """Symmetric boxes, seen where features have gone the share w / C of the way to an end."""

    def __init__(self, rows: Tensor, x: Tensor, width: Tensor, *, largest: Tensor) -> None:
        super().__init__(rows, x, width)
        self._largest = largest

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) on the way to the ends `draws` (a, m, ...)."""
        return torch.lerp(self.x[:, None], draws, self.width / self._largest)

    def slope(self, pull: Tensor, moment: Tensor) -> Tensor:
        """The whole of each way, per unit of the largest width, summed."""
        return (moment - pull * self.x)[:, None] / self._largest
