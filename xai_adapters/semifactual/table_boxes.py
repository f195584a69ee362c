"""Boxes around rows of a table: their widths, how much of each is safe, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from xai_adapters.box.explainer import Box, InvariantBox
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.guarantees.sampling_bound import largest_safe_scale
from xai_adapters.semifactual.counterfactual import leave_box

# Points that are made and asked about at once.
_BLOCK = 8192
# Far from the seeds of `InvariantBox`: what the box was fitted to would be no evidence for it.
_SEED = 1_000_000_007
# Draws after which rows that showed a violation are asked no further.
_AT_ONCE = 32


@dataclass(frozen=True)
class TabularBoxes:
    """Encoded rows, and all that is asked about points around them.

    Args:
        schema: of the rows; it settles every point that the black box is asked about.
        encoded: (n, e) the rows, encoded.
        unit: (c,) of each continuous feature; widths are counted in it.
        probabilities: class probabilities (m, K) that a differentiable model gives encoded points
            (m, e).
        labels: the black box's classes (m,) of encoded points (m, e).
    """

    schema: FeatureSchema
    encoded: Tensor
    unit: Tensor
    probabilities: Callable[[Tensor], Tensor]
    labels: Callable[[Tensor], Tensor]

    @cached_property
    def numbers(self) -> Tensor:
        """Each row's continuous features (n, c)."""
        return self.encoded[:, : len(self.unit)]

    @cached_property
    def groups(self) -> Tensor:
        """Each row's one-hot groups (n, e - c)."""
        return self.encoded[:, len(self.unit) :]

    @cached_property
    def _intervals(self) -> tuple[Tensor, Tensor]:
        return self.schema.intervals(self.encoded)

    def solve(self, solver: InvariantBox) -> Box:
        """The widths (n, c) of each row's box, in units; what cannot move does not narrow it."""

        def outputs(scaled: Tensor, lower: Tensor, upper: Tensor, groups: Tensor) -> Tensor:
            numbers = torch.clamp(scaled * self.unit, lower, upper).to(scaled.dtype)
            return self.probabilities(torch.cat((numbers, groups), dim=1))

        return solver.solve(
            outputs, self.numbers / self.unit, row_data=(*self._intervals, self.groups)
        )

    def bounds(self, width: Tensor, rows: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends (a, c) of some rows' boxes, scaled by (a,), within the schema."""
        own, half = self.numbers[rows], (scale[:, None] * width[rows]).to(self.unit) * self.unit
        lower = torch.maximum(own - half, self._intervals[0][rows]).to(own.dtype)
        upper = torch.minimum(own + half, self._intervals[1][rows]).to(own.dtype)
        if self._is_whole.any():
            lower = torch.where(self._is_whole, torch.minimum(lower.ceil(), own), lower)
            upper = torch.where(self._is_whole, torch.maximum(upper.floor(), own), upper)
        return lower, upper

    def safe_scale(
        self, width: Tensor, original_class: Tensor, n_draws: int, n_rounds: int, seed: int
    ) -> Tensor:
        """How much (n,) of each box can be kept so that draws do not show another class."""

        def violates(rows: Tensor, scale: Tensor, number: int) -> Tensor:
            # All rows share the draws of a round, and no two rounds share any.
            generator = Generator(width.device).manual_seed(_SEED + seed * n_rounds + number)
            draws = torch.rand(
                (n_draws, len(self.unit)), generator=generator, device=width.device
            ).to(self.numbers.dtype)
            return torch.cat(
                [
                    self._sees_another(width, original_class, some, scales, draws)
                    for some, scales in zip(
                        rows.split(_BLOCK // _AT_ONCE),
                        scale.split(_BLOCK // _AT_ONCE),
                        strict=True,
                    )
                ]
            )

        return largest_safe_scale(violates, len(self.encoded), n_rounds, width.device)

    def _sees_another(
        self, width: Tensor, original_class: Tensor, rows: Tensor, scale: Tensor, draws: Tensor
    ) -> Tensor:
        lower, upper = self.bounds(width, rows, scale)
        seen = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        for t in draws.split(_AT_ONCE):
            left = (~seen).nonzero()[:, 0]
            if len(left) == 0:
                break
            numbers = torch.lerp(lower[left][:, None], upper[left][:, None], t).flatten(0, 1)
            of_row = rows[left].repeat_interleave(len(t))
            points = torch.cat((numbers, self.groups[of_row]), dim=1)
            found = self.labels(self.schema.settle(self.encoded[of_row], points))
            seen[left] = (found != original_class[of_row]).view(-1, len(t)).any(dim=1)
        return seen

    def leave(
        self, width: Tensor, reach: Tensor, original_class: Tensor, target: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The nearest point (n, e) found outside, and whether (n,) it has the wanted class.

        Args:
            width: (n, c) of the boxes, in units: the narrowest feature moves first.
            reach: (c,) how far features move at first, in units.
            original_class: (n,) the class of each row.
            target: (n,) the class to reach, None for any other than the row's own.
        """
        wanted = original_class if target is None else target
        sign = -1 if target is None else 1

        def progress(points: Tensor) -> Tensor:
            return torch.cat(
                [
                    sign * self.probabilities(some).gather(1, classes[:, None])[:, 0]
                    for some, classes in zip(
                        points.split(_BLOCK), wanted.split(_BLOCK), strict=True
                    )
                ]
            )

        def flips(rows: Tensor, points: Tensor) -> Tensor:
            found = self.labels(points)
            return found != original_class[rows] if target is None else found == target[rows]

        end = self._ends(reach * self.unit, progress)
        if target is not None:
            end = torch.where((target == original_class)[:, None], self.encoded, end)
        return leave_box(self.schema, self.encoded, end, self._places(width), flips)

    def _ends(self, reach: Tensor, progress: Callable[[Tensor], Tensor]) -> Tensor:
        """Where each feature (n, e) would go: alone, it makes the most progress there."""
        end = self.encoded.clone()
        nothing = self.encoded.new_full((len(self.encoded),), -torch.inf)
        for column, step in enumerate(reach.tolist()):
            gain = nothing.clone()
            for change in (-step, step):
                point = self.encoded.clone()
                point[:, column] += change
                point = self.schema.settle(self.encoded, point)
                found = progress(point).to(gain)
                better = (found > gain) & (point[:, column] != self.encoded[:, column])
                end[better, column], gain[better] = point[better, column], found[better]
        may_take, start = self.schema.choices(self.encoded), len(self.unit)
        for size in self.schema.group_sizes:
            gain = nothing.clone()
            for category in range(start, start + size):
                point = self.encoded.clone()
                point[:, start : start + size] = 0
                point[:, category] = 1
                found = progress(point).to(gain)
                other = may_take[:, category - len(self.unit)] & (self.encoded[:, category] == 0)
                better = (found > gain) & other
                end[better, start : start + size] = point[better, start : start + size]
                gain[better] = found[better]
            start += size
        return end

    def _places(self, width: Tensor) -> Tensor:
        """The place (n, e) in the order of moving of each column's feature: categories last."""
        n_numbers, sizes = len(self.unit), torch.tensor(self.schema.group_sizes, dtype=torch.int64)
        of_groups = (n_numbers + torch.arange(len(sizes))).repeat_interleave(sizes)
        of_numbers = width.argsort(dim=1, stable=True).argsort(dim=1)
        return torch.cat((of_numbers, of_groups.to(width.device).expand(len(width), -1)), dim=1)

    @cached_property
    def _is_whole(self) -> Tensor:
        whole = [feature.integer for feature in self.schema.continuous]
        return torch.tensor(whole, dtype=torch.bool, device=self.encoded.device)
