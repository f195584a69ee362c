"""Which points of some boxes are evaluated, and sums over them for each box."""

from __future__ import annotations

import torch
from torch import Tensor


class ChosenPoints:
    """All of the m points of each of b boxes, or some of them.

    Sums over few points are far cheaper than sums over all with zeros for the others: where one
    point in ten of an image's boxes leaves its class, by twenty times.

    Args:
        n_rows: b, boxes.
        n_draws: m, points of each.
        at: (k,) numbers of the points, those of a box behind those of the one before; None for all.

    Example:
        >>> chosen = ChosenPoints(2, 3, torch.tensor([0, 4, 5]))
        >>> chosen.of(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
        >>> chosen.sums(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 5.0]
    """

    def __init__(self, n_rows: int, n_draws: int, at: Tensor | None = None) -> None:
        self._shape, self._at = (n_rows, n_draws), at
        every = torch.arange(n_rows * n_draws) if at is None else at
        self._row, self._draw = every // n_draws, every % n_draws

    def of(self, values: Tensor) -> Tensor:
        """Values (k, ...) of the points, from those of draws (m, ...) that all boxes share."""
        if self._at is None:
            return values.expand(*self._shape, *values.shape[1:]).flatten(0, 1)
        return values[self._draw]

    def of_each(self, values: Tensor) -> Tensor:
        """Values (k, ...) of the points, from those of all points (b, m, ...)."""
        values = values.flatten(0, 1)
        return values if self._at is None else values[self._at]

    def of_rows(self, values: Tensor) -> Tensor:
        """Values (k, ...) of the points, from those of their boxes (b, ...)."""
        if self._at is None:
            return values[:, None].expand(*self._shape, *values.shape[1:]).flatten(0, 1)
        return values[self._row]

    def sums(self, values: Tensor) -> Tensor:
        """Sums (b, ...) of values (k, ...) over the chosen points of each box.

        On a processor they are added one after the other, so that points with the value 0 can be
        left out without changing a digit.
        """
        if self._at is None and values.device.type != "cpu":
            return values.view(*self._shape, *values.shape[1:]).sum(dim=1)
        total: Tensor = values.new_zeros(self._shape[0], *values.shape[1:])
        total.index_add_(0, self._row, values)
        return total

    def add(self, values: Tensor, part: Tensor, total: Tensor) -> None:
        """Add values (k, ...) to totals (b, p, ...) of parts; `part` (m,) is that of each draw."""
        if self._at is None:
            total.index_add_(1, part, values.view(*self._shape, *values.shape[1:]))
        else:
            place = self._row * total.shape[1] + part[self._draw]
            total.view(-1, *total.shape[2:]).index_add_(0, place, values)
