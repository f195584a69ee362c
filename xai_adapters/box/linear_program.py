"""The linear programs that came before stochastic maximal invariant perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from xai_adapters.box.shapes import check_max_width, width_of_each
from xai_adapters.errors import require
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import (
    check_flag,
    check_number,
    check_whole_number,
    named_options,
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LinearProgramBox:
    """What `linear_program_box` found for n rows.

    Attributes:
        below: (n, ...) how far each feature may move down, v of Hara et al.
        above: (n, ...) how far it may move up, their u.
        target: (n,) the class that the box keeps.
        slack: (n,) by how much the worst linear constraint is violated; 0 if none is.
        solved: (n,) whether the program has a solution. Without slack it has none around a row of
            another class; its widths are 0.
    """

    below: Tensor
    above: Tensor
    target: Tensor
    slack: Tensor
    solved: Tensor

    def scores(self) -> Tensor:
        """Relevance (n, ...): the row's largest mean width minus the feature's own."""
        width = (self.below + self.above) / 2
        widest = width.flatten(1).amax(dim=1)
        return widest.view(-1, *(1,) * (width.ndim - 1)) - width


@named_options()
def linear_program_box(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    target: Tensor | int | None = None,
    *,
    tied: Tensor | None = None,
    max_width: float | Tensor = 0.1,
    slack_penalty: float = 0.5,
    symmetric: bool = False,
    n_noisy: int = 0,
    noise: float | Tensor = 0.05,
    n_rivals: int = 100,
    output_type: OutputType = "auto",
    threshold: float | None = None,
    internal_batch_size: int | None = None,
    seed: int = 0,
) -> LinearProgramBox:
    """Solve Problem 2.1 with the model replaced by its linear approximation at the row.

    The score of the class c exceeds that of class j in all of the box [x - v, x + u] if
    sum_i max(h_i, 0) v_i + max(-h_i, 0) u_i <= m with margin m and gradient h of the margin, which
    is a linear constraint. The program maximises sum_g (u_g + v_g) - slack_penalty * slack over
    groups of features that share a width, with one slack for all constraints. With noisy copies
    x + n of the row ("LP(Smooth)") each copy adds its constraints, with its own gradients and
    m - h n as the margin. For a linear model the box is the optimum of Problem 2.1.

    Hara, Ikeno, Soma and Maehara, "Maximally Invariant Data Perturbation as Explanation", 2018;
    the defaults are those of their code.

    A row's program takes 16 (1 + n_noisy) r g bytes for r rivals and g groups, and its gradients
    (1 + n_noisy) r backward passes: 41 MB and 1,100 passes for 10 noisy copies, 100 rivals, and
    a photograph of 224 x 224 x 3 in patches of 8 x 8.

    Args:
        model: differentiable; gives (m, K) class outputs, (m, 1) or (m,) numbers, for (m, ...).
        x: (n, ...) rows.
        target: (n,) the class to keep, or one for all; by default the model's own at `x`.
        tied: integers from 0 that broadcast against the rows; within a row, features with the same
            number share their widths. By default none do.
        max_width: the largest width, delta, one number or a tensor that broadcasts against a row.
        slack_penalty: lambda, for widths in the largest group's unit: a smaller group counts by its
            share of features. infinity for no slack.
        symmetric: whether a feature moves as far down as up, as in Ikeno and Hara.
        n_noisy: copies of the row with normal noise.
        noise: its standard deviation, one number or a tensor that broadcasts against a row.
        n_rivals: other classes to keep out of the box, the strongest at the row.
        output_type: what the model returns: "probabilities", "logits", or "auto" to decide for
            each row by its outputs.
        threshold: for a model with one output, the value that separates its two classes.
        internal_batch_size: rows the model sees at once; it bounds memory and does not change the
            result.
        seed: of the noise, which all rows share.

    Raises:
        InvalidInputError: for a target or mask that does not fit, or an option of the wrong type or
            out of range.
        UnknownOptionError: for an option that does not exist.
        PredictorError: if the model has no gradient, returns NaN at a row, or not one row of
            outputs for each row.
        MissingDependencyError: if scipy is not installed.

    Example:
        >>> scipy = __import__("pytest").importorskip("scipy")
        >>> model = lambda x: torch.stack((4 * x[:, 0] + x[:, 1], 0 * x[:, 0]), dim=1)
        >>> x = torch.tensor([[0.1, 0.1]], dtype=torch.float64)  # the margin is 0.5
        >>> box = linear_program_box(model, x, slack_penalty=torch.inf, max_width=0.3)
        >>> box.below.round(decimals=4).tolist(), box.above.round(decimals=4).tolist()
        ([[0.05, 0.3]], [[0.3, 0.3]])
    """
    check_number("slack_penalty", slack_penalty, at_least=0)
    check_whole_number("n_noisy", n_noisy, at_least=0)
    check_whole_number("n_rivals", n_rivals, at_least=1)
    check_whole_number("seed", seed)
    check_flag("symmetric", symmetric)
    check_max_width(max_width)
    x = x.detach()
    with left_as_found(model, x.device):
        decision = Decision(
            model,
            x,
            target,
            output_type=output_type,
            threshold=threshold,
            batch_size=internal_batch_size,
        )
        mask = torch.arange(x[0].numel(), device=x.device).view(1, *x.shape[1:])
        groups = FeatureGroups(mask if tied is None else tied, x)
        size = groups.total(torch.ones_like(x))
        bound = groups.total(groups.smallest(width_of_each(max_width, x))) / size.clamp(min=1)
        # A copy without noise first.
        generator = Generator(x.device).manual_seed(seed)
        copies = [torch.zeros_like(x[0])]
        copies += [
            noise * torch.empty_like(x[0]).normal_(generator=generator) for _ in range(n_noisy)
        ]
        found = []
        for rows in torch.arange(len(x), device=x.device).split(internal_batch_size or len(x)):
            falls, rises, margins = _constraints(decision, x, rows, copies, n_rivals, groups)
            for place, row in enumerate(rows.tolist()):
                program = _Program(
                    falls=_array(falls[place]),
                    rises=_array(rises[place]),
                    margins=_array(margins[place]),
                    weight=_array(size[row] / size[row].max()),
                    bound=_array(bound[row]),
                )
                found.append(program.solve(slack_penalty, symmetric))
    below, above, slack, solved = zip(*found, strict=True)
    widths = [torch.from_numpy(np.stack(each)).to(x) for each in (below, above)]
    return LinearProgramBox(
        below=groups.spread(widths[0]).view(x.shape),
        above=groups.spread(widths[1]).view(x.shape),
        target=decision.target,
        slack=torch.tensor(slack).to(x),
        solved=torch.tensor(solved, device=x.device),
    )


def _constraints(
    decision: Decision,
    x: Tensor,
    rows: Tensor,
    copies: list[Tensor],
    n_rivals: int,
    groups: FeatureGroups,
) -> tuple[Tensor, Tensor, Tensor]:
    """What it costs to move a group down, and up (a, constraints, groups), and the margins."""
    own = decision.target[rows, None]
    rivals = decision.rivals(rows, n_rivals)
    falls, rises, margins = [], [], []
    for copy in copies:
        with torch.enable_grad():
            points = (x[rows] + copy).requires_grad_()
            scores = decision.scores(points, rows)
            gaps = scores.gather(1, own) - scores.gather(1, rivals)
        for gap in gaps.unbind(dim=1):
            slope = input_gradient(gap, points, "a linear program is made of", retain_graph=True)
            slope = slope.nan_to_num(0, 0, 0)
            falls.append(groups.total(slope.clamp(min=0), rows))
            rises.append(groups.total((-slope).clamp(min=0), rows))
            margins.append(gap.detach() - (slope * copy).flatten(1).sum(dim=1))
    return torch.stack(falls, dim=1), torch.stack(rises, dim=1), torch.stack(margins, dim=1)


@dataclass(frozen=True)
class _Program:
    """A row's program.

    Attributes:
        falls: (constraints, groups) what a unit of v costs.
        rises: (constraints, groups) what a unit of u costs.
        margins: (constraints,) what there is to spend.
        weight: (groups,) of a group's widths in the objective.
        bound: (groups,) of a group's widths.
    """

    falls: Array
    rises: Array
    margins: Array
    weight: Array
    bound: Array

    def solve(self, slack_penalty: float, symmetric: bool) -> tuple[Array, Array, float, bool]:
        """Widths below and above, the slack, and whether there is a solution."""
        n = len(self.bound)
        n_sides = 1 if symmetric else 2
        costs = self.falls + self.rises if symmetric else np.hstack((self.falls, self.rises))
        bounds = np.tile(self.bound, n_sides)
        soft = math.isfinite(slack_penalty)
        found = require("scipy.optimize", "benchmark").linprog(
            # It minimises.
            np.append(
                np.tile(-self.weight * (2 / n_sides), n_sides), slack_penalty if soft else 0.0
            ),
            A_ub=np.hstack((costs, -np.ones((len(costs), 1)))),
            b_ub=self.margins,
            bounds=[*((0, each) for each in bounds), (0, None if soft else 0)],
            method="highs",
        )
        if found.x is None:
            return np.zeros(n), np.zeros(n), 0.0, False
        # A solver's bounds have a tolerance.
        widths = np.clip(found.x[:-1], 0, bounds)
        return widths[:n], widths[-n:], float(found.x[-1]), True


def _array(values: Tensor) -> Array:
    found: Array = values.detach().cpu().double().numpy()
    return found
