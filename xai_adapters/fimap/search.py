"""Asking the black box for the nearest flip: along a perturbation, and around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.line_search import HALVES, QUARTERS, shortest_flip, with_categories

# The local search draws directions ever nearer to the best so far, and then begins anew.
_ANGLES = (2.0, 1.0, 0.5, 0.25, 0.125)
# Every so many questions one is drawn from the whole ball: the nearest flip may lie elsewhere.
_EVERYWHERE = 2
_LARGEST_BLOCK = 64
# So many features are put back one by one: blocks of them are seldom free to go together.
_FEW_FEATURES = 8


@dataclass
class CounterfactualSearch:
    """Encoded rows, where they might go, and how far they have come.

    All rows are asked about together and no row's way depends on another's. A row that is said to
    have flipped lies exactly where the black box was asked.

    Args:
        networks: whose schema settles every point, and in whose metric points are near.
        original: (n, e) encoded rows.
        proposal: (n, e) where the perturber would take them.
        flips: tells for row numbers (a,) and encoded points (a, e) whether the decision is the
            wanted one there (a,).
    """

    networks: FittedNetworks
    original: Tensor
    proposal: Tensor
    flips: Callable[[Tensor, Tensor], Tensor]

    def __post_init__(self) -> None:
        """Begin at the proposals."""
        self._n_numbers = len(self.networks.schema.continuous)
        self.best = self.networks.schema.settle(self.original, self.proposal)
        if self.best is self.proposal:
            # What settles already is the caller's own tensor.
            self.best = self.best.clone()
        # Known not to flip: each row as it was, and once they were asked about, categories alone.
        self._refused = self.original
        self.success = torch.zeros(len(self.best), dtype=torch.bool, device=self.best.device)

    def ask_once(self) -> None:
        """Ask about the proposals as they are."""
        self.success = self.flips(self._every(), self.best)

    def go_along(self, towards: Tensor, *, shorten: bool = True) -> None:
        """Find the shortest step that flips: along the proposal, else in the mean direction.

        Of a row that changes both, categories are asked about alone too, and numbers stay as they
        are where that is enough.

        Args:
            towards: (n, number of continuous features), the mean change of rows that went to the
                class which each row is to reach.
            shorten: look for a shorter step than the first that is found.
        """
        schema, every = self.networks.schema, self._every()
        start = self._refused = with_categories(schema, self.original, self.best)
        alone = every[:0]
        if schema.categorical and schema.continuous:
            switched = (start != self.original).any(dim=1)
            alone = (switched & (start != self.best).any(dim=1)).nonzero()[:, 0]
        answers = self.flips(
            torch.cat((alone, every)), torch.cat((start.index_select(0, alone), self.best))
        )
        enough = alone[answers[: len(alone)]]
        self.success = answers[len(alone) :].index_fill(0, enough, True)
        self.best[enough] = start[enough]
        if len(enough) == len(every):
            return
        if shorten:
            self.shorten(QUARTERS)
        missing = (~self.success).nonzero()[:, 0]
        if len(missing):
            divisions = HALVES if shorten else ()
            # Longer steps are steps of the numbers as proposed, with the categories as they settle.
            further = with_categories(schema, self.proposal, self.best)
            self._along(further, missing, known=False, divisions=divisions)
            missing = missing[~self.success[missing]]
            c = self._n_numbers
            mean_step = torch.cat((start[:, :c] + towards, start[:, c:]), dim=1)
            # One question less, as categories may have been asked about alone.
            self._along(mean_step, missing, divisions=divisions[1:])

    def shorten(self, divisions: Sequence[int]) -> None:
        """Divide the way to what was found, as in `shortest_step`, where a part of it suffices."""
        c = self._n_numbers
        moved = (self.best[:, :c] != self.original[:, :c]).any(dim=1)
        rows = (self.success & moved).nonzero()[:, 0]
        self._along(self.best, rows, known=True, divisions=divisions)

    def sparsify(self) -> None:
        """Give features their old values back where the decision stays changed without them.

        Features are tried small changes first, and many of them in blocks: a block that is needed
        is tried in halves, down to single features. Each feature that stays changed has been tried
        alone, unless it is the only one.
        """
        schema, found = self.networks.schema, self.success.nonzero()[:, 0]
        sizes = torch.tensor(
            [1] * self._n_numbers + list(schema.group_sizes), device=self.best.device
        )
        owner = torch.arange(len(sizes), device=self.best.device).repeat_interleave(sizes)
        before, best, refused = self.original[found], self.best[found], self._refused[found]
        change = best - before
        change[:, : self._n_numbers] /= self.networks.spread
        size_of_change = torch.zeros((len(found), len(sizes)), device=change.device).to(change)
        size_of_change.index_add_(1, owner, change.abs())
        # Which place each encoded column has when its row's features are ordered by change.
        rank = size_of_change.argsort(dim=1).argsort(dim=1)[:, owner]
        block = 1
        if len(sizes) > _FEW_FEATURES:
            block = 1 << min(_LARGEST_BLOCK, len(sizes)).bit_length() - 1
        while block:
            # A last block that is at most half full comes again as a block of half the size.
            for start in range(0, len(sizes) - block // 2, block):
                mine = (rank >= start) & (rank < start + block)
                point = torch.where(mine, before, best)
                # Without its last change a row is what it was, and there is nothing to ask.
                known = torch.stack((best, before, refused))
                some = (point != known).any(dim=2).all(dim=0).nonzero()[:, 0]
                if len(some):
                    better = some[self.flips(found[some], point[some])]
                    best[better] = point[better]
            block //= 2
        self.best[found] = best

    def search_nearby(self, n_questions: int, seed: int, keep_zeros: bool) -> None:
        """Look for nearer flips around each row, among points nearer than its best.

        Args:
            n_questions: at most so many for each row.
            seed: of the directions, which all rows share.
            keep_zeros: leave numbers alone that have not changed.
        """
        found, c = self.success.nonzero()[:, 0], self._n_numbers
        if len(found) == 0 or c == 0:
            return
        device = self.best.device
        generator = Generator(device).manual_seed(seed)
        scale = self.networks.spread / self.networks.costs[0].to(self.networks.spread.dtype)
        for number in range(n_questions):
            direction = torch.randn(c, generator=generator, device=device)
            direction /= direction.norm().clamp(min=1e-12)
            shrink = torch.rand((), generator=generator, device=device)
            before, best = self.original[found], self.best[found]
            change = (best - before)[:, :c] / scale
            radius = change.norm(dim=1, keepdim=True)
            if number % _EVERYWHERE == 0:
                moved = radius * shrink ** (1 / c) * direction
            else:
                angle = _ANGLES[number // _EVERYWHERE % len(_ANGLES)]
                moved = change + angle * radius * direction
                moved *= (
                    radius
                    * (1 - 0.3 * shrink**2)
                    / moved.norm(dim=1, keepdim=True).clamp(min=1e-12)
                )
            if keep_zeros:
                moved = moved.masked_fill(change == 0, 0)
            point = best.clone()
            point[:, :c] = before[:, :c] + (moved * scale).to(best.dtype)
            point = self.networks.schema.settle(before, point)
            nearer = self.networks.length(before, point) < self.networks.length(before, best)
            self._try(found[nearer], point[nearer])

    def _along(self, end: Tensor, rows: Tensor, **settings: Any) -> None:
        """The shortest step from the rows towards `end` that flips, by `shortest_flip`."""
        if len(rows) == 0:
            return
        found, points = shortest_flip(
            self.networks.schema,
            self.original[rows],
            end[rows],
            lambda some, points: self.flips(rows[some], points),
            **settings,
        )
        self.best[rows[found]] = points
        self.success[rows[found]] = True

    def _try(self, rows: Tensor, points: Tensor) -> None:
        """Go to points (a, e) that flip rows (a,)."""
        if len(rows):
            better = self.flips(rows, points)
            self.best[rows[better]] = points[better]

    def _every(self) -> Tensor:
        return torch.arange(len(self.best), device=self.best.device)
