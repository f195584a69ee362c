"""Boxes around rows of a table: their widths, their bounds, and how much of each is safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from xai_adapters.box import Box, InvariantBox
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.guarantees.sampling_bound import largest_safe_scale

# Points in one call of the black box.
_BLOCK = 8192
# Far from the seeds of `InvariantBox`: draws that a box was fitted to are no evidence for it.
_SEED = 1_000_000_007
# Draws per call; rows that showed a violation are not asked again.
_AT_ONCE = 32


@dataclass(frozen=True)
class TableBoxes:
    """Encoded rows, and two functions of points around them.

    Args:
        schema: of the rows; it settles every point with which the black box is queried.
        encoded: (n, e) the rows, encoded.
        unit: (c,) the unit of each continuous feature's width.
        probabilities: a differentiable function of encoded points (m, e) to class probabilities
            (m, K).
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
        """Find the widths (n, c) of each row's box, in units, within what the schema allows."""

        def outputs(scaled: Tensor, lower: Tensor, upper: Tensor, groups: Tensor) -> Tensor:
            numbers = torch.clamp(scaled * self.unit, lower, upper).to(scaled.dtype)
            return self.probabilities(torch.cat((numbers, groups), dim=1))

        return solver.solve(
            outputs, self.numbers / self.unit, row_data=(*self._intervals, self.groups)
        )

    def bounds(self, width: Tensor, rows: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds (a, c) of some rows' boxes, scaled by (a,), within the schema."""
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
        """The scale (n,) of each box at which draws from it show no other class."""

        def violates(rows: Tensor, scale: Tensor, number: int) -> Tensor:
            # All rows share the draws of a round; each round has its own.
            generator = Generator(width.device).manual_seed(_SEED + seed * n_rounds + number)
            draws = torch.rand(
                (n_draws, len(self.unit)), generator=generator, device=width.device
            ).to(self.numbers.dtype)
            return torch.cat(
                [
                    self._violates(width, original_class, some, scales, draws)
                    for some, scales in zip(
                        rows.split(_BLOCK // _AT_ONCE),
                        scale.split(_BLOCK // _AT_ONCE),
                        strict=True,
                    )
                ]
            )

        return largest_safe_scale(violates, len(self.encoded), n_rounds, width.device)

    def _violates(
        self, width: Tensor, original_class: Tensor, rows: Tensor, scale: Tensor, draws: Tensor
    ) -> Tensor:
        """Whether (a,) some of the draws (m, c) from the scaled boxes of `rows` violate."""
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

    @cached_property
    def _is_whole(self) -> Tensor:
        whole = [feature.integer for feature in self.schema.continuous]
        return torch.tensor(whole, dtype=torch.bool, device=self.encoded.device)
