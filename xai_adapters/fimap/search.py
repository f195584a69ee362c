"""Searching for the nearest flip of the black box: along a perturbation, and around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.line_search import HALVES, QUARTERS, THIRDS, shortest_flip, with_categories

# The local search draws directions ever nearer to the best so far, and then begins anew.
_ANGLES = (2.0, 1.0, 0.5, 0.25, 0.125)
# One query in so many is drawn from the whole ball: the nearest flip may lie elsewhere.
_EVERYWHERE = 2
_LARGEST_BLOCK = 64
# Up to so many features are undone one by one: blocks of them can seldom go together.
_FEW_FEATURES = 8


@dataclass
class CounterfactualSearch:
    """The nearest points found so far at which the black box decides as wanted.

    All rows are queried together, and no row's result depends on another's. Each point counted as
    a success is exactly one that was queried.

    Args:
        networks: whose schema settles every point, and whose metric measures lengths.
        original: (n, e) encoded rows.
        proposal: (n, e) where the perturber would take them.
        flips: says for positions (a,) of rows and encoded points (a, e) whether the decision there
            is the wanted one (a,).

    Attributes:
        best: (n, e) the best points so far.
        success: (n,) whether the decision there is the wanted one.
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
        # Known not to flip: the original, and once they were queried, changed categories alone.
        self._refuted = self.original
        self.success = torch.zeros(len(self.best), dtype=torch.bool, device=self.best.device)

    def confirm(self) -> None:
        """Query the proposals as they are."""
        self.success = self.flips(self._every(), self.best)

    def refine(self, mean_change: Tensor, *, sparsify: bool, local_search: int, seed: int) -> None:
        """Line search, then undo needless changes, then look nearby; arguments as below."""
        if sparsify:
            # Much of the change may be undone, so the line search divides the rest afterwards.
            self.line_search(mean_change, shorten=False)
            self.sparsify()
            # Categories had queries of their own.
            self.shorten(THIRDS if self.networks.schema.categorical else QUARTERS)
        else:
            self.line_search(mean_change)
        if local_search:
            self.local_search(local_search, seed, keep_zeros=sparsify)
        # A step of zero turns -0.0 into 0.0; what did not change stays as it was, bit for bit.
        self.best = torch.where(self.best == self.original, self.original, self.best)

    def line_search(self, mean_change: Tensor, *, shorten: bool = True) -> None:
        """Find the shortest step that flips: along the proposal, else along the mean change.

        Where both categories and numbers change, categories are also queried alone, and numbers
        stay as they are where that is enough.

        Args:
            mean_change: (n, number of continuous features), the mean change of fitted rows that
                went to the class which each row is to reach.
            shorten: look for a shorter step than the first that flips.
        """
        schema, every = self.networks.schema, self._every()
        start = self._refuted = with_categories(schema, self.original, self.best)
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
            end = torch.cat((start[:, :c] + mean_change, start[:, c:]), dim=1)
            # One query less, as categories may have been queried alone.
            self._along(end, missing, divisions=divisions[1:])

    def shorten(self, divisions: Sequence[int]) -> None:
        """Divide the step to the best points, as in `shortest_step`, where a part suffices."""
        c = self._n_numbers
        moved = (self.best[:, :c] != self.original[:, :c]).any(dim=1)
        rows = (self.success & moved).nonzero()[:, 0]
        self._along(self.best, rows, known=True, divisions=divisions)

    def sparsify(self) -> None:
        """Undo the change of features without which the decision stays changed.

        Features with small changes are tried first, and many of them in blocks: a block that is
        needed is tried in halves, down to single features. Each feature that stays changed has
        been tried alone, unless it is the only one.
        """
        schema, found = self.networks.schema, self.success.nonzero()[:, 0]
        sizes = torch.tensor(
            [1] * self._n_numbers + list(schema.group_sizes), device=self.best.device
        )
        owner = torch.arange(len(sizes), device=self.best.device).repeat_interleave(sizes)
        before, best, refuted = self.original[found], self.best[found], self._refuted[found]
        change = best - before
        change[:, : self._n_numbers] /= self.networks.spread
        size_of_change = torch.zeros((len(found), len(sizes)), device=change.device).to(change)
        size_of_change.index_add_(1, owner, change.abs())
        # The rank of each encoded column's feature among the row's changes, smallest first.
        rank = size_of_change.argsort(dim=1).argsort(dim=1)[:, owner]
        block = 1
        if len(sizes) > _FEW_FEATURES:
            block = 1 << min(_LARGEST_BLOCK, len(sizes)).bit_length() - 1
        while block:
            # A last block that is at most half full comes again as a block of half the size.
            for start in range(0, len(sizes) - block // 2, block):
                mine = (rank >= start) & (rank < start + block)
                point = torch.where(mine, before, best)
                # Without its last change a row is the original, which needs no query.
                known = torch.stack((best, before, refuted))
                some = (point != known).any(dim=2).all(dim=0).nonzero()[:, 0]
                if len(some):
                    better = some[self.flips(found[some], point[some])]
                    best[better] = point[better]
            block //= 2
        self.best[found] = best

    def local_search(self, n_queries: int, seed: int, keep_zeros: bool) -> None:
        """Look for nearer flips among random points that are nearer than the best so far.

        Args:
            n_queries: at most this many for each row.
            seed: of the directions, which all rows share.
            keep_zeros: leave unchanged numbers as they are.
        """
        found, c = self.success.nonzero()[:, 0], self._n_numbers
        if len(found) == 0 or c == 0:
            return
        device = self.best.device
        generator = Generator(device).manual_seed(seed)
        scale = self.networks.spread / self.networks.costs[0].to(self.networks.spread.dtype)
        for number in range(n_queries):
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
        """Go to the shortest step on the way to `end` that flips, by `shortest_flip`."""
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
        """Go to those points (a, e) that flip their rows (a,)."""
        if len(rows):
            better = self.flips(rows, points)
            self.best[rows[better]] = points[better]

    def _every(self) -> Tensor:
        return torch.arange(len(self.best), device=self.best.device)
