"""Bounds of a traced network: intervals of its layers, and linear bounds of its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xai_adapters.guarantees.bounded_layers import (
    Affine,
    Interval,
    MaxPool,
    Relu,
    joined,
    rounded_down,
)
from xai_adapters.guarantees.traced_network import TracedNetwork

Method = Literal["ibp", "crown-ibp", "crown"]


@dataclass(frozen=True)
class NetworkBounds:
    """Bounds of a network's layers and output in boxes around rows.

    Args:
        network: traced.
        method: see `Certifier`.
        batch_size: rows, times units of each, that are followed back at once.
    """

    network: TracedNetwork
    method: Method
    batch_size: int

    def intervals(self, box: Interval, *, tighten: bool) -> list[Interval]:
        """Intervals of the input and of every step.

        Args:
            box: (n, ...) lower and upper bounds of the input.
            tighten: also follow units back to the input where their sign matters.
        """
        steps = self.network.steps
        found = [box]
        for number, step in enumerate(steps, start=1):
            found.append(step.layer.interval(*(found[each] for each in step.inputs)))
            users = [type(other.layer) for other in steps if number in other.inputs]
            # Intervals are exact for the first layer, and after an activation as tight as before.
            if not tighten or step.inputs == (0,) or isinstance(step.layer, (Relu, MaxPool)):
                continue
            lower, upper = found[-1]
            if MaxPool in users:
                found[-1] = self._tightened(found, torch.ones_like(lower, dtype=torch.bool))
            elif Relu in users:
                found[-1] = self._tightened(found, (lower < 0) & (upper > 0))
        return found

    def lowest(self, intervals: list[Interval], coefficients: Tensor, constant: Tensor) -> Tensor:
        """Lower bounds (n, R) of A z + constant for the last bounded step z.

        Args:
            intervals: of the input and the steps up to z.
            coefficients: (n, R, ...) A.
            constant: broadcasts to (n, R).
        """
        pending = {len(intervals) - 1: coefficients}
        best = rounded_down(constant + intervals[-1].lowest(coefficients))
        for number in range(len(intervals) - 1, 0, -1):
            if number not in pending:
                continue
            step = self.network.steps[number - 1]
            if self.method == "ibp" and not isinstance(step.layer, Affine):
                break
            inputs = [intervals[each] for each in step.inputs]
            parts, change = step.layer.back(pending.pop(number), *inputs)
            constant = rounded_down(constant + change)
            for each, part in zip(step.inputs, parts, strict=True):
                if each in pending:
                    part, change = joined(pending[each], part, intervals[each])
                    constant = rounded_down(constant + change)
                pending[each] = part
            # Any set of layers that separates the units from the input gives a bound.
            bound = constant
            for each, part in pending.items():
                bound = rounded_down(bound + intervals[each].lowest(part))
            best = best.fmax(bound)
        return best

    def _tightened(self, intervals: list[Interval], wanted: Tensor) -> Interval:
        """The last interval, tighter for the units `wanted` (n, ...), which are followed back."""
        lower, upper = (bound.flatten(1).clone() for bound in intervals[-1])
        wanted = wanted.flatten(1)
        shape = intervals[-1].lower.shape
        units = wanted.any(dim=0).nonzero()[:, 0]
        for some in units.split(max(1, self.batch_size // (2 * len(lower)))):
            one = lower.new_zeros(len(some), lower.shape[1]).scatter_(1, some[:, None], 1)
            both = torch.cat((one, -one)).unflatten(1, shape[1:]).expand(len(lower), -1, *shape[1:])
            low, high = self.lowest(intervals, both, lower.new_zeros(())).chunk(2, dim=1)
            # A row's bounds must not depend on which units its neighbours want tightened.
            mine = wanted[:, some]
            lower[:, some] = torch.where(mine, low.fmax(lower[:, some]), lower[:, some])
            upper[:, some] = torch.where(mine, (-high).fmin(upper[:, some]), upper[:, some])
        return Interval(lower.view(shape), upper.view(shape))
